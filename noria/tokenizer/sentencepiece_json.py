"""A SentencePiece vocabulary as a `tokenizer.json`, and back to what it needs to be run.

In: a Vocabulary, or the JSON. Out: the JSON, or how text is written and what each id stands for.
The JSON says all of it in the `tokenizers` library's words, so that other programs give the same
ids; the library's normaliser is never run here, for it replaces characters where SentencePiece
does not: `Spelling` does, exactly. This module does not know files, nor offices of tokens.

    bpe      the pair whose joined piece has the best score is joined first: a merge for each way to
             cut a piece in two pieces, in the order of the scores
    unigram  the likeliest division. The library finds every token in a text, control tokens too;
             so one character that all of their names hold is written as a space (`Spelling.hides`)
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from noria.errors import FormatError
from noria.tokenizer.sentencepiece_file import BYTE, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary
from noria.tokenizer.sentencepiece_text import SPACE, Spelling

PRE = "sentencepiece"  # the name of this way to cut text: nowhere
UNKNOWN_TEXT = " ⁇ "  # what an unknown character is given back as (unk_surface's default)
USER_SCORE = -0.1  # of the user's own symbols in a unigram: they win (src/unigram_model.cc)
MAX_PIECE_CHARACTERS = 256  # SentencePiece's own default is 16; runs of spaces may be longer
MAX_MERGES = 1 << 22  # what a hostile file could ask for is the square of its pieces' lengths
_BYTE_NAMES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_EXPECTED = "a SentencePiece vocabulary whose ids Noria can give exactly"


def sentencepiece_json(vocabulary: Vocabulary, specials: Mapping[int, str]) -> dict[str, Any]:
    """The parts of a `tokenizer.json` that hang on the vocabulary.

    specials: id and text of those tokens that no text reaches; ids behind the pieces may be among
    them. Raises FormatError for a vocabulary whose ids could be others than SentencePiece's.
    """
    _check(vocabulary, specials)
    pieces = {
        text: number
        for number, text in enumerate(vocabulary.texts)
        if vocabulary.kinds[number] in (NORMAL, USER_DEFINED) and number not in specials
    }
    users = [one for one, kind in enumerate(vocabulary.kinds) if kind == USER_DEFINED]
    spelling = vocabulary.spelling
    added = [(number, text, True) for number, text in sorted(specials.items())]
    if vocabulary.kind == "bpe":
        model = _bpe(vocabulary, pieces)
        added += [(one, vocabulary.texts[one], False) for one in users if one not in specials]
    else:
        spelling = replace(spelling, hides=_hidden(vocabulary, pieces))
        model = _unigram(vocabulary, pieces, spelling)
    return {
        "added_tokens": [_added(*one) for one in sorted(added)],
        "normalizer": _normalizer(spelling),
        "pre_tokenizer": None,
        "decoder": _decoder(spelling),
        "model": model,
    }


def spelling_of(value: Mapping[str, Any]) -> Spelling | None:
    """How a `tokenizer.json` writes text; None if it is no SentencePiece vocabulary.

    Raises FormatError for one that is nearly written as above, and LookupError, TypeError or
    ValueError for JSON of another shape.
    """
    is_theirs = value["pre_tokenizer"] is None and value["model"]["type"] in ("BPE", "Unigram")
    if not is_theirs or not isinstance(value["normalizer"], dict):
        return None
    steps = value["normalizer"]["normalizers"]
    replaced = [one for one in steps if one["type"] == "Replace" and "String" in one["pattern"]]
    contents = {one["content"]: one["pattern"]["String"] for one in replaced}
    charsmaps = [one["precompiled_charsmap"] for one in steps if one["type"] == "Precompiled"]
    spelling = Spelling(
        adds_prefix=any(one["type"] == "Prepend" for one in steps),
        drops_spaces=any("Regex" in one.get("pattern", {}) for one in steps),
        charsmap=base64.b64decode(charsmaps[0], validate=True) if charsmaps else b"",
        kept=frozenset(text for content, text in contents.items() if content == text),
        hides=contents.get(" ", ""),
    )
    if _normalizer(spelling) != value["normalizer"] or _decoder(spelling) != value["decoder"]:
        raise FormatError(
            "a SentencePiece vocabulary with another normaliser or decoder",
            "one that Noria imported",
            "import its model again",
        )
    return spelling


def piece_bytes(
    value: Mapping[str, Any], spelling: Spelling, texts: Sequence[str], specials: Mapping[int, str]
) -> list[bytes]:
    """The bytes of every id, none for a special one.

    texts: the token of each id. Raises FormatError if text could reach a special token.
    """
    model = value["model"]
    is_bpe = model["type"] == "BPE"
    unknown = model["unk_token"] if is_bpe else texts[model["unk_id"]]
    merges = model["merges"] if is_bpe else []
    merged = {"".join(one).replace(" ", "") for one in merges}  # of two texts, or one with a space
    if is_bpe:
        reached = [one for one in specials.values() if len(one) == 1 or one in merged]
    else:
        reached = [
            text
            for number, text in specials.items()
            if number < len(model["vocab"]) and (not spelling.hides or spelling.hides not in text)
        ]
    if reached:
        raise FormatError(
            f"a vocabulary whose text can spell the special tokens {', '.join(reached[:8])}",
            "special tokens that no text reaches",
            "import its model again",
        )
    names = _BYTE_NAMES if model["byte_fallback"] else frozenset()
    words = []
    for number, text in enumerate(texts):
        if number in specials:
            words.append(b"")
        elif text in names:
            words.append(bytes.fromhex(text[3:5]))
        elif text == unknown:
            words.append(UNKNOWN_TEXT.encode())
        else:
            plain = text.replace(" ", spelling.hides) if spelling.hides else text
            words.append(plain.replace(SPACE, " ").encode())
    return words


def _check(vocabulary: Vocabulary, specials: Mapping[int, str]) -> None:
    texts, kinds = vocabulary.texts, vocabulary.kinds
    found = {text for text, kind in zip(texts, kinds, strict=True) if kind == BYTE}
    if vocabulary.falls_back and found != _BYTE_NAMES:
        raise _unequal(f"a vocabulary with {len(found)} of 256 bytes")
    if found and not vocabulary.falls_back:
        raise _unequal("a vocabulary with bytes that it does not use")
    characters = {text for text in texts if len(text) == 1}
    for number, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
        if len(text) > MAX_PIECE_CHARACTERS:
            raise _unequal(f"a piece of {len(text)} characters")
        if " " in text:
            raise _unequal(f"the piece {text!r} with a space")
        if kind == NORMAL and number not in specials and not characters.issuperset(text):
            raise _unequal(f"the piece {text!r}, whose characters are no pieces")


def _bpe(vocabulary: Vocabulary, pieces: Mapping[str, int]) -> dict[str, Any]:
    normal = {
        text: vocabulary.scores[number]
        for text, number in pieces.items()
        if vocabulary.kinds[number] == NORMAL
    }
    best_first = sorted((-score, text) for text, score in normal.items() if len(text) > 1)
    merges: list[list[str]] = []
    last = None
    for score, text in best_first:
        cuts = [[text[:at], text[at:]] for at in range(1, len(text))]
        cuts = [cut for cut in cuts if cut[0] in normal and cut[1] in normal]
        if cuts and score == last:
            raise _unequal(f"pieces of the same score, {text!r} and others")
        last = score if cuts else last
        merges += cuts
        if len(merges) > MAX_MERGES:
            raise _unequal(f"more than {MAX_MERGES} ways to join pieces")
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": vocabulary.texts[vocabulary.kinds.index(UNKNOWN)],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": vocabulary.falls_back,
        "ignore_merges": False,
        "vocab": {text: number for number, text in enumerate(vocabulary.texts)},
        "merges": merges,
    }


def _unigram(
    vocabulary: Vocabulary, pieces: Mapping[str, int], spelling: Spelling
) -> dict[str, Any]:
    vocab: list[list[Any]] = []
    for number, text in enumerate(vocabulary.texts):
        is_user = vocabulary.kinds[number] == USER_DEFINED
        written = text.replace(spelling.hides, " ") if pieces.get(text) == number else text
        vocab.append([written, USER_SCORE if is_user else vocabulary.scores[number]])
    return {
        "type": "Unigram",
        "unk_id": vocabulary.kinds.index(UNKNOWN),
        "vocab": vocab,
        "byte_fallback": vocabulary.falls_back,
    }


def _hidden(vocabulary: Vocabulary, pieces: Mapping[str, int]) -> str:
    """A character of every name that text must not reach; "<" if that is one."""
    names = [text for number, text in enumerate(vocabulary.texts) if pieces.get(text) != number]
    shared = set(names[0]).intersection(*names)
    if not shared:
        raise _unequal(f"control tokens without a character in common: {', '.join(names[:8])}")
    return "<" if "<" in shared else min(shared)


def _added(number: int, text: str, is_special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    # "normalized" keeps the user's symbols apart from the special tokens, which are looked for
    # first: else one of these that is passed over hides a symbol that begins within it.
    return {
        "id": number,
        "content": text,
        **flags,
        "normalized": not is_special,
        "special": is_special,
    }


def _normalizer(spelling: Spelling) -> dict[str, Any]:
    steps = [_replaced("String", text, text) for text in sorted(spelling.kept)]
    if spelling.charsmap:
        text = base64.b64encode(spelling.charsmap).decode("ascii")
        steps.append({"type": "Precompiled", "precompiled_charsmap": text})
    if spelling.drops_spaces:
        steps += [_replaced("Regex", r"\A +", ""), _replaced("Regex", " {2,}", " ")]
    steps.append(_replaced("String", " ", SPACE))
    if spelling.adds_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    if spelling.drops_spaces:
        steps.append(_replaced("Regex", rf"{SPACE}+\z", ""))
    if spelling.hides:
        steps.append(_replaced("String", spelling.hides, " "))
    return {"type": "Sequence", "normalizers": steps}


def _decoder(spelling: Spelling) -> dict[str, Any]:
    steps = [_replaced("String", " ", spelling.hides)] if spelling.hides else []
    steps += [_replaced("String", SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    if spelling.adds_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _replaced(kind: str, pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def _unequal(given: str) -> FormatError:
    return FormatError(given, _EXPECTED, "use a model with another tokenizer")
