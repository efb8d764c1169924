"""How many tokens a tokenizer makes of a language: its fertility.

In: a tokenizer and texts of one language. Out: counts, and the ratios that people compare. It does
not know how a text's language was found, nor what the texts are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

from noria.tokenizer.load import Tokenizer

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # letters and digits, an apostrophe between them too
_BATCH_TEXTS = 256


def measure_fertility(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, Any]:
    """Count tokens, bytes of UTF-8, characters (white space left out) and words of the texts.

    Beside the counts: bytes_per_token, tokens_per_character and tokens_per_word, or 0 where there
    is nothing to divide by. A word is a run of letters and digits; in a language that is written
    without spaces it says nothing, the character does.
    """
    counts = dict.fromkeys(("tokens", "bytes", "characters", "words"), 0)
    waiting = iter(texts)
    while batch := list(islice(waiting, _BATCH_TEXTS)):
        counts["tokens"] += sum(map(len, tokenizer.encode_batch(batch)))
        counts["bytes"] += sum(map(tokenizer.num_bytes, batch))
        counts["characters"] += sum(len("".join(text.split())) for text in batch)
        counts["words"] += sum(len(_WORD.findall(text)) for text in batch)
    tokens = counts["tokens"]
    return {
        **counts,
        "bytes_per_token": _ratio(counts["bytes"], tokens),
        "tokens_per_character": _ratio(tokens, counts["characters"]),
        "tokens_per_word": _ratio(tokens, counts["words"]),
    }


def _ratio(above: int, below: int) -> float:
    return above / below if below else 0.0
