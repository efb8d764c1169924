"""The pre-tokenizers that are known: where text is cut before byte-level BPE merges its bytes.

In: a name, or the JSON of a `tokenizer.json`. Out: the JSON, or the name. A fixed list, because a
pattern that comes with a model is a program: one that backtracks without end must not be run.
The names are llama.cpp's (`tokenizer.ggml.pre`), except for our own.
"""

from __future__ import annotations

from typing import Any

from noria.errors import FormatError
from noria.tokenizer.description import OUR_PRE, OUR_SHORT_PRE

# Where a merge may never cross. After GPT-4's pattern, with one change: a run of Han characters is
# a piece of its own, so that a word of another script beside it ("GPU的") never merges with it.
_LETTERS = r"[[\p{L}\p{M}]&&[^\p{Han}]]"
PIECES = "|".join(
    (
        r"'(?i:[sdmt]|ll|ve|re)",  # English endings
        r"\p{Han}+",
        rf"[^\r\n\p{{L}}\p{{M}}\p{{N}}]?{_LETTERS}+",  # a word with the space or sign before it
        r"\p{N}{1,3}",  # at most three digits, so that numbers are spelled alike
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

SHORT_PIECES = (
    r"(?m:.{1,24})"  # any characters, line breaks too; a longest match takes their square
)
MAX_SHORT_PIECE_BYTES = 24 * 4


def _word_pieces(digits: str) -> str:
    """The pattern of Llama 3 and Qwen 2, which differ in how many digits make a piece."""
    return "|".join(
        (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
            r"[^\r\n\p{L}\p{N}]?\p{L}+",
            digits,
            r" ?[^\s\p{L}\p{N}]+[\r\n]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        )
    )


def _bytes(use_regex: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _cut(*patterns: str) -> dict[str, Any]:
    splits = [
        {"type": "Split", "pattern": {"Regex": one}, "behavior": "Isolated", "invert": False}
        for one in patterns
    ]
    return {"type": "Sequence", "pretokenizers": [*splits, _bytes(use_regex=False)]}


PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    OUR_PRE: _cut(PIECES),
    OUR_SHORT_PRE: _cut(PIECES, SHORT_PIECES),
    "gpt-2": _bytes(use_regex=True),
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _bytes(use_regex=True)],
    },
    "llama-bpe": _cut(_word_pieces(r"\p{N}{1,3}")),
    "qwen2": _cut(_word_pieces(r"\p{N}")),
}


def recognise_pre_tokenizer(value: object) -> str:
    """The name of a `tokenizer.json`'s pre-tokenizer. Raises FormatError for an unknown one."""
    for name, known in PRE_TOKENIZERS.items():
        if _bare(value) == _bare(known):
            return name
    raise FormatError(
        "a pre-tokenizer that Noria does not know",
        "exactly that of " + ", ".join(PRE_TOKENIZERS),
        "import a model with one of these; another's patterns are never run",
    )


def _bare(value: object) -> object:
    """The value without what only moves offsets, which nobody here reads."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if key != "trim_offsets"}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value
