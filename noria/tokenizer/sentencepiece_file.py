"""SentencePiece's `.model` file: the pieces, and how text is written before it is divided.

In: the file's bytes, a message of Protocol Buffers (sentencepiece_model.proto). Out: a Vocabulary,
or a refusal. Nothing of the library is run; lengths and counts are checked while they are read.
This module does not know what becomes of the pieces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from noria.containers.protobuf import Value, bytes_of, float32_of, int_of, message_fields
from noria.errors import FormatError, InputError
from noria.tokenizer.sentencepiece_text import Spelling

MAX_MODEL_BYTES = 64 << 20  # that of Gemma, with 262,144 pieces, has 5 MB
MAX_VOCAB_SIZE = 1 << 20
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # of a piece
KINDS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}

_PIECE, _TRAINER, _NORMALIZER, _DENORMALIZER = 1, 2, 3, 5  # fields of the file
_CHARSMAP = 2  # of a normaliser


@dataclass(frozen=True)
class Vocabulary:
    """The pieces of a model in order of their ids: text, score and kind of each (see above).

    kind: "bpe" or "unigram". named: the ids of "eos", "bos" and "pad", where there are any. Raises
    FormatError for a piece that is listed twice, and for none or several unknown tokens.
    """

    kind: str
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    kinds: tuple[int, ...]
    spelling: Spelling
    falls_back: bool
    named: dict[str, int | None]

    def __post_init__(self) -> None:
        num_unknown = self.kinds.count(UNKNOWN)
        if len(set(self.texts)) != len(self.texts) or num_unknown != 1:
            raise FormatError(
                f"a vocabulary of {len(self.texts)} pieces, {len(set(self.texts))} different ones, "
                f"with {num_unknown} unknown tokens",
                "each piece once, and one unknown token",
                "fetch the model again",
            )


def read_sentencepiece(path: Path) -> Vocabulary:
    """Read a `.model` file.

    Raises InputError if it is missing, FormatError if it is torn, contradicts itself, or holds what
    Noria does not compute: another kind than BPE or Unigram, spaces behind words or as they are,
    replacements when ids are turned into text.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist", "a SentencePiece model", "check the path")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise _torn(path, f"more than {MAX_MODEL_BYTES} bytes")
    try:
        return parse_sentencepiece(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _torn(path, str(error)) from error
    except FormatError as error:
        raise FormatError(f"{path}: {error.given}", error.expected, error.fix) from error


def parse_sentencepiece(data: bytes) -> Vocabulary:
    """The vocabulary of a file's bytes. Raises ValueError where it is torn, FormatError as above.

    Fields that are left out have the defaults of sentencepiece_model.proto.
    """
    parts: dict[int, list[bytes]] = {_PIECE: [], _TRAINER: [], _NORMALIZER: [], _DENORMALIZER: []}
    for number, value in message_fields(data):
        if number in parts:
            parts[number].append(bytes_of(value))
        if len(parts[_PIECE]) > MAX_VOCAB_SIZE:
            raise ValueError(f"more than {MAX_VOCAB_SIZE} pieces")
    pieces = [_piece(one) for one in parts[_PIECE]]
    # What is said twice of one part is one part: so the format joins messages.
    trainer, normalizer, back = (
        dict(message_fields(b"".join(parts[number])))
        for number in (_TRAINER, _NORMALIZER, _DENORMALIZER)
    )
    kind = KINDS.get(int_of(trainer.get(3, 1)), "")
    _check(kind, trainer, normalizer, back)
    if kind == "bpe" and any(what == UNUSED for _, _, what in pieces):
        raise FormatError(  # SentencePiece joins them, and takes them apart again at the end
            "a SentencePiece BPE with unused pieces", "one without", "use a model with another"
        )
    kept = frozenset(text for text, _, what in pieces if what == USER_DEFINED)
    spelling = Spelling(
        adds_prefix=bool(normalizer.get(3, 1)),
        drops_spaces=bool(normalizer.get(4, 1)),
        charsmap=bytes_of(normalizer.get(_CHARSMAP, b"")),
        kept=kept,
    )
    spelling.write("a")  # reads the replacements: a torn charsmap is found now
    named = {"bos": trainer.get(41, 1), "eos": trainer.get(42, 2), "pad": trainer.get(43, -1)}
    return Vocabulary(
        kind=kind,
        texts=tuple(text for text, _, _ in pieces),
        scores=tuple(score for _, score, _ in pieces),
        kinds=tuple(what for _, _, what in pieces),
        spelling=spelling,
        falls_back=bool(trainer.get(35, 0)),
        named={name: _id(value, [one[2] for one in pieces]) for name, value in named.items()},
    )


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for number, value in message_fields(data):
        if number == 1:
            text = bytes_of(value).decode("utf-8")
        elif number == 2:
            score = float32_of(value)
        elif number == 3:
            kind = int_of(value)
    if not text or not math.isfinite(score) or kind not in range(NORMAL, BYTE + 1):
        raise ValueError(f"a piece {text!r} of score {score} and kind {kind}")
    return text, score, kind


def _id(value: Value, kinds: list[int]) -> int | None:
    """The id of a token that the file names, if it is there and a control token."""
    number = int_of(value)
    return number if 0 <= number < len(kinds) and kinds[number] == CONTROL else None


def _check(
    kind: str,
    trainer: dict[int, Value],
    normalizer: dict[int, Value],
    back: dict[int, Value],
) -> None:
    reasons = {
        f"a SentencePiece model of kind {kind or 'unknown'}": kind not in ("bpe", "unigram"),
        "a SentencePiece model with spaces behind its words": bool(trainer.get(24, 0)),
        "a SentencePiece model whose spaces are no '▁'": not normalizer.get(5, 1),
        "a SentencePiece model that replaces characters in its answers": bool(back.get(_CHARSMAP)),
    }
    for given, is_so in reasons.items():
        if is_so:
            raise FormatError(
                given, "BPE or Unigram with '▁' before its words", "use a model with another"
            )


def _torn(path: Path, what: str) -> FormatError:
    return FormatError(
        f"{path} can't be read ({what})", "a SentencePiece model", "fetch the file again"
    )
