"""Entities of English texts by spaCy's small model, several texts at a time.

In: texts. Out: the entities of each. What a text gets depends on nothing else that is read with it:
its matrix products are cut into blocks of one size, so that every row is always added up alike.

The model is spaCy's, and its tokenizer and layers are called; the search for the best actions is
done here. spaCy's own looks at one token of each text in turn, and half of its time goes into
taking and leaving Python's lock; here all tokens outside of entities are scored at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from noria.corpus.identities import Span

BLOCK_ROWS = 64  # of one matrix product


class EntityModel:
    """spaCy's entity recogniser and what of its pipeline it needs."""

    def __init__(self, language: Any) -> None:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        recogniser = language.get_pipe("ner")
        self._language, model = language, recogniser.model
        for layer in model.walk():
            layer.ops = _block_ops()
        self._vectors, self._lower = model.get_ref("tok2vec"), model.get_ref("lower")
        upper = model.get_ref("upper")
        self._ops, self._weights, self._bias = upper.ops, upper.get_param("W"), upper.get_param("b")
        moves = recogniser.moves
        self._names = tuple(moves.get_class_name(move) for move in range(moves.n_moves))
        places = {name: place for place, name in enumerate(self._names)}
        begin = np.array([name.startswith("B-") for name in self._names])
        unit = np.array([name.startswith("U-") and len(name) > 2 for name in self._names])
        self._out = places["O"]
        self._can_start = begin | unit | (np.arange(len(self._names)) == self._out)
        self._can_end = self._can_start & ~begin
        self._inside = {n[2:]: (places[f"I-{n[2:]}"], places[f"L-{n[2:]}"]) for n in places
                        if n.startswith("B-")}  # fmt: skip
        # Two workers with two threads each would be four on two cores; one is as fast here.
        self._threads = ThreadpoolController()

    def entities(self, texts: Sequence[str]) -> list[list[Span]]:
        """The entities of each text, in order, with the model's own kinds."""
        # Words that are new would stay in the vocabulary for ever.
        with self._language.memory_zone(), self._threads.limit(limits=1, user_api="blas"):
            docs = [self._language.make_doc(text) for text in texts]
            read = [doc for doc in docs if len(doc)]
            found = dict(zip(map(id, read), self._read(read), strict=True)) if read else {}
            return [found.get(id(doc), []) for doc in docs]

    def _read(self, docs: Sequence[Any]) -> Iterator[list[Span]]:
        features = self._lower.predict(self._vectors.predict(docs))  # (tokens + 1, 3, hidden, 2)
        bias = self._lower.get_param("b")
        # Outside of entities, two of three features are what stands for "none".
        hidden = (features[1:, 0] + features[0, 1] + features[0, 2] + bias).max(axis=2)
        scores = self._ops.gemm(hidden, self._weights, trans2=True) + self._bias
        starts = np.where(self._can_start, scores, -np.inf).argmax(axis=1)
        ends = np.where(self._can_end, scores, -np.inf).argmax(axis=1)
        offset = 0
        for doc in docs:
            actions = starts[offset : offset + len(doc)]
            actions[-1] = ends[offset + len(doc) - 1]
            blank = [i for i in np.flatnonzero(actions != self._out) if doc[int(i)].is_space]
            actions[blank] = self._out
            yield list(self._entities(doc, actions, features, offset, bias))
            offset += len(doc)

    def _entities(
        self, doc: Any, actions: Any, features: Any, offset: int, bias: Any
    ) -> Iterator[Span]:
        place = 0
        for start in map(int, np.flatnonzero(actions != self._out)):
            if start < place:
                continue  # inside of the entity before
            name, end = self._names[actions[start]], start
            moves = self._inside[name[2:]]
            while name[0] == "B" and end + 1 < len(doc):
                end += 1
                if end + 1 == len(doc):
                    break
                # The token, the entity's first, and the one before.
                row = offset + end + 1
                inner = features[row, 0] + features[offset + start + 1, 1] + features[row - 1, 2]
                hidden = (inner + bias).max(axis=1)
                goes_on, stops = (
                    float(self._weights[move] @ hidden) + float(self._bias[move]) for move in moves
                )
                if stops > goes_on:
                    break
            place = end + 1
            last = doc[end]
            yield Span(doc[start].idx, last.idx + len(last.text), name[2:])


def _block_ops() -> Any:
    """Thinc's operations, with numpy's matrix product in blocks of one size.

    BLIS, which Thinc brings, takes twice as long; and numpy alone adds up a row in another order
    when more rows come with it.
    """
    from thinc.api import NumpyOps

    class BlockOps(NumpyOps):  # type: ignore[misc]
        def gemm(
            self, x: Any, y: Any, out: Any = None, trans1: bool = False, trans2: bool = False
        ) -> Any:
            left, right = (x.T if trans1 else x), (y.T if trans2 else y)
            num_blocks = -(-len(left) // BLOCK_ROWS)
            padded = np.zeros((num_blocks * BLOCK_ROWS, left.shape[1]), dtype=left.dtype)
            padded[: len(left)] = left
            blocks = padded.reshape(num_blocks, BLOCK_ROWS, -1) @ right
            product = blocks.reshape(num_blocks * BLOCK_ROWS, -1)[: len(left)]
            if out is None:
                return product
            out[:] = product
            return out

    return BlockOps()
