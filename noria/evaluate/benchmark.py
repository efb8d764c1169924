"""Tasks of lm-evaluation-harness on a model: its values, with our intervals.

In: a task's YAML file, whose data lie beside it, and a model behind the harness's interface. Out:
values, each with a 95% interval found from what the harness says of every example. Needs the extra
`harness`. It makes no request: a task whose data are elsewhere is refused by the data's reader.

A task's YAML may name Python functions, which are run: it is code, to be trusted like code.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noria.artifacts import value_digest
from noria.errors import InputError, MissingExtra
from noria.evaluate.harness import Progress
from noria.evaluate.intervals import NUM_RESAMPLES, measure
from noria.evaluate.metrics import Floats, Interval, student_quantile
from noria.evaluate.sums import Metric, Sums, ratio, sparse_sums
from noria.generate.loaded import LanguageModel
from noria.runtime import keep_hugging_face_offline

_SAME = 1e-9  # relative: the harness sums in another order


@dataclass(frozen=True, eq=False)
class Task:
    """A task that is ready to run: its name, its examples' digest, and the harness's own object."""

    name: str
    data_digest: str
    harness_task: Any


@dataclass(frozen=True)
class Measured:
    """One metric of a task: the harness's value, our interval, and how that was found."""

    metric: str
    value: Interval
    num_examples: int
    interval: str


def load_task(path: Path) -> Task:
    """Read a task's YAML file and its data; names of files in it are relative to it.

    Raises MissingExtra without the harness, InputError if it can't be read.
    """
    keep_hugging_face_offline()
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingExtra("lm-evaluation-harness (lm-eval)", "harness") from error
    path = path.resolve()
    try:
        with contextlib.chdir(path.parent):
            tasks = TaskManager(include_defaults=False).load([path.name])["tasks"]
        ((name, task),) = tasks.items()
        documents = list(task.eval_docs)
    except Exception as error:  # the harness and its data's reader raise what they like
        told = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} can't be read as one task of lm-evaluation-harness ({told})",
            "a YAML file with `task`, and its data beside it",
            "there is no network here: dataset_path: json, and data_files by name",
        ) from error
    return Task(name, value_digest(documents), task)


def run_task(
    task: Task,
    model: LanguageModel | Any,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Measured]:
    """Run a task on a loaded model, or on any model of the harness (such as a server's).

    limit: only so many examples. Raises MissingExtra without scipy.
    """
    from lm_eval.evaluator import evaluate  # simple_evaluate asks pip and git for ten seconds more

    from noria.evaluate.benchmark_model import BenchmarkModel

    asked = BenchmarkModel(model, progress) if isinstance(model, LanguageModel) else model
    if task.harness_task.get_config("num_fewshot") is None:
        task.harness_task.set_config(key="num_fewshot", value=0)
    task.harness_task.set_fewshot_seed(seed=seed)
    tasks = {"tasks": {task.name: task.harness_task}}
    found = evaluate(lm=asked, task_dict=tasks, limit=limit, bootstrap_iters=0)
    values, samples = found["results"][task.name], found["samples"][task.name]
    measured = []
    for key, value in values.items():
        metric, _, kept_by = key.partition(",")
        if not kept_by or metric.endswith("_stderr") or not isinstance(value, float | int):
            continue
        rows = [row for row in samples if row["filter"] == kept_by]
        each = [row[metric] for row in rows if metric in row]
        error = values.get(f"{metric}_stderr,{kept_by}")
        interval, how = _interval(float(value), each, error, seed)
        name = metric if kept_by == "none" else f"{metric}, {kept_by}"
        measured.append(Measured(name, interval, len(rows), how))
    return measured


def _interval(value: float, each: Sequence[Any], error: Any, seed: int) -> tuple[Interval, str]:
    """The interval of a value, from its examples if the value can be found from them.

    What the harness made of them is not asked: of all readings that which gives its value is taken.
    """
    for metric, rows, after in _readings(each):
        entries = [(np.arange(len(rows)), np.full(len(rows), c), rows[:, c]) for c in (0, 1)]
        sums = Sums(sparse_sums(len(rows), 2, entries), {"value": metric})
        if math.isclose(after(sums.value("value")), value, rel_tol=_SAME, abs_tol=_SAME):
            found = measure([sums], seed=seed)["value"]
            interval = Interval(value, after(found.low), after(found.high))
            how = f"bootstrap of {NUM_RESAMPLES} resamples, or Student's t where that is wider"
            return interval, "Clopper–Pearson" if metric.share else how
    if isinstance(error, float) and math.isfinite(error) and len(each) > 1:
        reach = student_quantile(0.975, len(each) - 1) * error
        return Interval(value, value - reach, value + reach), "the harness's standard error"
    return Interval(value, -math.inf, math.inf), "none"


def _readings(each: Sequence[Any]) -> list[tuple[Metric, Floats, Callable[[float], float]]]:
    """What may have become of the examples: a metric, rows of what they add, what is done after.

    What is done after keeps the order: ends of an interval go through it as the value does.
    """
    if not each:
        return []
    if all(isinstance(one, bool | int | float) for one in each):
        rows = np.array([(float(one), 1.0) for one in each])
        if set(rows[:, 0]) <= {0.0, 1.0}:
            return [(Metric(_mean, share=(0, 1)), rows, float)]
        anything = Metric(_mean, -math.inf, math.inf)
        return [(anything, rows, float), (anything, rows * (-1.0, 1.0), _exp)]
    if all(isinstance(one, list | tuple) and len(one) == 2 for one in each):
        rows = np.array(each, dtype=np.float64) * (-1.0, 1.0)  # nats, and bytes or words
        nats = Metric(_mean, 0.0, math.inf)
        return [(nats, rows, lambda value: value / math.log(2)), (nats, rows, _exp)]
    return []


def _mean(sums: Floats) -> Floats:
    return ratio(sums[0], sums[1])


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
