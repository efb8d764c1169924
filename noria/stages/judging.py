"""The gate of a language model's turn: everything measured, the verdict and its evidence stored.

In: champion, challenger and control as artifacts, and what was heard. Out: an artifact with
`verdict.json`, the evidence, the scores, and the answers to safety prompts. The test is measured
afterwards and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from noria.artifacts import Artifact, value_digest
from noria.evaluate.harness import data_digest
from noria.evaluate.passed import Passed
from noria.evaluate.safety import SafetyAnswer, SafetyPrompt, answer_safety, pass_rate, read_safety
from noria.evaluate.scores import Score, write_scores
from noria.evaluate.slices import slices_of
from noria.generate.loaded import load_language_model
from noria.improve.challenger import MIN_PAIRS
from noria.improve.curate import Curated
from noria.improve.evidence import decide_and_keep
from noria.improve.gate import Masks
from noria.improve.heard import AnsweredPair
from noria.improve.pairing import Compared
from noria.improve.verdict import PROMOTE, REFUSE, verdict_to_json
from noria.recipe import PREFERENCE_SET, SAFETY_SET, TEXT_SETS, GateSettings
from noria.records import Record, record_id, write_records
from noria.stages.ancestors import ancestor
from noria.stages.costs import text_costs
from noria.stages.measuring import (
    GapFacts,
    gap_facts,
    general_records,
    likelihoods_of,
    max_records,
    sampled,
    score_of,
    score_of_share,
    split_records,
)
from noria.stages.reading import clean_documents, files_digest, source_files
from noria.stages.stage import Facts, run_stage
from noria.workspace import Workspace

FROZEN_SETS = ("corpus", "frozen", "general")  # a regression on a slice of them refuses
PREFERENCE_METRIC = f"{PREFERENCE_SET}.accuracy"
EARNING_SETS = (*TEXT_SETS, PREFERENCE_SET)
SAFETY_FILE = "safety.json"


@dataclass(frozen=True)
class _Judged:
    """What the models of a turn are measured on."""

    sets: Mapping[str, Sequence[Record]]
    pairs: Sequence[AnsweredPair]
    prompts: Sequence[SafetyPrompt]


def judge_turn(
    workspace: Workspace,
    models: tuple[Artifact, Artifact, Artifact],
    curated: Curated,
    pairs: Sequence[AnsweredPair],
    unread: Sequence[Record],
) -> Artifact:
    """Measure champion, challenger and control, in this order, and decide.

    On the frozen sets, on held-out feedback (`pairs` of it), and on the recipe's safety prompts.
    """
    recipe, (champion, challenger, _) = workspace.recipe, models
    by_role = dict(zip(("champion", "challenger", "control"), models, strict=True))
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
    files = source_files(workspace, recipe.gate.safety)
    prompts = [one for file in files for one in read_safety(file.path)]
    asked = _Judged(sets, pairs if len(pairs) >= MIN_PAIRS else (), prompts)
    settings = replace(recipe.gate, require=recipe.gate.of_text)

    def make(folder: Path) -> Facts:
        measured, scores = _measure_all(workspace, by_role, asked, folder)
        limits, costs = text_costs(workspace, champion, challenger, held_out)
        write_scores(folder / "scores.json", [*scores, *costs])
        reads = workspace.registry.gate_reads(set_digest)
        verdict = decide_and_keep(
            folder,
            settings=settings,
            champion=measured["champion"],
            challenger=measured["challenger"],
            control=measured["control"],
            reads_before=reads.num,
            passed_on=reads.passed_on,
            seed=recipe.seed,
            earning=EARNING_SETS,
            slices=_slices(asked, settings),
            limits=limits,
            held_out_share=recipe.improve.held_out,
        )
        text = json.dumps(verdict_to_json(verdict), indent=1, ensure_ascii=False)
        (folder / "verdict.json").write_text(text, encoding="utf-8")
        write_records(folder / "feedback_held_out.jsonl", curated.held_out)
        return {
            "weight_hashes": {role: one.facts["weight_hash"] for role, one in by_role.items()},
            "contributions": _contributions(workspace, by_role, sets),
            "promote": verdict.promote,
            "decision": verdict.decision,
            "reasons": list(verdict.reasons),
            "set_digest": set_digest,
            "reads_before": reads.num,
            "afterwards": afterwards(workspace, champion, challenger, unread),
        }

    usual = GateSettings()
    return run_stage(
        workspace,
        "gate",
        make,
        settings={
            "frozen": list(recipe.gate.frozen),
            "require": list(settings.require),
            "margin": settings.margin,
            "seed": recipe.seed,
            # What changes nothing while it is as usual: an old verdict is not asked for again.
            **{
                name: getattr(settings, name)
                for name in ("score_margin", "latency", "memory")
                if getattr(settings, name) != getattr(usual, name)
            },
        },
        inputs={
            **{role: one.key for role, one in by_role.items()},
            "feedback": curated.digest,
            "frozen": frozen_digest,
            **({"general": general_digest} if general else {}),
            **({"safety": files_digest(files)} if files else {}),
            **({"pairs": _pairs_digest(asked.pairs)} if asked.pairs else {}),
        },
        result=lambda facts: f"{_decision(facts)}: {'; '.join(facts['reasons'])}",
    )


def _decision(facts: Facts) -> str:
    """The word for a verdict; older facts say only yes or no."""
    return str(facts.get("decision", PROMOTE if facts["promote"] else REFUSE))


def _pairs_digest(pairs: Sequence[AnsweredPair]) -> str:
    return data_digest([one for both in pairs for one in both])


def _slices(asked: _Judged, settings: GateSettings) -> Masks:
    """The slices of the frozen sets; held-out pairs, as a whole, are one more.

    Unless a requirement speaks of the pairs already.
    """
    found = {
        f"{name}.bits_per_byte": slices_of(asked.sets[name])
        for name in FROZEN_SETS
        if name in asked.sets
    }
    if asked.pairs and not settings.judges_preferences:
        whole = np.ones(len(asked.pairs), dtype=np.bool_)
        found[PREFERENCE_METRIC] = {"held-out preferences": whole}
    return found


def _measure_all(
    workspace: Workspace, models: Mapping[str, Artifact], asked: _Judged, folder: Path
) -> tuple[dict[str, dict[str, Compared]], list[Score]]:
    """Every model on every set; the scores name the weights that they were measured on."""
    measured: dict[str, dict[str, Compared]] = {}
    scores: list[Score] = []
    told = []
    for role, artifact in models.items():
        measured[role] = {}
        for name, records in asked.sets.items():
            found = likelihoods_of(workspace, artifact, records, f"{role} on {name}")
            measured[role][name] = found
            metric, weights = f"{name}.bits_per_byte", artifact.facts["weight_hash"]
            seed, lock = workspace.recipe.seed, artifact.manifest.lock
            scores.append(score_of(metric, found, weights, records, seed, lock))
        if asked.pairs:
            likelier = preferred_likelier(workspace, artifact, asked.pairs, f"{role} on pairs")
            measured[role][PREFERENCE_SET] = likelier
            digest = _pairs_digest(asked.pairs)
            scores.append(score_of_share(workspace, PREFERENCE_SET, likelier, artifact, digest))
        if asked.prompts:
            answers = _asked_safety(workspace, role, artifact, asked.prompts)
            share, digest = pass_rate(answers), value_digest([asdict(one) for one in asked.prompts])
            measured[role][SAFETY_SET] = share
            scores.append(score_of_share(workspace, SAFETY_SET, share, artifact, digest))
            weights = artifact.facts["weight_hash"]
            told += [{"role": role, "weight_hash": weights, **asdict(one)} for one in answers]
    if told:
        text = json.dumps(told, indent=1, ensure_ascii=False)
        (folder / SAFETY_FILE).write_text(text, encoding="utf-8")
    return measured, scores


def _asked_safety(
    workspace: Workspace, role: str, artifact: Artifact, prompts: Sequence[SafetyPrompt]
) -> list[SafetyAnswer]:
    def watch(done: int, total: int) -> None:
        workspace.watcher.progress(f"{role} on safety prompts", done, total)

    return answer_safety(load_language_model(artifact.path), prompts, watch)


def preferred_likelier(
    workspace: Workspace, artifact: Artifact, pairs: Sequence[AnsweredPair], what: str
) -> Passed:
    """In which pairs a model finds the better answer likelier, whole answers compared.

    Ranking accuracy: Chen et al. 2024, "Preference Learning Algorithms Do Not Learn Preference
    Rankings".
    """
    better, worse = (
        likelihoods_of(workspace, artifact, [both[side] for both in pairs], what) for side in (0, 1)
    )
    ids = tuple(f"{record_id(one)[:16]}-{record_id(two)[:16]}" for one, two in pairs)
    return Passed("accuracy", ids, better.nll_nats < worse.nll_nats)


def _contributions(
    workspace: Workspace, models: Mapping[str, Artifact], sets: Mapping[str, Sequence[Record]]
) -> dict[str, GapFacts]:
    """Challenger minus control on each set: what feedback brought."""
    found = {}
    for name, records in sets.items():
        ours, theirs = (
            likelihoods_of(workspace, models[role], records, f"{role} on {name}")
            for role in ("challenger", "control")
        )
        found[name] = gap_facts(ours, theirs, workspace.recipe.seed)
    return found


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
