"""The loop, every stage in order.

raw text ─► corpus ─► tokenizer ─► tokens ─► train ─► evaluate ─► compress ─► export
                                                                               │
report ◄─ swap ◄─ promote ◄─ gate ◄─ challenger, control ◄─ feedback ◄─ serve ◄┘
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from noria.artifacts import Artifact
from noria.feedback.interactions import Feedback, Interaction
from noria.recipe import TENANT
from noria.records import read_records
from noria.stages.converse import Conversation, LocalServer, simulate_users, watch_swap
from noria.stages.measuring import compress_base, evaluate_base, export_model
from noria.stages.page import Made, write_report
from noria.stages.release import release_base
from noria.stages.text import build_corpus, build_shards, build_tokenizer
from noria.stages.training import build_base_model, build_ngram
from noria.stages.turn import promote_if_earned, take_turn
from noria.workspace import Workspace


@dataclass(frozen=True)
class Outcome:
    """What a run ended with."""

    live_weight_hash: str
    gate: str  # "not asked", "refused", "promoted", or "promoted, taken back since"
    report: Path


def run(workspace: Workspace) -> Outcome:
    """Make the recipe true: only what changed since the last run is done again.

    Raises NoriaError of the stage that can't go on; what was finished before it is kept.
    """
    corpus = build_corpus(workspace)
    tokenizer = build_tokenizer(workspace, corpus)
    tokens = build_shards(workspace, corpus, tokenizer)
    ngram = build_ngram(workspace, tokens, tokenizer)
    base, _ = build_base_model(workspace, tokens, tokenizer)
    evaluated = evaluate_base(workspace, corpus, tokenizer, ngram, base)
    compressed = compress_base(workspace, corpus, base)
    exported = export_model(workspace, corpus, base)
    release_base(workspace, base, compressed)
    made = Made(corpus, base, evaluated, compressed, exported)
    if workspace.recipe.feedback.simulate:
        made = _turn_the_wheel(workspace, made)
    report = write_report(workspace, made)
    live = workspace.registry.live(TENANT, workspace.recipe.name)
    assert live is not None  # release_base leaves one
    return Outcome(live.weight_hash, _gate_word(made, live.weight_hash), report)


def _gate_word(made: Made, live_hash: str) -> str:
    if made.turn is None:
        return "not asked"
    if not made.turn.verdict.promote:
        return "refused"
    challenger_hash = made.turn.challenger.facts["weight_hash"]
    return "promoted" if challenger_hash == live_hash else "promoted, taken back since"


def _turn_the_wheel(workspace: Workspace, made: Made) -> Made:
    """Serve, hear simulated users, challenge, judge, promote, and see the server follow."""
    with LocalServer(workspace) as server:
        conversation = simulate_users(workspace, made.base, server)
        turn = take_turn(
            workspace,
            made.base,
            _corrections(workspace, conversation),
            list(read_records(conversation.artifact.path / "test.jsonl")),
        )
        live: Artifact = made.base
        if turn.verdict.promote:
            if not workspace.registry.was_ever_live(
                TENANT, workspace.recipe.name, turn.challenger.facts["weight_hash"]
            ):
                server.start()  # so that the swap is seen by a server that runs
            if promote_if_earned(workspace, turn, "noria run"):
                live = turn.challenger
        swap = watch_swap(workspace, server, conversation, live) if live is not made.base else None
    return replace(made, conversation=conversation, turn=turn, swap=swap)


def _corrections(
    workspace: Workspace, conversation: Conversation
) -> list[tuple[Interaction, Feedback]]:
    """The corrections of this conversation only: a later user's are for `noria improve`."""
    ids = conversation.interaction_ids
    return [c for c in workspace.feedback.corrections(TENANT) if c[0].id in ids]
