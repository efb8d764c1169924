"""The bodies that a head is put on: a small encoder that has read the texts, or a base.

In: texts and a plan. Out: an encoder and its vocabulary; the folder of both under a head.
This module does not know what a head is for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noria.artifacts import atomic_write
from noria.errors import FormatError, UsageError
from noria.model.config import ModelConfig
from noria.model.headed import HeadedModel, add_head
from noria.model.heads import HeadConfig
from noria.model.labels import HeadLabels, write_labels
from noria.model.styles import Dropout, Norm
from noria.model.transformer import Encoder, build_model
from noria.model.weights import load_model, save_model
from noria.tokenizer.bert import BertTokenizer, load_bert_tokenizer, train_bert_tokenizer
from noria.tokenizer.for_encoders import EncoderTokenizer
from noria.train.labelled import Framing, HiddenTokens, Ids, windows
from noria.train.lessons import TRAINING_FILE, EncoderPlan, Progress, teach
from noria.train.objectives.losses import masked_token

HEAD_WIDTH = 64


def pretrained_body(
    texts: Sequence[str], plan: EncoderPlan, progress: Progress | None, *, lowercase: bool = True
) -> tuple[Encoder, BertTokenizer, dict[str, Any]]:
    """A small encoder that has learned to guess hidden tokens of the texts, and its vocabulary.

    Also the facts to store. Of BERT's kind, each Chinese character by itself.
    """
    tokenizer = train_bert_tokenizer(_some(texts), plan.vocab_size, lowercase=lowercase)
    body, fact = read_texts(texts, tokenizer, plan, progress)
    return body, tokenizer, fact


def read_texts(
    texts: Sequence[str], tokenizer: EncoderTokenizer, plan: EncoderPlan, progress: Progress | None
) -> tuple[Encoder, dict[str, Any]]:
    """A fresh encoder that has learned to guess hidden tokens, and the facts to store.

    It takes the plan's share of the time.
    """
    body = build_model(small_encoder(tokenizer.vocab_size, plan), plan.seed)
    assert isinstance(body, Encoder)
    model = add_head(body, HeadConfig("masked"), plan.seed)
    rows = [row for row in encoded(tokenizer, _some(texts)) if len(row)]
    model.head.load_state_dict({"bias": _log_shares(rows, tokenizer.vocab_size)}, strict=False)
    lesson = plan.pretraining
    source = HiddenTokens(
        windows(rows, framing_of(tokenizer, plan), lesson.batch_rows, plan.seed),
        tokenizer.vocab_size,
        lesson.hidden,
    )
    timed = replace(plan, seconds=plan.pretraining_share * plan.seconds)
    num_batches = source.windows.order.num_batches
    fact = teach(
        "hidden tokens", model, source, num_batches, lesson, masked_token(), timed, 0, progress
    )
    return body, fact


def _log_shares(rows: Sequence[Ids], vocab_size: int) -> Tensor:
    """Of each token among all, in logarithms, for the head to begin with. (V,).

    Else the first thing that training does is to turn every vector towards the frequent tokens,
    which it takes long to undo.
    """
    counts = np.bincount(np.concatenate(rows), minlength=vocab_size) + 1
    return torch.from_numpy(np.log(counts / counts.sum())).float()


def _some(texts: Sequence[str]) -> list[str]:
    """Those that are not empty. Raises UsageError if there is none."""
    kept = [text for text in texts if text.strip()]
    if not kept:
        raise UsageError("texts that are all empty", "text", "check the columns")
    return kept


def small_encoder(vocab_size: int, plan: EncoderPlan) -> ModelConfig:
    """Few and wide layers: a CPU trains them faster than many narrow ones."""
    return ModelConfig(
        vocab_size=vocab_size,
        context_tokens=plan.window_tokens,
        num_layers=plan.num_layers,
        width=plan.width,
        num_heads=plan.width // HEAD_WIDTH,
        num_kv_heads=plan.width // HEAD_WIDTH,
        ffn_width=2 * plan.width,
        family="encoder",
        norm=Norm(kind="layer"),  # the one that autocast keeps in float32, after a head's layer too
        dropout=Dropout(hidden=plan.dropout),
    )


def open_base(plan: EncoderPlan) -> tuple[Encoder, BertTokenizer]:
    """The plan's base and its tokenizer, its embeddings frozen.

    Raises UsageError if there is none, FormatError if it is no encoder with a tokenizer for it.
    """
    if plan.base is None:
        raise UsageError("no base to tune", "the folder of an encoder", "name one")
    body, tokenizer = load_model(plan.base), load_bert_tokenizer(plan.base)
    if not isinstance(body, Encoder) or tokenizer.vocab_size > body.config.vocab_size:
        raise FormatError(
            f"{plan.base}: a model of family {body.config.family!r}, {body.config.vocab_size} ids",
            f"an encoder of {tokenizer.vocab_size} ids or more, as its tokenizer has",
            "choose another base",
        )
    body.embedding.requires_grad_(False)
    return body, tokenizer


def encoded(tokenizer: EncoderTokenizer, texts: Sequence[str]) -> list[Ids]:
    """The ids of each text as an array."""
    return [np.array(ids, dtype=np.int64) for ids in tokenizer.encode_batch(texts)]


def framing_of(tokenizer: EncoderTokenizer, plan: EncoderPlan) -> Framing:
    """How rows of this vocabulary begin, end, are filled and hidden."""
    return Framing(
        tokenizer.begin_id,
        tokenizer.end_id,
        tokenizer.pad_id,
        tokenizer.mask_id,
        plan.window_tokens,
    )


def write_encoder(
    out: Path, model: HeadedModel, tokenizer: EncoderTokenizer, labels: HeadLabels, facts: Any
) -> None:
    """Write a model with its head, vocabulary, labels and how it was trained into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    save_model(out, model)
    tokenizer.save(out)
    write_labels(out, labels)
    text = json.dumps({"lessons": facts}, indent=1) + "\n"
    atomic_write(out / TRAINING_FILE, text.encode("utf-8"))
