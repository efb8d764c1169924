"""Texts and their labels in, the folder of a trained encoder out, within a time.

Two ways: a small encoder from random weights, which first learns the texts' language by guessing
hidden tokens; or a base encoder, tuned. Few steps are timed, and as many are planned as the time
allows; the number is stored, and a plan that states it trains the same weights again.
This module does not know records, tasks or what a label means.
Legend: N classes.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noria.artifacts import atomic_write
from noria.errors import FormatError, TrainingError, UsageError
from noria.model.config import ModelConfig
from noria.model.headed import HeadedModel, add_head
from noria.model.heads import HeadConfig
from noria.model.labels import HeadLabels, write_labels
from noria.model.styles import Dropout
from noria.model.transformer import Encoder, build_model
from noria.model.weights import load_model, save_model
from noria.runtime import has_fast_bfloat16, num_cores
from noria.tokenizer.bert import BertTokenizer, load_bert_tokenizer, train_bert_tokenizer
from noria.train.batch import Batch
from noria.train.labelled import Framing, HiddenTokens, LabelledRows, windows
from noria.train.loop import BatchSource, train
from noria.train.objectives.losses import Objective, many_classes, masked_token, one_class
from noria.train.optim import Optimizer, build_optimizer
from noria.train.plan import Choices, StepReport, TrainPlan
from noria.train.probe import teach_head
from noria.train.step import train_step

TRAINING_FILE = "training.json"
NUM_TIMED_STEPS = 3
HEAD_WIDTH = 64
MIN_PROBABILITY = 1e-4  # of a label at the start, where texts carry many
Progress = Callable[[str, int, int], None]  # what is trained, steps done, steps in all


@dataclass(frozen=True)
class Lesson:
    """How one training goes, whatever it teaches: the same for every data set.

    hidden: the share of tokens that is not shown. head_first: a new head is taught alone before.
    """

    batch_rows: int
    learning_rate: float
    max_passes: float
    max_steps: int
    optimizer: str = "adamw"
    warmup: float = 0.1
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    smoothing: float = 0.0
    hidden: float = 0.0
    average: float = 0.0
    head_first: bool = False


PRETRAINING = Lesson(32, 2e-3, max_passes=20, max_steps=20_000, hidden=0.2)
SCRATCH = Lesson(
    32, 1e-3, max_passes=30, max_steps=20_000, smoothing=0.1, hidden=0.1, weight_decay=0.1
)
TUNING = Lesson(
    16, 1e-4, max_passes=8, max_steps=20_000, smoothing=0.1, layer_decay=0.9, head_first=True
)


@dataclass(frozen=True)
class EncoderPlan:
    """Everything that a training depends on, beside its texts.

    seconds: of the whole training. base: a folder with an encoder of ours and its tokenizer, to be
    tuned. num_steps: of each lesson, as `training.json` of an earlier training states them; none to
    measure. num_layers, width, vocab_size: of an encoder from scratch. window_tokens: how many
    tokens are read at a time. pretraining_share: of the time, for hidden tokens.
    """

    seconds: float = 90.0
    seed: int = 0
    base: Path | None = None
    num_steps: tuple[int, ...] = ()
    num_layers: int = 2
    width: int = 192
    vocab_size: int = 6000
    window_tokens: int = 128
    dropout: float = 0.1
    pretraining_share: float = 0.35
    pretraining: Lesson = PRETRAINING
    scratch: Lesson = SCRATCH
    tuning: Lesson = TUNING


def train_scratch_classifier(
    texts: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    many: bool,
    unlabelled: Sequence[str],
    plan: EncoderPlan,
    out: Path,
    progress: Progress | None = None,
) -> None:
    """Write an encoder that knew nothing but these texts; `unlabelled` ones teach it language.

    labels: one for each text, or with `many` any number. Raises UsageError unless each text has its
    labels and there are two different ones at least, TrainingError if a loss stops being a number.
    """
    began_at = time.monotonic()
    taught = number_texts(texts, labels, many=many)
    body, tokenizer, facts = pretrained_body([*texts, *unlabelled], plan, progress)
    plan_left = replace(plan, seconds=plan.seconds - (time.monotonic() - began_at))
    model, head_labels, fact = _teach_classes(
        taught, body, tokenizer, plan_left, plan.scratch, 1, progress
    )
    write_encoder(out, model, tokenizer, head_labels, [facts, fact])


def tune_classifier(
    texts: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    many: bool,
    plan: EncoderPlan,
    out: Path,
    progress: Progress | None = None,
) -> None:
    """Write the plan's base, tuned: its blocks and a new head; its embedding stays as it is.

    What a base knows of words that these texts lack is kept that way. Raises as
    `train_scratch_classifier` does, and UsageError without a base.
    """
    began_at = time.monotonic()
    taught = number_texts(texts, labels, many=many)
    body, tokenizer = open_base(plan)
    plan_left = replace(plan, seconds=plan.seconds - (time.monotonic() - began_at))
    model, head_labels, fact = _teach_classes(
        taught, body, tokenizer, plan_left, plan.tuning, 0, progress
    )
    write_encoder(out, model, tokenizer, head_labels, [fact])


@dataclass(frozen=True, eq=False)
class NumberedTexts:
    """Texts, the numbers of each one's labels, and what the labels are called."""

    texts: Sequence[str]
    numbers: Sequence[Tensor]
    names: tuple[str, ...]
    many: bool


def number_texts(
    texts: Sequence[str], labels: Sequence[tuple[str, ...]], *, many: bool
) -> NumberedTexts:
    """Number the different labels in the order of their names.

    Raises UsageError unless each text has one label (any number with `many`) and there are two
    different ones at least (one with `many`).
    """
    if len(texts) != len(labels):
        raise UsageError(
            f"{len(texts)} texts and labels for {len(labels)}", "labels for each", "check the data"
        )
    for number, one in enumerate(labels):
        if not many and len(one) != 1:
            raise UsageError(
                f"text {number + 1} with {len(one)} labels", "one", "declare many labels a text"
            )
    names = tuple(sorted({label for one in labels for label in one}))
    if len(names) < (1 if many else 2):
        raise UsageError(
            f"{len(names)} classes", "one or more" if many else "two or more", "add labelled texts"
        )
    places = {name: place for place, name in enumerate(names)}
    numbers = [torch.tensor([places[one] for one in some], dtype=torch.int64) for some in labels]
    return NumberedTexts(texts, numbers, names, many)


def pretrained_body(
    texts: Sequence[str], plan: EncoderPlan, progress: Progress | None, *, lowercase: bool = True
) -> tuple[Encoder, BertTokenizer, dict[str, Any]]:
    """A small encoder that has learned to guess hidden tokens of the texts, and its vocabulary.

    Also the facts to store. It takes the plan's share of the time.
    """
    kept = [text for text in texts if text.strip()]
    if not kept:
        raise UsageError("texts that are all empty", "text", "check the columns")
    began_at = time.monotonic()
    tokenizer = train_bert_tokenizer(kept, plan.vocab_size, lowercase=lowercase)
    body = build_model(small_encoder(tokenizer.vocab_size, plan), plan.seed)
    assert isinstance(body, Encoder)
    model = add_head(body, HeadConfig("masked"), plan.seed)
    rows = [row for row in encoded(tokenizer, kept) if len(row)]
    lesson = plan.pretraining
    source = HiddenTokens(
        windows(rows, framing_of(tokenizer, plan), lesson.batch_rows, plan.seed),
        tokenizer.vocab_size,
        lesson.hidden,
    )
    seconds = plan.pretraining_share * plan.seconds - (time.monotonic() - began_at)
    num_batches = source.windows.order.num_batches
    timed = replace(plan, seconds=seconds)
    fact = teach(
        "hidden tokens", model, source, num_batches, lesson, masked_token(), timed, 0, progress
    )
    return body, tokenizer, fact


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


def encoded(tokenizer: BertTokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids of each text as an array."""
    return [np.array(ids, dtype=np.int64) for ids in tokenizer.encode_batch(texts)]


def framing_of(tokenizer: BertTokenizer, plan: EncoderPlan) -> Framing:
    """How rows of this vocabulary begin, end, are filled and hidden."""
    return Framing(
        tokenizer.begin_id,
        tokenizer.end_id,
        tokenizer.pad_id,
        tokenizer.mask_id,
        plan.window_tokens,
    )


def _teach_classes(
    taught: NumberedTexts,
    body: Encoder,
    tokenizer: BertTokenizer,
    plan: EncoderPlan,
    lesson: Lesson,
    number: int,
    progress: Progress | None,
) -> tuple[HeadedModel, HeadLabels, dict[str, Any]]:
    """Teach a body the classes of texts under a new head, in all the seconds of the plan."""
    began_at = time.monotonic()
    num_classes = len(taught.names)
    head = HeadConfig("sequence", num_classes=num_classes, dropout=plan.dropout)
    model = add_head(body, head, plan.seed)
    if taught.many:
        state = {"classes.bias": _log_odds(taught.numbers, num_classes)}
        model.head.load_state_dict(state, strict=False)
    read = windows(
        encoded(tokenizer, taught.texts), framing_of(tokenizer, plan), lesson.batch_rows, plan.seed
    )
    labels_of = (_many_labels if taught.many else _one_label)(taught.numbers, num_classes)
    if lesson.head_first:
        precision = "bfloat16" if has_fast_bfloat16() else "float32"
        teach_head(model, read.rows, read.framing, labels_of, precision, plan.seed)
    source = LabelledRows(read, labels_of, lesson.hidden)
    objective = many_classes() if taught.many else one_class(lesson.smoothing)
    timed = replace(plan, seconds=plan.seconds - (time.monotonic() - began_at))
    num_batches = read.order.num_batches
    fact = teach("classes", model, source, num_batches, lesson, objective, timed, number, progress)
    return model, HeadLabels(taught.names, taught.many, plan.window_tokens), fact


def _one_label(numbers: Sequence[Tensor], _: int) -> Callable[[Any], Tensor]:
    every = torch.cat(list(numbers))
    return lambda chosen: every[torch.from_numpy(chosen)]


def _many_labels(numbers: Sequence[Tensor], num_classes: int) -> Callable[[Any], Tensor]:
    """Made batch by batch: a table of all texts by 10,000 labels would fill memory."""

    def labels_of(chosen: Any) -> Tensor:
        found = torch.zeros(len(chosen), num_classes)
        for row, number in enumerate(chosen):
            found[row, numbers[number]] = 1
        return found

    return labels_of


def _log_odds(numbers: Sequence[Tensor], num_classes: int) -> Tensor:
    """Of each label among the texts: a head that begins there need not learn what is rare. (N,)."""
    counts = torch.bincount(torch.cat(list(numbers)), minlength=num_classes)
    return (counts / len(numbers)).clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY).logit()


def teach(
    what: str,
    model: HeadedModel,
    source: BatchSource,
    num_batches: int,
    lesson: Lesson,
    objective: Objective,
    plan: EncoderPlan,
    number: int,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train a model in place in all the seconds of a plan; returns the facts to store with it.

    num_batches: of a pass over the source. number: of this lesson among those of the plan.
    """
    torch.set_num_threads(num_cores())
    began_at = time.monotonic()
    choices, step_s = measure(model, source, num_batches, lesson, objective)
    torch.set_num_threads(choices.num_threads)
    left_s = max(0.0, plan.seconds - (time.monotonic() - began_at))
    planned = int(min(left_s / step_s, lesson.max_passes * num_batches, lesson.max_steps))
    num_steps = plan.num_steps[number] if number < len(plan.num_steps) else max(1, planned)
    training = TrainPlan(
        num_steps,
        lesson.learning_rate,
        optimizer=lesson.optimizer,
        warmup=lesson.warmup,
        final_learning_rate=0.0,
        weight_decay=lesson.weight_decay,
        layer_decay=lesson.layer_decay,
        average=lesson.average,
        schedule="linear",
        seed=plan.seed,
    )
    watch = None if progress is None else _watch(what, progress)
    with tempfile.TemporaryDirectory() as folder:
        losses = train(
            model, source, training, choices, Path(folder), watch=watch, objective=objective
        )
    return {
        "lesson": what,
        "num_steps": num_steps,
        "passes": round(num_steps / num_batches, 3),
        "seconds": round(time.monotonic() - began_at, 2),
        "first_loss": losses[0]["loss"],
        "last_loss": losses[-1]["loss"],
        "choices": asdict(choices),
        "plan": training.to_json(),
        "seed": plan.seed,
    }


def _watch(what: str, progress: Progress) -> Callable[[StepReport], None]:
    return lambda report: progress(what, report.step, report.num_steps)


def measure(
    model: nn.Module, source: BatchSource, num_batches: int, lesson: Lesson, objective: Objective
) -> tuple[Choices, float]:
    """The fastest precision and number of threads on this machine, and the seconds of a step.

    On copies, with batches from all over a pass. Leaves torch with another number of threads.
    """
    steps = np.linspace(0, num_batches - 1, NUM_TIMED_STEPS).astype(int)
    batches = [source.batch(int(step)) for step in steps]
    precisions = ("float32", "bfloat16") if has_fast_bfloat16() else ("float32",)
    times = {}
    for precision in precisions:
        times[precision, num_cores()] = _step_s(model, batches, lesson, precision, objective)
    precision = min(times, key=times.__getitem__)[0]
    if num_cores() > 1:  # several threads wait for each other, for long where cores are shared
        torch.set_num_threads(1)
        times[precision, 1] = _step_s(model, batches, lesson, precision, objective)
    best = min(times, key=times.__getitem__)
    return Choices(best[0], False, lesson.batch_rows, best[1]), times[best]


def _step_s(
    model: nn.Module,
    batches: Sequence[Batch],
    lesson: Lesson,
    precision: str,
    objective: Objective,
) -> float:
    """The mean time of a step on these batches, each taken twice: the shorter time counts."""
    trial = copy.deepcopy(model).train()
    optimizer = build_optimizer(trial, lesson.optimizer, 0.0, 0.0)
    shortest = [
        min(_seconds(trial, optimizer, batch, lesson, precision, objective) for _ in range(2))
        for batch in batches
    ]
    return sum(shortest) / len(shortest)


def _seconds(
    model: nn.Module,
    optimizer: Optimizer,
    batch: Batch,
    lesson: Lesson,
    precision: str,
    objective: Objective,
) -> float:
    started_at = time.perf_counter()
    result = train_step(model, optimizer, batch, lesson.batch_rows, precision, 1.0, objective)
    if not result.updated:
        raise TrainingError("a loss that is not a number", "a number", "look at the texts")
    return time.perf_counter() - started_at


def write_encoder(
    out: Path, model: HeadedModel, tokenizer: BertTokenizer, labels: HeadLabels, facts: Any
) -> None:
    """Write a model with its head, vocabulary, labels and how it was trained into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    save_model(out, model)
    tokenizer.save(out)
    write_labels(out, labels)
    text = json.dumps({"lessons": facts}, indent=1) + "\n"
    atomic_write(out / TRAINING_FILE, text.encode("utf-8"))
