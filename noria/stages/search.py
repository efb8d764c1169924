"""Search of training settings: a recipe's ranges in, the settings that do best and a picture out.

Each trial is a training like the recipe's own, judged by its held-out loss and given up early when
others did better at the same point (Optuna's TPE and median pruning: Bergstra et al. 2011; Akiba
et al. 2019). A search that was stopped goes on where it was, the trial under way from its
checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noria.artifacts import Artifact, atomic_write, value_digest
from noria.errors import MissingExtra, TrainingError, UsageError
from noria.evaluate.page import document, element, section, table
from noria.evaluate.picture import Chart, Line, line_chart
from noria.recipe import Recipe, TrainSettings
from noria.runtime import release_memory
from noria.stages.lesson import Lesson, teach
from noria.starter import toml_value
from noria.train.plan import StepReport
from noria.workspace import Workspace

if TYPE_CHECKING:
    import optuna

LOGARITHMIC = ("learning_rate",)
RANGES = ("learning_rate", "weight_decay", "warmup", "label_smoothing", "dropout")
WARM_UP_TRIALS = 4  # that nothing is given up before
MakeLesson = Callable[[Workspace], Lesson]


@dataclass(frozen=True)
class Found:
    """What a search ended with: the best trial's settings and held-out loss (nats), and counts."""

    settings: dict[str, Any]
    held_out_loss: float
    num_trials: int
    num_pruned: int
    importance: dict[str, float]
    page: Path


def search_settings(workspace: Workspace, inputs: Artifact, make_lesson: MakeLesson) -> Found:
    """Run the recipe's trials, those that are left of them; the best settings, and a page.

    inputs: the tokens, whose key a search belongs to. Raises MissingExtra without Optuna,
    UsageError for a recipe that searches for nothing, TrainingError if no trial came through.
    """
    recipe = workspace.recipe
    if not _searched(recipe):
        raise UsageError(
            "a recipe without anything to search for",
            "bounds or choices under [search]",
            "add, for example: [search] learning_rate = [0.0003, 0.01]",
        )
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra("searching for settings", "search") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = value_digest([asdict(recipe.search), asdict(recipe.train), inputs.key])[:16]
    study = optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{workspace.root / 'search.sqlite'}",
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=WARM_UP_TRIALS),
        load_if_exists=True,
    )
    # With the first seed again, a search that goes on would try what it tried before.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials))
    _take_up(study)
    workspace.watcher.begin("search")
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    while (done := len(study.get_trials(deepcopy=False, states=ended))) < recipe.search.trials:
        trial = study.ask()
        settings = suggested(trial, recipe)
        words = ", ".join(f"{key} {_short(value)}" for key, value in settings.items())
        label = f"trial {done + 1} of {recipe.search.trials}"
        with_settings = _workspace_with(workspace, settings)
        try:
            loss = _run_trial(with_settings, make_lesson, trial, label)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            workspace.watcher.say(f"{label}: {words}: given up, others were better by then")
            continue
        except TrainingError as error:
            study.tell(trial, float("inf"))
            workspace.watcher.say(f"{label}: {words}: {error}")
            continue
        study.tell(trial, loss)
        workspace.watcher.say(f"{label}: {words}: held-out loss {loss:.4f}")
    return _conclude(workspace, study)


def suggested(trial: optuna.Trial, recipe: Recipe) -> dict[str, Any]:
    """What this trial tries, within the recipe's bounds."""
    settings: dict[str, Any] = {}
    for name, values in _searched(recipe).items():
        if name in RANGES:
            low, high = values
            settings[name] = trial.suggest_float(name, low, high, log=name in LOGARITHMIC)
        else:
            settings[name] = trial.suggest_categorical(name, values)
    return settings


def _searched(recipe: Recipe) -> dict[str, tuple[Any, ...]]:
    """The settings that have bounds or choices."""
    known = {one.name for one in fields(TrainSettings)} - {"tokens"}
    values = {name: value for name, value in vars(recipe.search).items() if name in known}
    return {name: value for name, value in values.items() if value}


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


def _workspace_with(workspace: Workspace, settings: Mapping[str, Any]) -> Workspace:
    """The workspace as a recipe with these settings would have it, for a trial."""
    recipe = workspace.recipe
    tokens = recipe.search.tokens or recipe.train.tokens
    train = replace(recipe.train, tokens=tokens, keep_best=False, **settings)
    trial = copy(workspace)  # the same store, lock and databases
    trial.recipe = replace(recipe, train=train)
    return trial


def _run_trial(
    workspace: Workspace, make_lesson: MakeLesson, trial: optuna.Trial, label: str
) -> float:
    """The held-out loss after a trial's training. Raises TrialPruned."""
    import optuna

    lesson = make_lesson(workspace)
    checkpoints = workspace.root / "checkpoints" / f"search-{lesson.digest}"

    def watch(report: StepReport) -> None:
        text = f"{label}: loss {report.loss:.3f}  {report.tokens_per_s:,.0f} tokens/s"
        workspace.watcher.progress(text, report.step, report.num_steps)
        if report.held_out_loss is not None and report.step < report.num_steps:
            trial.report(report.held_out_loss, report.step)
            if trial.should_prune():
                raise optuna.TrialPruned

    def say(text: str) -> None:
        workspace.watcher.progress(f"{label}: {text}", 0, 1)

    try:
        _, losses = teach(lesson, checkpoints, watch, say)
    except (optuna.TrialPruned, TrainingError):
        shutil.rmtree(checkpoints, ignore_errors=True)
        raise
    shutil.rmtree(checkpoints, ignore_errors=True)
    release_memory()
    measured = [entry["held_out_loss"] for entry in losses if "held_out_loss" in entry]
    return float(measured[-1])


def _take_up(study: optuna.Study) -> None:
    """Ask again for what a process that was stopped had under way."""
    import optuna

    running = (optuna.trial.TrialState.RUNNING,)
    for left in study.get_trials(deepcopy=False, states=running):
        study.tell(left.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(left.params)


def _conclude(workspace: Workspace, study: optuna.Study) -> Found:
    import optuna

    states = optuna.trial.TrialState
    whole = study.get_trials(deepcopy=False, states=(states.COMPLETE,))
    pruned = study.get_trials(deepcopy=False, states=(states.PRUNED,))
    if not any(trial.value is not None and trial.value < float("inf") for trial in whole):
        raise TrainingError(
            "a search in which no training came through",
            "one at least",
            "narrow the bounds under [search], the learning rate first",
        )
    importance: dict[str, float] = {}
    if len(whole) > 1 and len({trial.value for trial in whole}) > 1:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        importance = optuna.importance.get_param_importances(study, evaluator=evaluator)
    best = study.best_trial
    page = workspace.root / "search.html"
    found = Found(dict(best.params), study.best_value, len(whole), len(pruned), importance, page)
    trials = sorted([*whole, *pruned], key=lambda trial: trial.number)
    atomic_write(page, _page(workspace.recipe.name, found, trials).encode())
    return found


def best_as_toml(found: Found) -> str:
    """The best settings as lines for the recipe's table [train]."""
    lines = [f"{name} = {toml_value(value)}" for name, value in found.settings.items()]
    return "\n".join(["[train]", *lines])


def _page(name: str, found: Found, trials: list[optuna.trial.FrozenTrial]) -> str:
    """What was tried, what it came to, and what mattered."""
    values = [
        (float(number), trial.value)
        for number, trial in enumerate(trials, 1)
        if trial.value is not None and trial.state.name != "PRUNED"
    ]
    finite = [(number, value) for number, value in values if value < float("inf")]
    best: list[tuple[float, float]] = []
    for number, value in finite:
        best.append((number, min(value, best[-1][1] if best else value)))
    chart = Chart(
        "Held-out loss of each trial",
        "trial",
        "nats per token",
        (Line("trials", tuple(finite), dots=True), Line("best so far", tuple(best))),
        "Trials that were given up early have no point.",
    )
    names = list(found.settings)
    rows = [
        [
            str(number),
            *(_short(trial.params.get(key, "–")) for key in names),
            "given up" if trial.state.name == "PRUNED" else f"{trial.value:.4f}",
        ]
        for number, trial in enumerate(trials, 1)
    ]
    bars = [
        [key, element("meter", value=f"{share:.3f}", min="0", max="1"), f"{share:.0%}"]
        for key, share in found.importance.items()
    ]
    return document(
        f"{name}: search",
        element("h1", f"{name}: which settings do best"),
        section(
            "trials",
            "Trials",
            f"{found.num_trials} trainings to the end, {found.num_pruned} given up early. Best "
            f"held-out loss {found.held_out_loss:.4f} nats per token.",
            line_chart(chart),
            element("h3", "Each of them"),
            table("trials", ["#trial", *(f"#{key}" for key in names), "#held-out loss"], rows),
        ),
        section(
            "importance",
            "What mattered",
            "The share of each setting in telling good trials from the rest (PED-ANOVA, Watanabe "
            "et al. 2023).",
            table("importance", ["setting", "", "#share"], bars)
            if bars
            else element("p", "Too few trials to say."),
        ),
        section(
            "best",
            "Into the recipe",
            "The best trial's settings, to be written into the recipe:",
            element("pre", best_as_toml(found)),
        ),
    )
