"""What speaks for a document being no text worth learning: repetition, symbols, digits, surprise.

In: documents and limits. Out: for each document the signals that are beyond their limit. The rules
are those of Gopher (Rae et al. 2021, appendix A.1.1) and C4 (Raffel et al. 2020, section 2.2) as
far as they hold for every language, with limits that cut less; their lists of words, of lines that
end in a full stop and of curly brackets would cut verse, Chinese and code.
This module does not know what is done with the documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from noria.corpus.kept import Kept, script_of, whole_text
from noria.corpus.perplexity import CharacterModel
from noria.corpus.shingles import WordHasher, ngrams
from noria.text_settings import QualitySettings

RUN_WORDS = 10  # of repeated runs; Gopher's longest
RUN_CHARACTERS = 20  # where most words are a character: Chinese, Japanese
MIN_LEARNED_CHARACTERS = 50_000  # of one script; after fewer everything surprises
MIN_WORDS = 20  # fewer have no mean length worth speaking of

_SYMBOL = re.compile(r"[^\w\s]|_")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")
_SPACE = re.compile(r"\s")
_EAST = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_WORD = re.compile("[^\\s\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff00-\uff65]+")
EXAMPLE_CHARACTERS = 120
NUM_EXAMPLES = 2  # of each limit


@dataclass(frozen=True)
class Excess:
    """A signal of a document that is beyond its limit."""

    signal: str
    value: float
    limit: float


def judge_documents(
    documents: Sequence[Kept],
    limits: QualitySettings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[list[Excess]]:
    """For each document, in order, what is beyond the limits. `progress` gets (done, total)."""
    hasher = WordHasher()
    models: dict[str, CharacterModel] = {}
    if limits.bits_per_byte:
        for document in documents:
            model = models.setdefault(script_of(document), CharacterModel())
            model.add(whole_text(document))
    for index, document in enumerate(documents):
        text = whole_text(document)
        signals = measure_text(text, hasher)
        if limits.bits_per_byte:
            model = models[script_of(document)]
            if model.num_characters - len(text) >= MIN_LEARNED_CHARACTERS:
                signals["bits_per_byte"] = model.bits_per_byte(text)
        yield _excesses(signals, limits)
        progress(index + 1, len(documents))


def measure_text(text: str, hasher: WordHasher) -> dict[str, float]:
    """The signals of a text by itself; shares are from 0 to 1, of characters unless said."""
    num_visible = max(1, len(text) - len(_SPACE.findall(text)))
    signals = {
        "repeated_lines": _repeated_lines(text),
        "repeated_runs": _repeated_runs(text, hasher),
        "symbols": len(_SYMBOL.findall(text)) / num_visible,
        "digits": len(_DIGIT.findall(text)) / num_visible,
        "characters": float(len(text)),
    }
    words = [word for word in _WORD.findall(text) if _LETTER.search(word)]
    if len(words) >= MIN_WORDS:
        signals["word_length"] = sum(map(len, words)) / len(words)
    return signals


def _repeated_lines(text: str) -> float:
    """Share of the characters that stand in a line which stood there before."""
    seen: set[str] = set()
    num_repeated = num_all = 0
    for line in filter(None, map(str.strip, text.split("\n"))):
        num_all += len(line)
        num_repeated += len(line) if line in seen else 0
        seen.add(line)
    return num_repeated / max(1, num_all)


def _repeated_runs(text: str, hasher: WordHasher) -> float:
    """Share of the words that stand in a run which stood there before."""
    words = hasher.words(text)
    size = RUN_CHARACTERS if 2 * len(_EAST.findall(text)) > len(words) else RUN_WORDS
    runs = ngrams(words, size)
    first = np.unique(runs, return_index=True)[1]
    if len(first) == len(runs):
        return 0.0
    again = np.ones(len(runs), bool)
    again[first] = False
    edges = np.zeros(len(words) + 1, np.int64)  # +1 where a repeated run begins, -1 after its end
    edges[:-size] += again
    edges[size:] -= again
    return float((np.cumsum(edges) > 0).sum() / len(words))


def _excesses(signals: dict[str, float], limits: QualitySettings) -> list[Excess]:
    found = []
    for name, limit in limits_in_force(limits).items():
        value = signals.get("word_length" if name.endswith("_words") else name)
        if value is None:
            continue
        if value < limit if name == "shortest_words" else value > limit:
            found.append(Excess(name, value, limit))
    return found


def limits_in_force(limits: QualitySettings) -> dict[str, float]:
    """Every limit that is not 0, by the name of its setting."""
    values = {one.name: getattr(limits, one.name) for one in fields(limits)}
    return {name: value for name, value in values.items() if name != "judge" and value}


def quality_facts(
    beyond: Sequence[tuple[Kept, list[Excess]]], limits: QualitySettings
) -> dict[str, Any]:
    """For the report: each limit, how many documents are beyond it, and the first of them.

    A document that is beyond several limits counts at each.
    """
    by_signal: dict[str, list[dict[str, Any]]] = {name: [] for name in limits_in_force(limits)}
    for document, excesses in beyond:
        text = whole_text(document)
        for excess in excesses:
            example = {"source": asdict(document.source), "value": round(excess.value, 4)}
            by_signal[excess.signal].append({**example, "text": text[:EXAMPLE_CHARACTERS]})
    return {
        "judge": limits.judge,
        "documents": len(beyond),
        "limits": {
            name: {
                "limit": limit,
                "documents": len(by_signal[name]),
                "examples": by_signal[name][:NUM_EXAMPLES],
            }
            for name, limit in limits_in_force(limits).items()
        },
    }
