"""New tokens for a language that a foreign vocabulary spells in bytes: Chinese.

In: a tokenizer's two files and texts. Out: the same tokenizer with tokens at its end, and the old
ids that each stands for. Merges go on where the vocabulary's own stopped: those that are learned
come after all others and join only what begins as a Han character does, so every old token keeps
its id, and a text without Chinese or Japanese its ids. This module does not know weights.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import islice, pairwise
from typing import Any

from noria.errors import UsageError
from noria.tokenizer.bytelevel import spelling
from noria.tokenizer.load import MAX_TOKENIZER_BYTES, Tokenizer, build_tokenizer
from noria.tokenizer.sentencepiece_json import PRE

MAX_NEW_TOKEN_BYTES = 24  # eight characters; longer ones are memorised passages, not words
MIN_PAIR_COUNT = 2
_HAN_RUN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]+")
_HAN_LEADS = range(0xE3, 0xEA)  # the first bytes of these characters in UTF-8
_BATCH_RUNS = 4096
Pair = tuple[int, int]


@dataclass(frozen=True)
class Extension:
    """A longer tokenizer: the text of its `tokenizer.json`, and the parts of each new token.

    parts: in order of the new ids, which begin at `first_id`, the old ids that a token joins.
    """

    text: str
    first_id: int
    parts: tuple[tuple[int, ...], ...]


def extend_tokenizer(
    tokenizer: Tokenizer, text: str, texts: Iterable[str], num_tokens: int
) -> Extension:
    """Learn up to `num_tokens` new tokens from the Chinese in the texts.

    text: of the tokenizer's `tokenizer.json`. Fewer are learned where no pair stands twice any
    more. Byte-level BPE, continued (Sennrich et al. 2016). Raises UsageError for a vocabulary of
    another kind, or texts without Chinese.
    """
    value = _of_pairs(tokenizer, text)
    runs = Counter(run for one in texts for run in _HAN_RUN.findall(one))
    if not runs:
        raise nothing_to_learn()
    joined = _Joined(tokenizer, runs)
    learned = [*islice(joined.merges(), num_tokens)]
    extended = _longer(value, tokenizer, joined, learned)
    build_tokenizer(extended, tokenizer.description, "the extended tokenizer")
    first_id = tokenizer.vocab_size
    return Extension(
        extended, first_id, tuple(joined.parts[first_id + n] for n in range(len(learned)))
    )


def check_extendable(tokenizer: Tokenizer, text: str) -> None:
    """Raise UsageError for a vocabulary that can't be extended; text: of its `tokenizer.json`."""
    _of_pairs(tokenizer, text)


def can_learn_from(text: str) -> bool:
    """Whether there is something in a text that new tokens are learned from."""
    return _HAN_RUN.search(text) is not None


def nothing_to_learn() -> UsageError:
    """Of texts without Chinese."""
    return UsageError(
        "texts without a Chinese character", "Chinese to learn from", "leave out extend"
    )


def _of_pairs(tokenizer: Tokenizer, text: str) -> Any:
    value = json.loads(text)
    kind = tokenizer.pre if tokenizer.pre == PRE else value["model"]["type"]
    if kind != "BPE":
        raise UsageError(f"a {kind} vocabulary to extend", "a byte-level BPE", "leave it as it is")
    return value


class _Joined:
    """The runs of Chinese as ids, while pairs of neighbours are joined, the most frequent first."""

    def __init__(self, tokenizer: Tokenizer, runs: Counter[str]) -> None:
        self.words: dict[int, bytes] = {
            one: tokenizer.token_bytes(one) for one in range(tokenizer.vocab_size)
        }
        self.parts: dict[int, tuple[int, ...]] = {}
        self._taken = set(self.words.values())
        self._counts = list(runs.values())
        self._rows = [
            ids for batch in _batches(list(runs)) for ids in tokenizer.encode_batch(batch)
        ]
        self._pairs: Counter[Pair] = Counter()
        self._places: dict[Pair, set[int]] = {}
        for number, row in enumerate(self._rows):
            self._count(number, row)

    def merges(self) -> Iterator[Pair]:
        """Join and yield one pair after the other; of equal counts the lowest ids go first."""
        queue = [(-count, pair) for pair, count in self._pairs.items() if self._may_join(pair)]
        heapify(queue)
        while queue:
            minus_count, pair = heappop(queue)
            count = self._pairs[pair]
            if count < MIN_PAIR_COUNT or not self._may_join(pair):
                continue
            if -minus_count != count:  # it has changed since it was queued
                heappush(queue, (-count, pair))
                continue
            for changed in self._join(pair):
                if self._may_join(changed):
                    heappush(queue, (-self._pairs[changed], changed))
            yield pair

    def _may_join(self, pair: Pair) -> bool:
        word = self.words[pair[0]] + self.words[pair[1]]
        fits = word[0] in _HAN_LEADS and len(word) <= MAX_NEW_TOKEN_BYTES
        return fits and word not in self._taken

    def _join(self, pair: Pair) -> set[Pair]:
        """Give the pair an id, wherever it stands; returns the pairs that are new by it."""
        new_id, (left, right) = len(self.words), pair
        self.words[new_id] = self.words[left] + self.words[right]
        self._taken.add(self.words[new_id])
        self.parts[new_id] = (*self.parts.get(left, (left,)), *self.parts.get(right, (right,)))
        changed: set[Pair] = set()
        for number in sorted(self._places[pair]):
            self._count(number, self._rows[number], sign=-1)
            self._rows[number] = _replaced(self._rows[number], pair, new_id)
            self._count(number, self._rows[number])
            changed |= {one for one in pairwise(self._rows[number]) if new_id in one}
        return changed

    def _count(self, number: int, row: list[int], sign: int = 1) -> None:
        for pair in pairwise(row):
            self._pairs[pair] += sign * self._counts[number]
            places = self._places.setdefault(pair, set())
            if sign > 0:
                places.add(number)
            else:
                places.discard(number)


def _replaced(row: list[int], pair: Pair, new_id: int) -> list[int]:
    found: list[int] = []
    at = 0
    while at < len(row):
        if tuple(row[at : at + 2]) == pair:
            found.append(new_id)
            at += 2
        else:
            found.append(row[at])
            at += 1
    return found


def _longer(
    value: dict[str, Any], tokenizer: Tokenizer, joined: _Joined, learned: list[Pair]
) -> str:
    """The `tokenizer.json` with the new tokens and merges at the end."""
    model = value["model"]
    # A special token that stands outside the vocabulary would move behind the new tokens.
    vocab = {**model["vocab"], **{one["content"]: one["id"] for one in value["added_tokens"]}}
    merges = [*model["merges"]]
    as_text = bool(merges) and isinstance(merges[0], str)
    for number, (left, right) in enumerate(learned):
        token = tokenizer.vocab_size + number
        pair = [spelling(joined.words[left]), spelling(joined.words[right])]
        vocab[spelling(joined.words[token])] = token
        merges.append(" ".join(pair) if as_text else pair)
    text = json.dumps({**value, "model": {**model, "vocab": vocab, "merges": merges}})
    if len(text.encode("utf-8")) > MAX_TOKENIZER_BYTES:
        raise UsageError(
            f"{len(learned)} new tokens", "a smaller vocabulary", "lower tokenizer.extend"
        )
    return text


def _batches(runs: list[str]) -> Iterator[list[str]]:
    return (runs[start : start + _BATCH_RUNS] for start in range(0, len(runs), _BATCH_RUNS))
