"""One turn of the wheel: corrections in; challenger, control, verdict, perhaps promotion out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from noria.artifacts import Artifact, value_digest
from noria.errors import NoriaError
from noria.evaluate.harness import data_digest
from noria.evaluate.metrics import Likelihoods
from noria.evaluate.scores import write_scores
from noria.evaluate.slices import slices_of
from noria.feedback.interactions import Feedback, Interaction
from noria.improve.challenger import Start, require_feedback, train_from_champion
from noria.improve.curate import Curated, curate
from noria.improve.evidence import decide_and_keep
from noria.improve.heard import NOTHING, Heard, heard_of
from noria.improve.verdict import (
    PROMOTE,
    REFUSE,
    Verdict,
    verdict_from_json,
    verdict_lines,
    verdict_to_json,
)
from noria.model.cost import training_flops
from noria.model.weights import read_config
from noria.recipe import RELEASING, TENANT
from noria.records import Record, write_records
from noria.stages.curation import text_reference
from noria.stages.measuring import (
    GapFacts,
    gap_facts,
    general_records,
    likelihoods_of,
    max_records,
    sampled,
    score_of,
    split_records,
)
from noria.stages.promotion import go_live, register_as
from noria.stages.reading import clean_documents
from noria.stages.stage import Facts, plain, run_stage
from noria.stages.watching import watched
from noria.train.choices import choices_from_lock
from noria.train.plan import Choices
from noria.workspace import Workspace

FROZEN_SETS = ("corpus", "frozen", "general")  # a regression on a slice of them refuses


@dataclass(frozen=True)
class Turn:
    """What one turn made."""

    champion: Artifact
    challenger: Artifact
    control: Artifact
    judged: Artifact
    curated: Curated
    verdict: Verdict


def find_ancestor(workspace: Workspace, artifact: Artifact, stage: str) -> Artifact | None:
    """The artifact of a stage that this one was made from, if there is one."""
    lineage = workspace.store.lineage(artifact.key)
    return next((one for one in lineage if one.manifest.stage == stage), None)


def ancestor(workspace: Workspace, artifact: Artifact, stage: str) -> Artifact:
    """The artifact of a stage that this one was made from. Raises NoriaError if there is none."""
    found = find_ancestor(workspace, artifact, stage)
    if found is not None:
        return found
    raise NoriaError(
        f"{artifact.path.name} has no '{stage}' behind it",
        "the artifacts that it was made from",
        "run: noria run",
    )


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


def _judge(
    workspace: Workspace,
    champion: Artifact,
    challenger: Artifact,
    control: Artifact,
    curated: Curated,
    unread: Sequence[Record],
) -> Artifact:
    """Measure all three on the frozen set and the held-out feedback, and decide."""
    recipe = workspace.recipe
    corpus = ancestor(workspace, champion, "corpus")
    at_most = max_records(recipe)
    held_out = sampled(split_records(corpus, "held_out", champion), at_most)
    frozen, frozen_digest = clean_documents(workspace, recipe.gate.frozen)
    general, general_digest = general_records(workspace)
    set_digest = value_digest(
        [data_digest(held_out), frozen_digest, *([general_digest] if general else [])]
    )

    sets: dict[str, Sequence[Record]] = {"corpus": held_out, "feedback": curated.held_out}
    if frozen:
        sets["frozen"] = sampled(frozen, at_most)
    if general:
        sets["general"] = general
    models = {"champion": champion, "challenger": challenger, "control": control}

    def make(folder: Path) -> Facts:
        measured = _measure_all(workspace, models, sets, folder)
        reads_before = workspace.registry.gate_reads(set_digest)
        verdict = decide_and_keep(
            folder,
            settings=replace(recipe.gate, require=recipe.gate.of_text),
            champion=measured["champion"],
            challenger=measured["challenger"],
            control=measured["control"],
            reads_before=reads_before,
            seed=recipe.seed,
            slices={
                f"{name}.bits_per_byte": slices_of(sets[name])
                for name in FROZEN_SETS
                if name in sets
            },
        )
        text = json.dumps(verdict_to_json(verdict), indent=1, ensure_ascii=False)
        (folder / "verdict.json").write_text(text, encoding="utf-8")
        write_records(folder / "feedback_held_out.jsonl", curated.held_out)
        gained = {
            name: gap_facts(measured["challenger"][name], measured["control"][name], recipe.seed)
            for name in sets
        }
        return {
            "weight_hashes": {role: one.facts["weight_hash"] for role, one in models.items()},
            "contributions": gained,
            "promote": verdict.promote,
            "decision": verdict.decision,
            "reasons": list(verdict.reasons),
            "set_digest": set_digest,
            "reads_before": reads_before,
            "afterwards": afterwards(workspace, champion, challenger, unread),
        }

    return run_stage(
        workspace,
        "gate",
        make,
        settings={
            "frozen": list(recipe.gate.frozen),
            "require": list(recipe.gate.of_text),
            "margin": recipe.gate.margin,
            "seed": recipe.seed,
        },
        inputs={
            "champion": champion.key,
            "challenger": challenger.key,
            "control": control.key,
            "feedback": curated.digest,
            "frozen": frozen_digest,
            **({"general": general_digest} if general else {}),
        },
        result=lambda facts: f"{_decision(facts)}: {'; '.join(facts['reasons'])}",
    )


def _decision(facts: Facts) -> str:
    """The word for a verdict; older facts say only yes or no."""
    return str(facts.get("decision", PROMOTE if facts["promote"] else REFUSE))


def _measure_all(
    workspace: Workspace,
    models: Mapping[str, Artifact],
    sets: Mapping[str, Sequence[Record]],
    folder: Path,
) -> dict[str, dict[str, Likelihoods]]:
    """Every model on every set; the scores are stored with the weights they were measured on."""
    measured: dict[str, dict[str, Likelihoods]] = {}
    scores = []
    for role, artifact in models.items():
        measured[role] = {}
        for name, records in sets.items():
            found = likelihoods_of(workspace, artifact, records, f"{role} on {name}")
            measured[role][name] = found
            metric, weights = f"{name}.bits_per_byte", artifact.facts["weight_hash"]
            seed, lock = workspace.recipe.seed, artifact.manifest.lock
            scores.append(score_of(metric, found, weights, records, seed, lock))
    write_scores(folder / "scores.json", scores)
    return measured


def afterwards(
    workspace: Workspace, champion: Artifact, challenger: Artifact, unread: Sequence[Record]
) -> dict[str, GapFacts]:
    """Challenger minus champion on text that no gate reads: was the gate right?"""
    corpus = ancestor(workspace, champion, "corpus")
    sets: dict[str, Sequence[Record]] = {
        "corpus": sampled(split_records(corpus, "test", champion), max_records(workspace.recipe))
    }
    if unread:
        sets["feedback"] = unread
    found = {}
    for name, records in sets.items():
        ours = likelihoods_of(workspace, challenger, records, f"challenger on test {name}")
        theirs = likelihoods_of(workspace, champion, records, f"champion on test {name}")
        found[name] = gap_facts(ours, theirs, workspace.recipe.seed)
    return found


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
    asked = workspace.feedback.interactions(TENANT)
    curated = curate(
        said,
        share,
        reference=text_reference(workspace, champion),
        reviews=workspace.reviews.latest(TENANT),
        interactions=asked,
    )
    require_feedback(len(curated.train), len(curated.held_out))
    heard = heard_of(curated, asked, share)
    challenger = _train_one(workspace, "challenger", champion, heard, curated.digest)
    control = _train_one(workspace, "control", champion, NOTHING, "")
    judged = _judge(workspace, champion, challenger, control, curated, unread)
    text = (judged.path / "verdict.json").read_text(encoding="utf-8")
    verdict = verdict_from_json(json.loads(text))
    for line in verdict_lines(verdict)[1:]:  # the first is the stage's own line
        workspace.watcher.say(line.strip())
    name = workspace.recipe.name
    for artifact, origin in ((challenger, "challenger"), (control, "control")):
        register(workspace, artifact, origin, champion.facts["weight_hash"])
    workspace.registry.record_gate(
        TENANT,
        name,
        challenger.facts["weight_hash"],
        judged.key,
        judged.facts["set_digest"],
        verdict_to_json(verdict),
    )
    return Turn(champion, challenger, control, judged, curated, verdict)


def register(workspace: Workspace, artifact: Artifact, origin: str, parent: str = "") -> None:
    """Make a model folder known to the registry, once."""
    register_as(workspace, workspace.recipe.name, artifact, origin, parent)


def promote_if_earned(workspace: Workspace, turn: Turn, actor: str) -> bool:
    """Make the challenger live if the gate says so and it never was; True if it is live now."""
    earned = turn.verdict.promote
    name = workspace.recipe.name
    return earned and go_live(workspace, name, turn.challenger, turn.judged, actor)
