"""A training that is ready to begin, and the stage that gives it, out of which a model comes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from noria.artifacts import Artifact, value_digest
from noria.model.cost import num_parameters
from noria.model.transformer import Decoder
from noria.recipe import TrainSettings
from noria.runtime import detect_device, num_local_processes, release_memory
from noria.stages.stage import Facts, run_stage
from noria.stages.watching import Watch, watched
from noria.tokenizer.load import Tokenizer
from noria.tokenizer.pack import open_shard
from noria.train.batch import TokenBatch, full_batch
from noria.train.batches import Mixture
from noria.train.choices import measure_choices
from noria.train.learner import save_learner
from noria.train.loop import train
from noria.train.objectives.losses import next_token
from noria.train.parallel import ALONE, Team
from noria.train.plan import Choices, TrainPlan
from noria.train.preflight import inspect_tokens, raise_fatal, rehearse
from noria.workspace import Workspace

LATER_SETTINGS = ("label_smoothing", "apart")  # than the first training


@dataclass(frozen=True)
class Lesson:
    """What is trained, on what, and how.

    settings and inputs: what decides the result, as the key of its artifact has them.
    context_tokens: length of the longest row. num_tokens: inputs of the whole training.
    flops_per_token: of a training step. tokenizer: the folder whose
    files the model folder gets. base and base_name: of the base under an adapter, if there is one.
    """

    build: Callable[[], Decoder]
    mixture: Mixture
    held_out: TokenBatch
    plan: TrainPlan
    choices: Choices
    label_smoothing: float
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    context_tokens: int
    num_tokens: int
    flops_per_token: float
    tokenizer: Path
    base: Path | None
    base_name: str
    summary: str

    @property
    def digest(self) -> str:
        """What checkpoints of it are known by."""
        named = [dict(self.settings), self.choices.to_json(), *self.inputs.values()]
        return value_digest(named)[:16]


def teach(
    lesson: Lesson,
    checkpoints: Path,
    watch: Watch | None,
    say: Callable[[str], None],
    team: Team = ALONE,
) -> tuple[Decoder, list[dict[str, Any]]]:
    """The trained model and its loss log; goes on from the checkpoints if there are any."""
    torch.set_num_threads(max(1, lesson.choices.num_threads // num_local_processes()))
    model = lesson.build().to(detect_device())
    objective = next_token(lesson.label_smoothing)
    if not checkpoints.is_dir():
        say("rehearsing the longest batch")
        at_once = lesson.choices.micro_batch_sequences * lesson.choices.parts_at_once
        longest = full_batch(at_once, lesson.context_tokens)
        rehearse(model, longest, lesson.held_out, lesson.plan, lesson.choices, objective)
        release_memory()
    losses = train(
        model,
        lesson.mixture,
        lesson.plan,
        lesson.choices,
        checkpoints,
        lesson.held_out,
        watch,
        objective,
        team,
    )
    return model, losses


def give_lesson(
    workspace: Workspace, lesson: Lesson, team: Team, result: Callable[[Facts], str]
) -> Artifact:
    """The stage `train`: every process of the team takes part, the first one talks and writes."""
    workspace.watcher.say(lesson.summary)
    checkpoints = workspace.root / "checkpoints" / lesson.digest

    def say(text: str) -> None:
        workspace.watcher.progress(text, 0, 1)

    def make(folder: Path) -> Facts:
        if not team.is_first:
            teach(lesson, checkpoints, None, say, team)
            return {}
        told = {**lesson.settings, **lesson.choices.to_json()}
        machines = team.size / num_local_processes()
        flops = lesson.flops_per_token / machines
        with watched(workspace, "train", lesson.digest, told, lesson.choices, flops) as watch:
            model, losses = teach(lesson, checkpoints, watch, say, team)
        num_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        facts = {
            "weight_hash": save_learner(
                folder, model, lesson.tokenizer, lesson.base, lesson.base_name
            ),
            "num_parameters": num_parameters(model.config),
            "num_trained_parameters": num_trained,
            "num_tokens": lesson.num_tokens,
            "losses": losses,
        }
        shutil.rmtree(checkpoints, ignore_errors=True)
        return facts

    return run_stage(
        workspace,
        "train",
        make,
        settings=lesson.settings,
        inputs=lesson.inputs,
        lock=lesson.choices.to_json(),
        team=team,
        result=result,
    )


def obtain_choices(
    workspace: Workspace,
    train: TrainSettings,
    shape: list[Any],
    build: Callable[[], Decoder],
    context_tokens: int,
    num_sequences: int,
    num_tokens: int,
    team: Team,
) -> dict[str, Any]:
    """The lock's entry for training a model of this shape, on a model that `build` makes."""
    asked = [train.batch_tokens, train.precision, train.compile, train.optimizer]
    question = f"train-{value_digest([*shape, *asked])[:16]}"

    def measure() -> dict[str, Any]:
        workspace.watcher.say("measuring this machine, once, for the lock")
        model = build().to(detect_device())
        return measure_choices(
            model, train, context_tokens, num_sequences, num_tokens, workspace.watcher.say
        )

    if team.is_first:
        workspace.lock.obtain(question, measure)
    team.wait()
    return workspace.lock.obtain(question, measure)


def train_plan(train: TrainSettings, num_steps: int, learning_rate: float, seed: int) -> TrainPlan:
    """The recipe's way of training, for so many steps; the rate is for a recipe without one."""
    return TrainPlan(
        num_steps=max(1, num_steps),
        learning_rate=train.learning_rate or learning_rate,
        optimizer=train.optimizer,
        warmup=train.warmup,
        final_learning_rate=train.final_learning_rate,
        weight_decay=train.weight_decay,
        clip=train.clip,
        schedule=train.schedule,
        average=train.average,
        patience=train.patience,
        keep_best=train.keep_best,
        recompute=train.recompute,
        spike=train.spike,
        on_spike=train.on_spike,
        shard=train.shard,
        seed=seed,
    )


def inspect_shards(
    workspace: Workspace,
    shards: Artifact,
    tokenizer: Tokenizer,
    context_tokens: int,
    *,
    whole: bool,
) -> None:
    """Say what is wrong with the tokens. Raises TrainingError where training would be senseless."""
    findings = inspect_tokens(
        open_shard(shards.path / "train"),
        open_shard(shards.path / "held_out"),
        tokenizer.stop_ids,
        tokenizer.start_ids,
        context_tokens,
        whole=whole,
    )
    for one in findings:
        workspace.watcher.say(str(one))
    raise_fatal(findings)
