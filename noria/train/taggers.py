"""Words and their tags in, the folder of a trained encoder out, within a time.

As `noria.train.encoders` makes encoders that classify texts, these tag words: the first piece of a
word is asked for its tag. A small encoder from random weights first guesses hidden pieces; or a
base is tuned. This module does not know spans, nor what a tag means.
Legend: B rows, T pieces, N tags.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.errors import UsageError
from noria.model.headed import HeadedModel, add_head
from noria.model.heads import HeadConfig
from noria.model.labels import HeadLabels
from noria.model.transformer import Encoder
from noria.tokenizer.bert import BertTokenizer
from noria.tokenizer.word_pieces import WordReader, marked_text
from noria.train.batch import LabelBatch
from noria.train.bodies import framing_of, open_base, pretrained_body, write_encoder
from noria.train.labelled import Ids, Windows, hide, is_real, lengths, padded, windows
from noria.train.lessons import EncoderPlan, Lesson, Progress, teach
from noria.train.objectives.losses import one_class

NO_TAG = -1  # of a piece that speaks for no word
SCRATCH_TAGS = Lesson(32, 1e-3, max_passes=40, max_steps=20_000, hidden=0.15, weight_decay=0.1)
TUNED_TAGS = Lesson(16, 3e-4, max_passes=8, max_steps=20_000, hidden=0.05, layer_decay=0.9)


def train_scratch_tagger(
    token_lists: Sequence[Sequence[str]],
    tag_lists: Sequence[Sequence[str]],
    unlabelled: Sequence[Sequence[str]],
    plan: EncoderPlan,
    out: Path,
    progress: Progress | None = None,
    lesson: Lesson = SCRATCH_TAGS,
) -> None:
    """Write an encoder that knew nothing but these words; `unlabelled` ones teach it language.

    Raises UsageError unless each word has its tag and there is one word at least, TrainingError if
    a loss stops being a number.
    """
    began_at = time.monotonic()
    numbered = _number_tags(token_lists, tag_lists)
    texts = [marked_text(words) for words in (*token_lists, *unlabelled)]
    body, tokenizer, fact = pretrained_body(texts, plan, progress)
    left = replace(plan, seconds=plan.seconds - (time.monotonic() - began_at))
    model, labels, taught = _teach_tags(numbered, body, tokenizer, left, lesson, 1, progress)
    write_encoder(out, model, tokenizer, labels, [fact, taught])


def tune_tagger(
    token_lists: Sequence[Sequence[str]],
    tag_lists: Sequence[Sequence[str]],
    plan: EncoderPlan,
    out: Path,
    progress: Progress | None = None,
    lesson: Lesson = TUNED_TAGS,
) -> None:
    """Write the plan's base, tuned: its blocks and a new head; its embedding stays as it is.

    Raises as `train_scratch_tagger` does, and UsageError without a base.
    """
    began_at = time.monotonic()
    numbered = _number_tags(token_lists, tag_lists)
    body, tokenizer = open_base(plan)
    left = replace(plan, seconds=plan.seconds - (time.monotonic() - began_at))
    model, labels, taught = _teach_tags(numbered, body, tokenizer, left, lesson, 0, progress)
    write_encoder(out, model, tokenizer, labels, [taught])


@dataclass(frozen=True, eq=False)
class TaggedRows:
    """Rows with a tag's number for each piece that speaks for a word, NO_TAG for others.

    hidden: the share of pieces that the model does not see, drawn anew each time: what stands
    around a name has to tell it, too.
    """

    windows: Windows
    tags: Sequence[Ids]
    hidden: float

    def batch(self, step: int) -> LabelBatch:
        """The batch of a step (from 0)."""
        rows, chosen, random = self.windows.draw(step)
        framing = self.windows.framing
        ids = padded(
            [hide(row, framing.mask_id, self.hidden, random) for row in rows],
            framing.pad_id,
            framing.window_tokens,
        )
        ends = [NO_TAG]
        labels = padded(
            [np.concatenate([ends, self.tags[number], ends]) for number in chosen],
            NO_TAG,
            framing.window_tokens,
        )
        real = is_real(lengths(rows), ids.shape[1])
        return LabelBatch(ids, real, labels.clamp(min=0), labels >= 0)

    def describe(self, step: int) -> str:
        """Which rows, for people."""
        return self.windows.describe(step)


@dataclass(frozen=True, eq=False)
class _NumberedTags:
    """Words, the numbers of their tags, and what the tags are called."""

    token_lists: Sequence[Sequence[str]]
    numbers: Sequence[NDArray[np.int64]]
    names: tuple[str, ...]


def _number_tags(
    token_lists: Sequence[Sequence[str]], tag_lists: Sequence[Sequence[str]]
) -> _NumberedTags:
    """Number the different tags in the order of their names."""
    if [len(one) for one in token_lists] != [len(one) for one in tag_lists]:
        raise UsageError("other numbers of tags than of words", "one for each", "check the data")
    names = tuple(sorted({tag for tags in tag_lists for tag in tags}))
    if not names:
        raise UsageError("no tagged word", "one at least", "give the tagger some texts")
    places = {name: place for place, name in enumerate(names)}
    numbers = [np.array([places[tag] for tag in tags], dtype=np.int64) for tags in tag_lists]
    return _NumberedTags(token_lists, numbers, names)


def _teach_tags(
    numbered: _NumberedTags,
    body: Encoder,
    tokenizer: BertTokenizer,
    plan: EncoderPlan,
    lesson: Lesson,
    number: int,
    progress: Progress | None,
) -> tuple[HeadedModel, HeadLabels, dict[str, Any]]:
    """Teach a body the tags of words under a new head, in all the seconds of the plan."""
    head = HeadConfig("token", num_classes=len(numbered.names), dropout=plan.dropout)
    model = add_head(body, head, plan.seed)
    model.head.load_state_dict({"classes.bias": _log_shares(numbered)}, strict=False)
    framing = framing_of(tokenizer, plan)
    rows, tags = _tagged_rows(numbered, WordReader(tokenizer, plan.window_tokens - 2))
    source = TaggedRows(windows(rows, framing, lesson.batch_rows, plan.seed), tags, lesson.hidden)
    num_batches = source.windows.order.num_batches
    fact = teach(
        "tags", model, source, num_batches, lesson, one_class(lesson.smoothing), plan, number,
        progress,
    )  # fmt: skip
    return model, HeadLabels(numbered.names, False, plan.window_tokens), fact


def _log_shares(numbered: _NumberedTags) -> Tensor:
    """ln of how frequent each tag is: a head that begins there need not learn that most are O.

    (N,).
    """
    counts = np.bincount(np.concatenate(numbered.numbers), minlength=len(numbered.names))
    return torch.from_numpy(np.log(counts / counts.sum())).float()


def _tagged_rows(numbered: _NumberedTags, reader: WordReader) -> tuple[list[Ids], list[Ids]]:
    """Ids, and tags at the pieces that speak; several rows where a list is too long."""
    rows: list[Ids] = []
    tags: list[Ids] = []
    for words, numbers in zip(numbered.token_lists, numbered.numbers, strict=True):
        for window, row in reader.rows(words, margin=0):
            of_pieces = np.full(len(row.ids), NO_TAG)
            of_pieces[row.places] = numbers[window.first : window.last]
            rows.append(row.ids)
            tags.append(of_pieces)
    return rows, tags
