"""SentencePiece models, trained here by the library itself, and texts to try them on."""

from __future__ import annotations

import argparse
import inspect
import io
import random
from typing import Any

import sentencepiece
from mixed_texts import CHINESE, mixed_texts
from sentencepiece import sentencepiece_model_pb2 as schema

CODE_LINES = [line for line in inspect.getsource(argparse).splitlines() if line.strip()]
TRAPS = [
    *("", " ", "  ", "▁", " ▁ ", "▁▁  a", " \n", "\n", "a  b ", "\t x", "\x01", "\x01 ", "\x00"),
    *(
        "\u3000 a\u3000",
        "e\u0301\u0302x",
        "ﬁ ﬃ",
        "Ａ<sep>Ｂ",
        "<sep>  <sep>",
        "<sep>\u0338",
        "xyxy",
    ),
    *("<s>", "</s>", "<unk>", "<mask>", "<pad>", "<0x41>", "<0x0A>", "<", "<s", "s>", "⁇", " ⁇ "),
    *("-----", "=======", "     ", "aaaaaaa", "灯亮了", CHINESE, "\r\n", "\ufffd", "\U0001f600"),
]


def texts(count: int, seed: int) -> list[str]:
    """Traps, traps joined, strings of many scripts, lines of code, and whole pages."""
    chance = random.Random(seed)
    joined = ["".join(chance.choices(TRAPS, k=chance.randint(2, 5))) for _ in range(count // 4)]
    pages = ["\n".join(CODE_LINES[at : at + 40]) for at in range(0, 400, 40)]
    return [*TRAPS, *joined, *mixed_texts(count // 2, seed), *CODE_LINES[: count // 4], *pages]


def trained(kind: str, **settings: Any) -> bytes:
    """A model's bytes; by default of identity, with a few of everything that a model may have."""
    written = io.BytesIO()
    chosen: dict[str, Any] = {
        "vocab_size": 1500,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "byte_fallback": True,
        "user_defined_symbols": ["<sep>", "xy"],
        "control_symbols": ["<mask>"],
        "character_coverage": 0.98,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*CODE_LINES, *mixed_texts(1500, seed=9)]),
        model_writer=written,
        model_type=kind,
        num_threads=1,
        minloglevel=2,
        **(chosen | settings),
    )
    return written.getvalue()


def processor(data: bytes) -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=data)


def proto(data: bytes) -> Any:
    found = schema.ModelProto()
    found.ParseFromString(data)
    return found
