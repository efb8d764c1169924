"""The published SmolLM2-135M-Instruct in our engine, in transformers and in llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from llama_cpp import greedy, greedy_chat, open_llama_cpp
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from noria.bases.importing import import_base
from noria.export.gguf import export_gguf
from noria.export.huggingface import export_huggingface
from noria.export.verify import verify_export
from noria.generate.engine import generate_tokens
from noria.generate.loaded import LanguageModel, load_language_model
from noria.generate.sampling import Sampling
from noria.records import Message, text_content
from noria.tokenizer.chat import render_chat

NUM_NEW = 64
END_ID = 2  # <|im_end|>
PROMPTS = [
    "The capital of France is",
    "Once upon a time,",
    "def fibonacci(n):",
    "Water boils at",
    "The three primary colours are",
    "In 1969, the first",
    "A haiku about rain:\n",
    "To bake bread you need",
    "机器学习是",
    "SELECT name FROM",
    "My favourite season is",
    "The mitochondria is",
    "import numpy as np\n",
    "Dear Sir or Madam,",
    "Q: What is 2 + 2?\nA:",
    "The river flows",
    "List of planets:\n1.",
    "She opened the door and",
    "HTTP status 404 means",
    "Good morning! ☀️",
]


@pytest.fixture(scope="module")
def base(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2") / "base"
    import_base(smollm2_gguf, folder)
    return folder


@pytest.fixture(scope="module")
def ours(base: Path) -> LanguageModel:
    torch.set_num_threads(1)
    return load_language_model(base)


@pytest.fixture(scope="module")
def theirs(smollm2_gguf: Path) -> LlamaForCausalLM:
    return AutoModelForCausalLM.from_pretrained(
        smollm2_gguf.parent,
        gguf_file=smollm2_gguf.name,
        dtype=torch.float32,
        local_files_only=True,
    )


@torch.inference_mode()
def their_answers(
    model: LlamaForCausalLM, prompts: Sequence[list[int]]
) -> list[tuple[list[int], torch.Tensor]]:
    """Greedy answers of all prompts at once, and the logits that each token was chosen by."""
    longest = max(len(ids) for ids in prompts)
    padded = [[END_ID] * (longest - len(ids)) + ids for ids in prompts]
    seen = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
    found = model.generate(
        input_ids=torch.tensor(padded),
        attention_mask=torch.tensor(seen),
        max_new_tokens=NUM_NEW,
        do_sample=False,
        eos_token_id=END_ID,
        pad_token_id=END_ID,
        output_logits=True,
        return_dict_in_generate=True,
    )
    logits = torch.stack(found.logits, dim=1)  # (B, T, V)
    answers = []
    for row, scores in zip(found.sequences[:, longest:].tolist(), logits, strict=True):
        num = row.index(END_ID) + 1 if END_ID in row else len(row)
        answers.append((row[:num], scores[:num]))
    return answers


def test_greedy_continuations_equal_those_of_transformers_reading_the_same_file(
    ours: LanguageModel, theirs: LlamaForCausalLM, smollm2_gguf: Path
) -> None:
    spelled = AutoTokenizer.from_pretrained(
        smollm2_gguf.parent, gguf_file=smollm2_gguf.name, local_files_only=True
    )
    prompts = [ours.tokenizer.encode(prompt) for prompt in PROMPTS]
    assert prompts == [spelled(prompt)["input_ids"] for prompt in PROMPTS]
    answers = their_answers(theirs, prompts)
    largest, num_tokens = 0.0, 0
    for ids, (answer, scores) in zip(prompts, answers, strict=True):
        # One pass over prompt and answer scores every step: if each token of the answer is the
        # likeliest after what stands before it, then a greedy decoder writes this answer.
        with torch.inference_mode():
            hidden = ours.model(torch.tensor([ids + answer]))
            found = ours.model.logits(hidden[0, len(ids) - 1 : -1])
        assert found.argmax(dim=-1).tolist() == answer
        largest = max(largest, float((found - scores).abs().max()))
        num_tokens += len(answer)
    assert num_tokens > 15 * NUM_NEW
    assert largest <= 1e-3
    print(f"{num_tokens} tokens of 20 prompts equal; logits differ by at most {largest:.1e}")
    for ids, (answer, _) in list(zip(prompts, answers, strict=True))[:5:4]:
        sampling = Sampling(temperature=0, max_tokens=NUM_NEW)
        assert list(generate_tokens(ours, ids, sampling)) == answer


def test_the_exports_give_our_answers_in_transformers_and_llama_cpp(
    base: Path, ours: LanguageModel, tmp_path: Path
) -> None:
    export_huggingface(base, tmp_path / "folder")
    export_gguf(base, tmp_path / "model.gguf")
    for exported in (tmp_path / "folder", tmp_path / "model.gguf"):
        facts = verify_export(base, exported, [PROMPTS[0], PROMPTS[8]])
        assert facts["weight_hash"] == ours.weight_hash
        assert facts["max_logit_difference"] <= 1e-4
    chats = [
        [{"role": "user", "content": "Name a colour of the sky."}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好! Hi?"}],
    ]
    spelled = AutoTokenizer.from_pretrained(tmp_path / "folder", local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "folder", local_files_only=True)
    server = open_llama_cpp(tmp_path / "model.gguf")
    for messages in chats:
        turns = [Message(one["role"], text_content(one["content"])) for one in messages]
        ids = [*render_chat(ours.tokenizer, turns, add_answer_prompt=True).ids]
        wanted = list(generate_tokens(ours, ids, Sampling(temperature=0, max_tokens=16)))
        rendered = spelled.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        assert rendered == ids
        found = model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)
        assert found[0, len(ids) :].tolist() == wanted
        text, num_tokens = greedy_chat(server, messages, 16)
        assert num_tokens == len(ids)
        assert text == ours.tokenizer.decode(wanted)
    for prompt in PROMPTS[:2]:
        ids = ours.tokenizer.encode(prompt)
        wanted = list(generate_tokens(ours, ids, Sampling(temperature=0, max_tokens=16)))
        their_ids, their_scores, text = greedy(server, prompt, 16)
        assert their_ids == wanted
        assert text == ours.tokenizer.decode(wanted)
        with torch.inference_mode():
            hidden = ours.model(torch.tensor([ids + wanted]))
            scores = ours.model.logits(hidden[0, len(ids) - 1 : -1]).log_softmax(dim=-1)
        difference = scores[range(len(wanted)), wanted] - torch.tensor(their_scores)
        assert difference.abs().max() <= 1e-3
