"""The loop, every stage in order.

raw text ─► corpus ─► tokenizer ─► tokens ─► train ─► evaluate ─► compress ─► export ─► speed
             base ──────┘ (where there is one)                                            │
report ◄─ swap ◄─ promote ◄─ gate ◄─ challenger, control ◄─ feedback ◄─ serve ◄───────────┘

labelled text ─► data ─► ways (classical, from scratch, tuned …) ─► choice ─► test ─► live
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from noria.artifacts import Artifact
from noria.corpus.deidentify import require_names
from noria.errors import UsageError
from noria.feedback.interactions import Feedback, Interaction
from noria.improve.verdict import REFUSE, UNDECIDED
from noria.recipe import TENANT
from noria.records import read_records
from noria.stages.converse import Conversation, LocalServer, simulate_users, watch_swap
from noria.stages.extending import extend_base
from noria.stages.measuring import compress_model, evaluate_trained, export_model
from noria.stages.page import Made, write_report
from noria.stages.release import release_model
from noria.stages.rival import build_ngram
from noria.stages.search import Found, search_settings
from noria.stages.speed import measure_speed
from noria.stages.task_page import write_task_report
from noria.stages.tasks import build_task
from noria.stages.text import build_corpus, build_shards, build_tokenizer
from noria.stages.training import scratch_lesson, train_model
from noria.stages.tuning import build_base, evaluate_tuned, tune_base, tuning_lesson
from noria.stages.turn import promote_if_earned, take_turn
from noria.train.parallel import ALONE, Team
from noria.workspace import Workspace


@dataclass(frozen=True)
class Outcome:
    """What a run ended with.

    live_weight_hash: of the language model, "" if the recipe has none; gate: "not asked",
    "refused", "not enough evidence", "promoted", or "promoted, taken back since"; tasks: what is
    live of each application.
    """

    live_weight_hash: str
    gate: str
    report: Path
    tasks: Mapping[str, str]


def run(workspace: Workspace) -> Outcome:
    """Make the recipe true: only what changed since the last run is done again.

    Raises NoriaError of the stage that can't go on; what was finished before it is kept.
    """
    require_names(workspace.recipe.corpus, personal=workspace.recipe.simulates_users)
    made = _raise_model(workspace) if workspace.recipe.has_text else None
    tasks = [build_task(workspace, name) for name in workspace.recipe.tasks]
    live_of = {one.name: one.live_hash for one in tasks}
    if made is None:
        return Outcome("", "not asked", write_task_report(workspace, tasks), live_of)
    report = write_report(workspace, made, tasks)
    live = workspace.registry.live(TENANT, workspace.recipe.name)
    assert live is not None  # release_model leaves one
    return Outcome(live.weight_hash, _gate_word(workspace, made, live.weight_hash), report, live_of)


def _raise_model(workspace: Workspace) -> Made:
    """The language model: trained, measured, released, and perhaps once around the wheel."""
    corpus = build_corpus(workspace)
    tokenizer, tokens = _prepare(workspace, corpus)
    raise_one = _tune if workspace.recipe.model.base else _train_from_scratch
    model, evaluated = raise_one(workspace, corpus, tokenizer, tokens)
    compressed = compress_model(workspace, corpus, model)
    exported = export_model(workspace, corpus, model)
    release_model(workspace, model, compressed)
    timed = measure_speed(workspace, corpus, model)
    made = Made(corpus, tokens, model, evaluated, compressed, exported, timed)
    return _turn_the_wheel(workspace, made) if workspace.recipe.simulates_users else made


def train(workspace: Workspace, team: Team = ALONE) -> Artifact:
    """Make what training needs, and train with every process of the team; `run` goes on from there.

    The first process prepares the text while the others wait. Raises NoriaError.
    """
    _require_text(workspace)
    if team.is_first:
        tokenizer, tokens = _prepare(workspace, build_corpus(workspace))
    team.wait()
    if not team.is_first:  # all of it is there
        tokenizer, tokens = _prepare(workspace, build_corpus(workspace))
    train_one = tune_base if workspace.recipe.model.base else train_model
    return train_one(workspace, tokens, tokenizer, team)


def search(workspace: Workspace) -> Found:
    """Try the settings that the recipe names under [search]; raises NoriaError."""
    _require_text(workspace)
    tokenizer, tokens = _prepare(workspace, build_corpus(workspace))
    make_lesson = tuning_lesson if workspace.recipe.model.base else scratch_lesson
    return search_settings(workspace, tokens, lambda trial: make_lesson(trial, tokens, tokenizer))


def _require_text(workspace: Workspace) -> None:
    if not workspace.recipe.has_text:
        raise UsageError(
            "a recipe without text for a language model",
            "documents or conversations under [corpus]",
            "its applications are made by: noria run",
        )


def _prepare(workspace: Workspace, corpus: Artifact) -> tuple[Artifact, Artifact]:
    """The tokenizer, or the base that brings one, and the tokens."""
    if workspace.recipe.model.base:
        tokenizer = build_base(workspace)
        if workspace.recipe.tokenizer.extend:
            tokenizer = extend_base(workspace, corpus, tokenizer)
    else:
        tokenizer = build_tokenizer(workspace, corpus)
    return tokenizer, build_shards(workspace, corpus, tokenizer)


def _train_from_scratch(
    workspace: Workspace, corpus: Artifact, tokenizer: Artifact, tokens: Artifact
) -> tuple[Artifact, Artifact]:
    """Random weights; measured beside an n-gram model."""
    ngram = build_ngram(workspace, tokens, tokenizer)
    model = train_model(workspace, tokens, tokenizer)
    return model, evaluate_trained(workspace, corpus, tokenizer, ngram, model)


def _tune(
    workspace: Workspace, corpus: Artifact, base: Artifact, tokens: Artifact
) -> tuple[Artifact, Artifact]:
    """A base model tuned by an adapter; measured before and after."""
    model = tune_base(workspace, tokens, base)
    return model, evaluate_tuned(workspace, corpus, base, model)


def _gate_word(workspace: Workspace, made: Made, live_hash: str) -> str:
    if made.turn is None:
        return "not asked"
    if not made.turn.verdict.promote:
        return "refused" if made.turn.verdict.decision == REFUSE else UNDECIDED
    challenger_hash = made.turn.challenger.facts["weight_hash"]
    if challenger_hash == live_hash:
        return "promoted"
    was_live = workspace.registry.was_ever_live(TENANT, workspace.recipe.name, challenger_hash)
    return "promoted, taken back since" if was_live else "passed, held back"


def _turn_the_wheel(workspace: Workspace, made: Made) -> Made:
    """Serve, hear simulated users, challenge, judge, promote, and see the server follow."""
    with LocalServer(workspace) as server:
        conversation = simulate_users(workspace, made.model, server)
        server.stop()  # both cores and all memory for training
        turn = take_turn(
            workspace,
            made.model,
            _corrections(workspace, conversation),
            list(read_records(conversation.artifact.path / "test.jsonl")),
        )
        live: Artifact = made.model
        if turn.verdict.promote:
            if not workspace.registry.was_ever_live(
                TENANT, workspace.recipe.name, turn.challenger.facts["weight_hash"]
            ):
                server.start()  # so that the swap is seen by a server that runs
            if promote_if_earned(workspace, turn, "noria run"):
                live = turn.challenger
        swap = watch_swap(workspace, server, conversation, live) if live is not made.model else None
    return replace(made, conversation=conversation, turn=turn, swap=swap)


def _corrections(
    workspace: Workspace, conversation: Conversation
) -> list[tuple[Interaction, Feedback]]:
    """The corrections of this conversation only: a later user's are for `noria improve`."""
    ids = conversation.interaction_ids
    return [c for c in workspace.feedback.corrections(TENANT) if c[0].id in ids]
