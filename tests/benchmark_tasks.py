"""Three tasks of lm-evaluation-harness over real text, and a model to ask: for several tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash, save_model
from noria.tokenizer.train import train_tokenizer

CONTEXT_TOKENS = 96
STDLIB = Path(json.__file__).resolve().parent.parent  # real text that every machine has

PERPLEXITY = """task: texts
dataset_path: json
dataset_kwargs: {data_files: {test: texts.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - metric: word_perplexity
  - metric: byte_perplexity
  - metric: bits_per_byte
"""
CHOICE = """task: choice
dataset_path: json
dataset_kwargs: {data_files: {test: choice.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
doc_to_choice: "{{choices}}"
target_delimiter: " "
metric_list:
  - metric: acc
  - metric: acc_norm
"""
WRITE = """task: write
dataset_path: json
dataset_kwargs: {data_files: {test: choice.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6}
metric_list:
  - metric: exact_match
"""


def lines_of(module: str) -> list[str]:
    text = (STDLIB / f"{module}.py").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if len(line.strip()) > 40]


def questions() -> list[dict[str, Any]]:
    """Real lines cut in the middle: which of three ends is its own?"""
    lines = lines_of("argparse")[:60]
    rows = []
    for index, line in enumerate(lines):
        cut = line.index(" ", len(line) // 2) if " " in line[len(line) // 2 :] else len(line) // 2
        ends = [lines[(index + step) % len(lines)][-12:].strip() for step in (7, 13)]
        ends.insert(index % 3, line[cut:].strip())
        rows.append({"question": line[:cut].rstrip(), "choices": ends, "answer": index % 3})
    return rows


def texts() -> list[str]:
    """Short ones and ones longer than the context, one in Chinese."""
    lines = lines_of("textwrap")
    return [
        *lines[:12],
        "\n".join(lines[:40]),
        "我的包裹在哪里？它在路上，明天就到。",
        " ".join(lines[40:60]),
    ]


def write_tasks(folder: Path) -> None:
    """Three tasks with their data beside them."""
    for name, text in (("texts", PERPLEXITY), ("choice", CHOICE), ("write", WRITE)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    data = {"texts": [{"text": one} for one in texts()], "choice": questions()}
    for name, rows in data.items():
        written = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text(written, encoding="utf-8")


def write_model(folder: Path) -> str:
    """A model of random weights, far from uniform: no two continuations are alike; its hash."""
    torch.set_num_threads(1)
    facts = train_tokenizer(lines_of("argparse") + texts(), 500, folder, "chatml")
    model = build_decoder(preset("decoder-1m", facts["vocab_size"], CONTEXT_TOKENS), seed=3)
    with torch.no_grad():
        model.embedding.weight.mul_(20)
    save_model(folder, model)
    return model_weight_hash(model)
