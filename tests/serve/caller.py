"""A small model that learned by heart to call a function, from chats as the packer spells them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from noria.model.config import ModelConfig
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash, save_model
from noria.records import CALL, TOOLS, Conversation, Message, Part, Source, text_content
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.pack import encode_record
from noria.tokenizer.train import train_tokenizer

FIND = {
    "type": "function",
    "function": {
        "name": "find_parcel",
        "description": "Where a parcel is.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "fast": {"type": ["boolean", "null"]}},
            "required": ["number"],
            "additionalProperties": False,
        },
    },
}
ASK = {"role": "user", "content": "Where is parcel 7?"}
ARGUMENTS = '{"number": 7}'
RESULT = '{"place": "depot"}'
ANSWER = "It is at the depot."


def learned_chat() -> Conversation:
    """A question, a call, what it brought, and the answer."""
    tools = Part(json.dumps([FIND]), TOOLS)
    call = Part('{"name": "find_parcel", "arguments": ' + ARGUMENTS + "}", CALL)
    turns = (
        Message("system", (tools,)),
        Message("user", text_content(ASK["content"])),
        Message("assistant", (call,)),
        Message("tool", text_content(RESULT)),
        Message("assistant", text_content(ANSWER)),
    )
    return Conversation(turns, Source("made by hand"))


def plain_chat() -> Conversation:
    """Without functions it says something else."""
    turns = (
        Message("user", text_content(ASK["content"])),
        Message("assistant", text_content("I can't look.")),
    )
    return Conversation(turns, Source("made by hand"))


def write_caller(folder: Path, chat_format: str = "chatml") -> str:
    """Train it; returns its weight hash."""
    train_tokenizer(
        [json.dumps(FIND) + ANSWER + "<tool_call></tool_call>"] * 9, 400, folder, chat_format
    )
    tokenizer = load_tokenizer(folder)
    config = ModelConfig(tokenizer.vocab_size, 1024, 2, 64, 4, 4, 128)
    torch.manual_seed(3)
    model = build_decoder(config, seed=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    examples = [encode_record(tokenizer, one) for one in (learned_chat(), plain_chat())]
    for _ in range(60):
        optimizer.zero_grad()
        for ids, mask in examples:
            assert mask is not None
            row = torch.tensor([list(ids)])
            logits = model.logits(model(row[:, :-1]))[0]
            losses = torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="none")
            counts = torch.tensor(list(mask)[1:], dtype=torch.float32)
            ((losses * counts).sum() / counts.sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    save_model(folder, model)
    return model_weight_hash(model)
