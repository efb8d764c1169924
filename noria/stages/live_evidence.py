"""What is known of versions while they answer: signals of servers, thumbs of people.

In: the registry and the feedback store of a workspace. Out: counts for the rules of canary and
rollback. Order decides what belongs to a window, never a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from noria.artifacts import read_artifact
from noria.errors import NoriaError
from noria.evaluate.distance import mean_distance, text_vector
from noria.feedback.counting import Thumb
from noria.improve.canary import Arm
from noria.improve.limits import Watched
from noria.records import (
    Conversation,
    Document,
    Labelled,
    Pair,
    Preference,
    Record,
    Tagged,
    content_text,
    read_records,
)
from noria.registry import Trial, Version
from noria.registry.signals import Counts
from noria.stages.ancestors import find_ancestor
from noria.workspace import Workspace

Thumbs = Sequence[Thumb]


def thumbs_of(thumbs: Thumbs, name: str, weight_hash: str) -> list[bool]:
    """Whether each thumb on a version's answers points down; the last word of a person counts."""
    votes: dict[tuple[str, str], bool] = {}
    for one in thumbs:
        if (one.model_name, one.weight_hash) == (name, weight_hash):
            key = (one.interaction_id, one.voter)
            votes.pop(key, None)  # the last word comes last
            votes[key] = one.is_down
    return list(votes.values())


def arm_of(counts: Counts, thumbs: Sequence[bool]) -> Arm:
    """Counts and thumbs as the rules take them."""
    return Arm(counts.num_requests, counts.num_errors, len(thumbs), sum(thumbs))


def trial_arms(
    workspace: Workspace, trial: Trial, live: Version, thumbs: Thumbs
) -> tuple[Arm, Arm]:
    """What live and tried version did since the trial began.

    Of thumbs, from the first on an answer of the tried version on: before, there was none.
    """
    tried_hash, name = trial.weight_hash, trial.name
    begins = (i for i, one in enumerate(thumbs) if one.weight_hash == tried_hash)
    since = thumbs[next(begins, len(thumbs)) :]
    side = "shown" if trial.stage == "canary" else "shadow"
    arms = []
    for weight_hash, where in ((live.weight_hash, "shown"), (tried_hash, side)):
        counts = workspace.registry.signals.total(
            trial.tenant, name, weight_hash, where, trial.signals_after
        )
        arms.append(arm_of(counts, thumbs_of(since, name, weight_hash)))
    return arms[0], arms[1]


def watched_of(
    workspace: Workspace, live: Version, signals_after: int, num_requests: int, thumbs: Thumbs
) -> Watched:
    """What a version did in its latest requests since it went live."""
    name = live.name
    counts = workspace.registry.signals.total(
        live.tenant, name, live.weight_hash, after=signals_after, at_most=num_requests
    )
    latest = thumbs_of(thumbs, name, live.weight_hash)[-num_requests:]
    settings = workspace.recipe
    distance = 0.0
    if settings.rollback.distance or settings.improve.after_drift:
        evaluated, num_evaluated = _evaluated(workspace, live)
        distance = mean_distance(counts.inputs, counts.num_inputs, evaluated, num_evaluated)
    return Watched(arm_of(counts, latest), counts.latency_s(0.95), distance)


def _evaluated(workspace: Workspace, live: Version) -> tuple[tuple[float, ...], int]:
    """The sum of the vectors of the held-out records behind a version, and how many they are."""
    artifact = read_artifact(workspace.root / live.artifact_path)
    stage = "corpus"
    if live.name != workspace.recipe.name:
        stage = f"{live.name.removeprefix(workspace.recipe.name + '.')}.data"
    made_from = find_ancestor(workspace, artifact, stage)
    if made_from is None:
        raise NoriaError(
            f"{artifact.path.name} has no '{stage}' behind it",
            "the records that it was evaluated on",
            "run: noria run",
        )
    return _vectors(made_from.path / "held_out.jsonl")


@lru_cache(maxsize=16)
def _vectors(path: Path) -> tuple[tuple[float, ...], int]:
    vectors = [text_vector(text) for one in read_records(path) if (text := asked_text(one))]
    total = np.sum(vectors, axis=0) if vectors else np.zeros(0)
    return tuple(total.tolist()), len(vectors)


def asked_text(record: Record) -> str:
    """What of a record a person would have asked with."""
    match record:
        case Conversation(messages=messages):
            asked = [content_text(one.content) for one in messages if one.role == "user"]
            return asked[-1] if asked else ""
        case Pair(input=text) | Preference(prompt=text):
            return content_text(text)
        case Document(content=text) | Labelled(content=text) | Tagged(content=text):
            return content_text(text)
