"""llama.cpp, by xllamacpp, over SmolLM2's own 4-bit file.

Argument: {"gguf", "threads", "prefill_tokens", "new_tokens"}. Eight slots, continuous batching,
flash attention as it chooses.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import xllamacpp
from decoding import NUM_TOGETHER, asked, take_turns

params = xllamacpp.CommonParams()
params.model.path = asked["gguf"]
params.n_parallel = NUM_TOGETHER
params.n_ctx = NUM_TOGETHER * 1024
params.n_batch = params.n_ubatch = 512
params.n_gpu_layers = 0
params.warmup = True
params.verbosity = 0
params.cpuparams.n_threads = asked["threads"]
params.cpuparams_batch.n_threads = asked["threads"]
server = xllamacpp.Server(params)
together = ThreadPoolExecutor(NUM_TOGETHER)


def answer(prompt: list[int], num_new: int) -> int:
    told = server.handle_completions(
        {
            "prompt": prompt,
            "n_predict": num_new,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
    )
    return int(told["usage"]["completion_tokens"])


def generate(prompts: list[list[int]], num_new: int) -> int:
    return sum(together.map(lambda prompt: answer(prompt, num_new), prompts))


take_turns(generate)
