"""The two long recipes, whole: `make prove`. Each takes the better part of an hour, or re-uses
what `make run RECIPE=…` has made."""

from __future__ import annotations

from typing import Any

import torch
from llama_cpp import greedy_chat, open_llama_cpp
from transformers import AutoModelForCausalLM, AutoTokenizer

from noria.generate.engine import generate_tokens
from noria.generate.loaded import load_language_model
from noria.generate.sampling import Sampling
from noria.records import Conversation, content_text, read_records
from noria.tokenizer.chat import render_chat

NUM_CHATS = 12
ANSWER_TOKENS = 32


def test_pretraining_beats_the_tuned_5_gram_by_3_percent_in_each_language(
    run_recipe: Any, facts_of: Any
) -> None:
    parts = facts_of(run_recipe("pretrain"), "evaluate")["parts"]
    assert set(parts) == {"corpus, latin", "corpus, zh"}
    for part in parts.values():
        assert part["gap"]["high"] < 0
        assert part["model"] <= 0.97 * part["rival"]


def test_the_helpdesk_beats_its_base_and_is_improved_by_feedback(
    run_recipe: Any, facts_of: Any
) -> None:
    store = run_recipe("helpdesk")
    gaps = facts_of(store, "evaluate")["gaps"]
    assert gaps["corpus"]["high"] < 0
    print("forgotten, bits per byte of general text:", gaps["general"])
    assert facts_of(store, "gate")["promote"]


def test_the_exported_helpdesk_answers_alike_in_three_engines(
    run_recipe: Any, facts_of: Any
) -> None:
    store = run_recipe("helpdesk")
    exported = facts_of(store, "export")["folder"]
    ours = load_language_model(facts_of(store, "train")["folder"])
    spelled = AutoTokenizer.from_pretrained(exported, local_files_only=True)
    theirs = AutoModelForCausalLM.from_pretrained(exported, local_files_only=True)
    server = open_llama_cpp(exported / "model.gguf", 1024)
    records = read_records(facts_of(store, "corpus")["folder"] / "test.jsonl")
    chats = [one for one in records if isinstance(one, Conversation)]
    for chat in chats[:: max(1, len(chats) // NUM_CHATS)][:NUM_CHATS]:
        question = chat.messages[:1]
        ids = list(render_chat(ours.tokenizer, question, add_answer_prompt=True).ids)
        wanted = list(generate_tokens(ours, ids, Sampling(temperature=0, max_tokens=ANSWER_TOKENS)))
        messages = [{"role": one.role, "content": content_text(one.content)} for one in question]
        rendered = spelled.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        assert rendered == ids
        found = theirs.generate(torch.tensor([ids]), max_new_tokens=ANSWER_TOKENS, do_sample=False)
        assert found[0, len(ids) :].tolist() == wanted
        text, num_tokens = greedy_chat(server, messages, ANSWER_TOKENS)
        assert num_tokens == len(ids)
        spoken = ours.tokenizer.decode(wanted).rstrip("\ufffd")  # half a character at the end
        assert text == spoken
