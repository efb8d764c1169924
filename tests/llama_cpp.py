"""llama.cpp as a reference: greedy answers of a GGUF file, in float32 throughout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xllamacpp


def open_llama_cpp(path: Path, context_tokens: int = 256) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context_tokens
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.warmup = False
    params.verbosity = 0
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return xllamacpp.Server(params)


def greedy(
    server: xllamacpp.Server, prompt: str | Sequence[int], max_tokens: int
) -> tuple[list[int], list[float], str]:
    """Ids, their log-probabilities, and the text of a continuation."""
    (choice,) = server.handle_completions(
        {
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "n_predict": max_tokens,
            "temperature": 0,
            "n_probs": 1,
        }
    )["choices"]
    tokens: list[dict[str, Any]] = choice["logprobs"]["content"]
    return [one["id"] for one in tokens], [one["logprob"] for one in tokens], choice["text"]


def greedy_chat(
    server: xllamacpp.Server, messages: list[dict[str, str]], max_tokens: int
) -> tuple[str, int]:
    """The answer to a chat, and how many tokens llama.cpp rendered it to."""
    reply = server.handle_chat_completions(
        {"messages": messages, "max_tokens": max_tokens, "temperature": 0}
    )
    return reply["choices"][0]["message"]["content"], reply["usage"]["prompt_tokens"]
