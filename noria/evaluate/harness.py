"""Measure a model or an n-gram model on records: likelihoods of each record.

In: a loaded model and records (documents, pairs, conversations). Out: Likelihoods.
One convention for every model: a record starts as the model is served, after the tokenizer's
`start_ids` (`end_id`, where there are none and the first token counts); what counts is what
training counts (a document's tokens, a pair's target, the assistant's turns, each with its end
token), and the bytes are those of the text that is counted. It knows nothing of recipes, stages or
the gate.

Long records are read in windows of the model's context that move on by half of it, so that every
token but the first window's has at least half a context before it, and each is counted once.

Legend: B windows of a batch, T tokens of the longest window in it, C width, N records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noria.baselines.ngram import NgramModel
from noria.errors import UsageError
from noria.evaluate.metrics import Floats, Likelihoods
from noria.generate.loaded import LanguageModel
from noria.model.likelihood import cross_entropy_sum
from noria.records import Conversation, Document, Pair, Record, content_text, record_id
from noria.tokenizer.load import Tokenizer
from noria.tokenizer.pack import encode_records

BATCH_TOKENS = 4096  # of one forward pass, padding included

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Line:
    """A sequence as a model reads it: target i is predicted from ids[: i + 1], and is ids[i + 1].

    Where `mask` is 1 the target counts.
    """

    ids: list[int]
    mask: list[int]  # of the targets


@dataclass(frozen=True)
class _Window:
    """Inputs [start, end) of a record's line; the targets from `count_from` on count."""

    record: int
    start: int
    count_from: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def measure_model(
    model: LanguageModel, records: Sequence[Record], progress: Progress | None = None
) -> Likelihoods:
    """Negative log likelihood in nats of each record under a model, in float32.

    `progress(done, total)` counts windows. Raises UsageError for records of another shape or none.
    """
    lines = [_line(model.tokenizer, *one) for one in _sequences(model.tokenizer, records)]
    nll = measure_lines(model, lines, progress)
    num_tokens = sum(sum(line.mask) for line in lines)
    return Likelihoods(nll, _num_bytes(model.tokenizer, records), num_tokens)


def measure_lines(
    model: LanguageModel,
    lines: Sequence[Line],
    progress: Progress | None = None,
    likeliest: NDArray[np.bool_] | None = None,
) -> Floats:
    """(N,) negative log likelihood in nats of what counts of each sequence.

    `likeliest` (N,), where given, is set to whether each token that counts is the likeliest one at
    its place; meant for sequences of which little counts. `progress` as in `measure_model`.
    """
    decoder = model.model
    context_tokens = decoder.config.context_tokens
    windows = [
        window
        for index, line in enumerate(lines)
        for window in _windows(index, line.mask, context_tokens)
    ]
    # Windows of one length share a batch, so that little is padded; the order is stable.
    windows.sort(key=lambda window: -window.length)
    nll = np.zeros(len(lines))
    if likeliest is not None:
        likeliest[:] = True
    was_training = decoder.training
    decoder.eval()
    with torch.inference_mode():
        done = 0
        while done < len(windows):
            batch = windows[done : done + max(1, BATCH_TOKENS // windows[done].length)]
            _add_losses(model, lines, batch, nll, likeliest)
            done += len(batch)
            if progress is not None:
                progress(done, len(windows))
    decoder.train(was_training)
    return nll


def measure_ngram(
    ngram: NgramModel, tokenizer: Tokenizer, records: Sequence[Record]
) -> Likelihoods:
    """Negative log likelihood in nats of each record under an n-gram model, by the same convention.

    Raises UsageError for records of another shape or none.
    """
    sequences = _sequences(tokenizer, records)
    ids = np.concatenate([np.asarray(ids, dtype=np.int64) for ids, _ in sequences])
    mask = np.concatenate([np.asarray(mask, dtype=np.float64) for _, mask in sequences])
    starts = np.cumsum([0] + [len(ids) for ids, _ in sequences[:-1]])
    # Every sequence ends with end_id and no context crosses one: one pass equals one each.
    nll = np.add.reduceat(-ngram.log_probs(ids) * mask, starts)
    return Likelihoods(nll, _num_bytes(tokenizer, records), int(mask.sum()))


def _sequences(
    tokenizer: Tokenizer, records: Sequence[Record]
) -> list[tuple[list[int], list[int]]]:
    if not records:
        raise UsageError("no records to measure on", "one at least", "hold back some text")
    return list(encode_records(tokenizer, records))


def _line(tokenizer: Tokenizer, ids: list[int], mask: list[int]) -> Line:
    """Put the end token before a sequence, unless its own first token only opens it."""
    if mask[0] or tokenizer.start_ids == (tokenizer.end_id,):
        return Line([tokenizer.end_id, *ids], mask)
    return Line(ids, mask[1:])


def _windows(record: int, mask: Sequence[int], context_tokens: int) -> list[_Window]:
    """Windows over one record; those in which no target counts are left out."""
    stride = max(1, context_tokens // 2)
    windows = []
    start = counted = 0
    while counted < len(mask):
        end = min(start + context_tokens, len(mask))
        if any(mask[counted:end]):
            windows.append(_Window(record, start, counted, end))
        start, counted = start + stride, end
    return windows


def _add_losses(
    model: LanguageModel,
    lines: Sequence[Line],
    batch: Sequence[_Window],
    nll: Floats,
    likeliest: NDArray[np.bool_] | None,
) -> None:
    """One forward pass; adds each window's loss to its sequence, and whether it is likeliest."""
    end_id = model.tokenizer.end_id
    device = model.model.embedding.weight.device
    longest = max(window.length for window in batch)
    inputs = torch.full((len(batch), longest), end_id, dtype=torch.int64)  # (B, T)
    for row, window in enumerate(batch):
        ids = lines[window.record].ids
        inputs[row, : window.length] = torch.tensor(ids[window.start : window.end])
    # padding stands behind, and attention looks back
    hidden = model.model(inputs.to(device))  # (B, T, C)
    for row, window in enumerate(batch):
        line = lines[window.record]
        counted = slice(window.count_from, window.end)
        states = hidden[row : row + 1, window.count_from - window.start : window.length]
        targets = torch.tensor([line.ids[window.count_from + 1 : window.end + 1]], device=device)
        weights = torch.tensor([line.mask[counted]], device=device)
        total, _ = cross_entropy_sum(model.model, states, targets, weights)
        nll[window.record] += float(total)
        if likeliest is not None:
            counts = weights[0] > 0
            best = model.model.logits(states[0][counts]).argmax(dim=-1)
            likeliest[window.record] &= bool((best == targets[0][counts]).all())


def _num_bytes(tokenizer: Tokenizer, records: Iterable[Record]) -> NDArray[np.int64]:
    counts = [sum(map(tokenizer.num_bytes, _counted_texts(record))) for record in records]
    return np.array(counts, dtype=np.int64)


def _counted_texts(record: Record) -> list[str]:
    """The texts whose tokens count."""
    match record:
        case Document():
            return [content_text(record.content)]
        case Pair():
            return [content_text(record.target)]
        case Conversation():
            answers = (one for one in record.messages if one.role == "assistant")
            return [content_text(message.content) for message in answers]
        case _:  # encode_records has refused the others
            return []


def data_digest(records: Iterable[Record]) -> str:
    """SHA-256 (hex) over the ids of the records, in order: names a frozen set."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(record_id(record).encode("ascii") + b"\n")
    return digest.hexdigest()
