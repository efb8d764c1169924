"""One turn of the wheel: corrections in; challenger, control, verdict, perhaps promotion out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from noria.artifacts import Artifact, value_digest
from noria.feedback.interactions import Feedback, Interaction
from noria.improve.challenger import Start, require_feedback, require_pairs, train_from_champion
from noria.improve.curate import curate
from noria.improve.heard import NOTHING, Heard, heard_of, held_out_pairs
from noria.improve.verdict import verdict_lines
from noria.model.cost import training_flops
from noria.model.weights import read_config
from noria.recipe import RELEASING
from noria.records import Record
from noria.stages.ancestors import ancestor, find_ancestor
from noria.stages.curation import text_reference
from noria.stages.decisions import keep_decisions
from noria.stages.judging import judge_turn
from noria.stages.promotion import go_live
from noria.stages.stage import Facts, plain, run_stage
from noria.stages.turned import Turn, conclude
from noria.stages.watching import watched
from noria.train.choices import choices_from_lock
from noria.train.plan import Choices
from noria.workspace import Workspace

FROZEN_SETS = ("corpus", "frozen", "general")  # a regression on a slice of them refuses


def turn_choices(workspace: Workspace, champion: Artifact) -> Choices:
    """The base model's measured choices; a short training is over before compiling pays."""
    base = ancestor(workspace, champion, "train")
    return replace(choices_from_lock(base.manifest.lock), compile=False)


def _train_one(
    workspace: Workspace, stage: str, champion: Artifact, heard: Heard, digest: str
) -> Artifact:
    recipe = workspace.recipe
    start = _start(workspace, champion)
    choices = turn_choices(workspace, champion)
    torch.set_num_threads(choices.num_threads)
    settings = {
        **plain(recipe.improve, RELEASING),
        "batch_tokens": start.batch_tokens,
        "general_share": start.general_share,
        "seed": recipe.seed,
    }

    def make(folder: Path) -> Facts:
        named = [stage, settings, digest, champion.key, *([heard.digest] if heard.digest else [])]
        name = value_digest(named)[:16]
        checkpoints = workspace.root / "checkpoints" / name
        config, _ = read_config(champion.path)
        tuned = start.base is not None
        length = start.context_tokens
        flops = training_flops(config, length, frozen=tuned) / length
        with watched(workspace, stage, name, settings, choices, flops) as watch:
            facts = train_from_champion(
                start,
                heard,
                recipe.improve,
                choices,
                recipe.seed,
                checkpoints,
                folder,
                watch,
            )
        shutil.rmtree(checkpoints, ignore_errors=True)
        return facts

    inputs = {"champion": champion.key}
    if heard is not NOTHING:
        inputs["feedback"] = digest
    if heard.digest:
        inputs["judged"] = heard.digest
    kind = "with feedback" if heard is not NOTHING else "same steps, no feedback"
    return run_stage(
        workspace,
        stage,
        make,
        settings=settings,
        inputs=inputs,
        result=lambda facts: (
            f"{recipe.improve.steps} steps from {champion.facts['weight_hash'][:12]}, {kind}: "
            f"weights {facts['weight_hash'][:12]}"
        ),
    )


def _start(workspace: Workspace, champion: Artifact) -> Start:
    """What a turn from this champion trains from."""
    recipe = workspace.recipe
    shards = ancestor(workspace, champion, "tokens").path
    extended = find_ancestor(workspace, champion, "extend")  # a base with new tokens, if any
    base = extended or find_ancestor(workspace, champion, "base")
    config, _ = read_config(champion.path)
    replayed = base is not None and (shards / "replay").is_dir()
    return Start(
        champion=champion.path,
        base=base.path if base is not None else None,
        base_name=base.facts["name"] if base is not None else "",
        base_precision=recipe.adapter.base_precision,
        corpus=shards / "train",
        general=shards / "replay" if replayed else None,
        general_share=recipe.adapter.replay_share if replayed else 0.0,
        context_tokens=(
            config.context_tokens
            if base is None
            else min(recipe.model.context_tokens, config.context_tokens)
        ),
        batch_tokens=recipe.train.batch_tokens,
    )


def take_turn(
    workspace: Workspace,
    champion: Artifact,
    said: Sequence[tuple[Interaction, Feedback]],
    unread: Sequence[Record] = (),
) -> Turn:
    """Curate, train challenger and control, judge; the registry learns of the verdict.

    Raises TrainingError if there is too little feedback.
    """
    share = workspace.recipe.improve.held_out
    asked = workspace.interactions()
    curated = curate(
        said,
        share,
        reference=text_reference(workspace, champion),
        reviews=workspace.latest_reviews(),
        interactions=asked,
    )
    require_feedback(len(curated.train), len(curated.held_out))
    keep_decisions(workspace, champion, curated)
    heard = heard_of(curated, asked, share)
    pairs = held_out_pairs(curated, asked, share)
    if workspace.recipe.gate.judges_preferences:
        require_pairs(len(pairs))
    challenger = _train_one(workspace, "challenger", champion, heard, curated.digest)
    control = _train_one(workspace, "control", champion, NOTHING, "")
    models = (champion, challenger, control)
    judged = judge_turn(workspace, models, curated, pairs, unread)
    turn = conclude(workspace, workspace.recipe.name, models, judged, curated)
    for line in verdict_lines(turn.verdict)[1:]:  # the first is the stage's own line
        workspace.watcher.say(line.strip())
    return turn


def promote_if_earned(workspace: Workspace, turn: Turn, actor: str) -> bool:
    """Make the challenger live if the gate says so and it never was; True if it is live now."""
    earned = turn.verdict.promote
    return earned and go_live(workspace, turn.name, turn.challenger, turn.judged, actor)
