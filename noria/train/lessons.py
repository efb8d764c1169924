"""A model, what it reads and a time in, the trained model and the facts of its training out.

Few steps are timed on copies of the model, and as many are planned as the time allows; number of
steps, precision and threads are stored, and a plan that states them trains the same weights again.
This module does not know texts, labels or what a model is for.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from noria.errors import FormatError, TrainingError
from noria.model.headed import HeadedModel
from noria.model.weights import read_json_object
from noria.runtime import has_fast_bfloat16, num_cores
from noria.train.batch import Batch
from noria.train.loop import BatchSource, train
from noria.train.objectives.losses import Objective
from noria.train.optim import Optimizer, build_optimizer
from noria.train.plan import Choices, StepReport, TrainPlan
from noria.train.step import train_step

TRAINING_FILE = "training.json"
NUM_TIMED_STEPS = 3
TIMING_SHARE = 0.03  # of the time of a lesson, that timing one of three ways of a step may take
Progress = Callable[[str, int, int], None]  # what is trained, steps done, steps in all


@dataclass(frozen=True)
class Lesson:
    """How one training goes, whatever it teaches: the same for every data set.

    hidden: the share of tokens that is not shown. head_first: a new head is taught alone before.
    min_steps: with fewer there is no lesson.
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
    min_steps: int = 1


# At 2e-3 a body that read 2,000 titles learned their classes worse than a fresh one (docs/log.md).
PRETRAINING = Lesson(32, 5e-4, max_passes=20, max_steps=20_000, hidden=0.2)
SCRATCH = Lesson(
    32,
    1e-3,
    max_passes=30,
    max_steps=20_000,
    smoothing=0.1,
    hidden=0.1,
    weight_decay=0.1,
    min_steps=20,
)
TUNING = Lesson(
    16,
    1e-4,
    max_passes=8,
    max_steps=20_000,
    smoothing=0.1,
    layer_decay=0.9,
    head_first=True,
    min_steps=20,
)


@dataclass(frozen=True)
class LessonSteps:
    """What was chosen by measuring, and decides every bit of the result beside plan and texts."""

    num_steps: int
    precision: str
    num_threads: int


@dataclass(frozen=True)
class EncoderPlan:
    """Everything that a training depends on, beside its texts.

    seconds: of the whole training. base: a folder with an encoder of ours and its tokenizer, to be
    tuned. steps: of each lesson, as `stated_steps` of an earlier training says; none to measure.
    num_layers, width, vocab_size: of an encoder from scratch. window_tokens: how many
    tokens are read at a time. pretraining_share: of the time, for hidden tokens.
    """

    seconds: float = 90.0
    seed: int = 0
    base: Path | None = None
    steps: tuple[LessonSteps, ...] = ()
    num_layers: int = 2
    width: int = 192
    vocab_size: int = 6000
    window_tokens: int = 128
    dropout: float = 0.1
    pretraining_share: float = 0.35
    pretraining: Lesson = PRETRAINING
    scratch: Lesson = SCRATCH
    tuning: Lesson = TUNING


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
    steps = (
        plan.steps[number]
        if number < len(plan.steps)
        else measured_steps(model, source, num_batches, lesson, objective, plan.seconds)
    )
    torch.set_num_threads(steps.num_threads)
    choices = Choices(steps.precision, False, lesson.batch_rows, steps.num_threads)
    training = TrainPlan(
        steps.num_steps,
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
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        losses = train(
            model, source, training, choices, Path(folder), watch=watch, objective=objective
        )
    return {
        "lesson": what,
        "steps": asdict(steps),
        "passes": round(steps.num_steps / num_batches, 3),
        "seconds": round(time.monotonic() - began_at, 2),
        "first_loss": losses[0]["loss"],
        "last_loss": losses[-1]["loss"],
        "plan": training.to_json(),
        "seed": plan.seed,
    }


def _watch(what: str, progress: Progress) -> Callable[[StepReport], None]:
    return lambda report: progress(what, report.step, report.num_steps)


def measured_steps(
    model: nn.Module,
    source: BatchSource,
    num_batches: int,
    lesson: Lesson,
    objective: Objective,
    seconds: float,
) -> LessonSteps:
    """As many steps as the seconds allow, in the fastest precision and number of threads.

    Copies of the model are timed, on batches from all over a pass, none of them for long. Raises
    TrainingError where there is no time for the lesson's fewest steps.
    """
    began_at = time.monotonic()
    limit_s = TIMING_SHARE * seconds
    places = np.linspace(0, num_batches - 1, NUM_TIMED_STEPS).astype(int)
    batches = [source.batch(int(place)) for place in places]
    precisions = ("float32", "bfloat16") if has_fast_bfloat16() else ("float32",)
    times = {}
    torch.set_num_threads(1)
    for precision in precisions:
        times[precision, 1] = _step_s(model, batches, lesson, precision, objective, limit_s)
    precision = min(times, key=times.__getitem__)[0]
    if num_cores() > 1:  # several threads wait for each other, for long where cores are shared
        torch.set_num_threads(num_cores())
        shared_s = _step_s(model, batches, lesson, precision, objective, limit_s)
        times[precision, num_cores()] = shared_s
    best = min(times, key=times.__getitem__)
    left_s = seconds - (time.monotonic() - began_at)
    most = min(lesson.max_passes * num_batches, lesson.max_steps)
    num_steps = max(1, int(min(left_s / times[best], most)))
    if num_steps < min(lesson.min_steps, most):
        raise TrainingError(
            f"{left_s:.0f} s for a training whose steps take {times[best]:.1f} s",
            f"time for {lesson.min_steps} steps",
            "give it more time, or shorter texts",
        )
    return LessonSteps(num_steps, *best)


def _step_s(
    model: nn.Module,
    batches: Sequence[Batch],
    lesson: Lesson,
    precision: str,
    objective: Objective,
    limit_s: float,
) -> float:
    """The mean time of a step on these batches, each taken twice: the shorter time counts.

    Ends after the batch with which the limit is passed.
    """
    trial = copy.deepcopy(model).train()
    optimizer = build_optimizer(trial, lesson.optimizer, 0.0, 0.0)
    shortest: list[float] = []
    began_at = time.monotonic()
    for batch in batches:
        times = (_seconds(trial, optimizer, batch, lesson, precision, objective) for _ in range(2))
        shortest.append(min(times))
        if time.monotonic() - began_at > limit_s:
            break
    return sum(shortest) / len(shortest)


def _seconds(
    model: nn.Module,
    optimizer: Optimizer,
    batch: Batch,
    lesson: Lesson,
    precision: str,
    objective: Objective,
) -> float:
    choices = Choices(precision, False, lesson.batch_rows, torch.get_num_threads())
    started_at = time.perf_counter()
    result = train_step(model, optimizer, batch, choices, 1.0, objective)
    if not result.updated:
        raise TrainingError("a loss that is not a number", "a number", "look at the texts")
    return time.perf_counter() - started_at


def stated_steps(folder: Path) -> tuple[LessonSteps, ...]:
    """The steps that a training stored in its folder, for a plan that repeats it.

    Raises InputError or FormatError if it holds no such file.
    """
    value = read_json_object(folder / TRAINING_FILE)
    try:
        return tuple(LessonSteps(**one["steps"]) for one in value["lessons"])
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"{folder / TRAINING_FILE} without steps ({error})",
            "those of a training",
            "train again",
        ) from error
