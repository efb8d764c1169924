"""Everything said of a model, curated as the next turn would: with its data, its answers, reviews.

In: a workspace, and which model (the language model, or an application). Out: what would be taken
and left, the queue of what a person should decide, and which answers are most worth a look.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from noria.artifacts import Artifact, read_artifact
from noria.errors import MissingExtra, UnknownName, UsageError
from noria.feedback.interactions import Feedback, Interaction
from noria.feedback.reviews import LEAVE, TAKE, Review
from noria.improve.curate import Curated, curate
from noria.improve.outliers import Floats, TfidfDistance, answer_loss
from noria.improve.quarantine import Reference
from noria.improve.votes import DISAGREE, QUARANTINED, Decision, Example, Said
from noria.improve.wishes import LabelWishes, NoWish, SpanWishes, TextWishes, Wishes
from noria.improve.worth import Worth, most_worth
from noria.records import Labelled, Record, Tagged, record_from_json, record_texts
from noria.stages.task_names import require_task, task_name
from noria.tasks.tag import TAG, tags_in
from noria.tasks.task_model import TaskModel, load_task_model
from noria.workspace import Workspace

MOST_ORIGINAL = 20_000  # records of the original data that feedback is compared with
EDIT = "edit"


@dataclass(frozen=True)
class Subject:
    """The model that feedback is about: how its answers are read, what they are held against."""

    wishes: Wishes
    reference: Reference


def open_subject(workspace: Workspace, task: str = "", learned: Collection[str] = ()) -> Subject:
    """The live model of an application, or the language model for an empty name.

    learned: ids of interactions that it was trained on. Raises UnknownName if nothing is live.
    """
    recipe = workspace.recipe
    if task:
        require_task(recipe, task)
    name = task_name(recipe, task) if task else recipe.name
    live = workspace.registry.live(workspace.tenant, name)
    if live is None:
        raise UnknownName(
            f"{name!r} has no live model",
            "a trained one",
            f"run: noria run {workspace.recipe_argument}"
            + (f"; or --task, one of: {', '.join(recipe.tasks)}" if recipe.tasks else ""),
        )
    artifact = read_artifact(workspace.root / live.artifact_path)
    if not task:
        return Subject(TextWishes(), text_reference(workspace, artifact, learned))
    model = load_task_model(artifact.path)
    said = model.description
    wishes: LabelWishes | SpanWishes
    if said.kind == TAG.kind:
        wishes = SpanWishes(name, tags_in(said.labels))
    else:
        wishes = LabelWishes(name, said.labels, said.many, recipe.tasks[task].out_of_scope)
    return Subject(wishes, _reference(workspace, artifact, task, model, wishes, learned))


def text_reference(
    workspace: Workspace, model: Artifact, learned: Collection[str] = ()
) -> Reference:
    """What corrections of a language model's texts are compared with: what it was trained on."""
    records = _original(workspace, model, "corpus")
    texts = [(text, "") for one in records for text in record_texts(one)]
    return Reference(texts, learned=learned)


def _reference(
    workspace: Workspace,
    artifact: Artifact,
    task: str,
    model: TaskModel,
    wishes: LabelWishes | SpanWishes,
    learned: Collection[str],
) -> Reference:
    records = _original(workspace, artifact, f"{task}.data")
    original = [(record_texts(one)[0], _answer_in(one)) for one in records]
    answers = _answers_of(model)

    def given(texts: Sequence[str]) -> list[str]:
        return [wishes.of_answer(answer) for answer in answers(tuple(texts))]

    def loss(examples: Sequence[Example]) -> Floats:
        found = answers(tuple(one.asked for one in examples))
        wanted = [json.loads(one.wanted) for one in examples]
        losses = [
            answer_loss(answer["probabilities"], labels)
            for answer, labels in zip(found, wanted, strict=True)
        ]
        return np.array(losses, dtype=np.float64)

    try:
        distance = TfidfDistance([text for text, _ in original]) if len(original) > 1 else None
    except (MissingExtra, UsageError):  # without scikit-learn, or without a word in common
        distance = None
    is_labelled = isinstance(wishes, LabelWishes)
    return Reference(original, given, loss if is_labelled else None, distance, learned)


def _answers_of(model: TaskModel) -> Callable[[tuple[str, ...]], list[dict[str, Any]]]:
    @lru_cache(maxsize=2)
    def answers(texts: tuple[str, ...]) -> list[dict[str, Any]]:
        # What was asked once may be empty by now: its identities were all there was.
        asked = [text if text.strip() else "-" for text in texts]
        return [one.as_json() for one in model.predict(asked)] if asked else []

    return answers


def _original(workspace: Workspace, artifact: Artifact, stage: str) -> list[Record]:
    """Records that a model was trained on, evenly spaced; the others are not even parsed."""
    found = _ancestor(workspace, artifact, stage)
    if found is None:
        return []
    path = found.path / "train.jsonl"
    with path.open("rb") as file:
        step = -(-sum(1 for _ in file) // MOST_ORIGINAL) or 1
        file.seek(0)
        return [record_from_json(json.loads(line)) for line in islice(file, 0, None, step)]


def _answer_in(record: Record) -> str:
    if isinstance(record, Labelled):
        return json.dumps(sorted(set(record.labels)), ensure_ascii=False)
    if isinstance(record, Tagged):
        rows = [{"start": one.start, "end": one.end, "tag": one.tag} for one in record.spans]
        return json.dumps(rows, ensure_ascii=False)
    return ""


def _ancestor(workspace: Workspace, artifact: Artifact, stage: str) -> Artifact | None:
    lineage = workspace.store.lineage(artifact.key)
    return next((one for one in lineage if one.manifest.stage == stage), None)


def curated_feedback(
    workspace: Workspace, task: str = "", learned: Collection[str] = ()
) -> Curated:
    """What the next turn would learn from, and what became of everything else."""
    subject = open_subject(workspace, task, learned)
    return curate(
        workspace.said(),
        workspace.recipe.improve.held_out,
        wishes=subject.wishes,
        reference=subject.reference,
        reviews=workspace.latest_reviews(),
        interactions=workspace.interactions(),
    )


def review_queue(curated: Curated) -> list[Decision]:
    """What only a person can decide: quarantine, and where people disagree."""
    return [one for one in curated.decisions if one.status == QUARANTINED or one.reason == DISAGREE]


def worth_a_look(workspace: Workspace, task: str, limit: int) -> list[Worth]:
    """The answers that are most worth a person's look, the most rewarding first."""
    subject = open_subject(workspace, task)
    distance = subject.reference.distance
    every = workspace.feedback.interactions(workspace.tenant)
    return most_worth(
        every, workspace.feedback.said(workspace.tenant), subject.wishes, distance, limit
    )


def decide(
    workspace: Workspace,
    prefix: str,
    action: str,
    actor: str,
    *,
    note: str = "",
    text: str = "",
    wishes: Wishes | None = None,
) -> Review:
    """Store what a person decided about a feedback, by its id or the beginning of it.

    Edit: the reviewer's `text` becomes a correction of her own, which is taken, and the feedback is
    left. Raises UnknownName for no or several such ids, UsageError for an edit that says nothing or
    that the application can't read.
    """
    interaction, said = _found(workspace.said(), prefix)
    if action != EDIT:
        return workspace.reviews.decide(said.tenant, said.id, action, actor, note)
    if not text.strip():
        raise UsageError("an edit without a text", "what the answer should have been")
    if wishes is not None:
        try:
            wishes.wanted(
                interaction, Feedback(said.tenant, "", "", "correction", text, "person", 0.0)
            )
        except NoWish as no_wish:
            raise UsageError(
                f"an edit that says {no_wish.reason}", "what the answer should have been"
            ) from no_wish
    own = workspace.feedback.record_feedback(
        said.tenant, interaction.id, "correction", text, person=actor
    )
    taken = workspace.reviews.decide(said.tenant, own.id, TAKE, actor, note)
    workspace.reviews.decide(said.tenant, said.id, LEAVE, actor, f"edited: {own.id}")
    return taken


def _found(said: Sequence[Said], prefix: str) -> tuple[Interaction, Feedback]:
    found = [one for one in said if prefix and one[1].id.startswith(prefix)]
    if len(found) != 1:
        raise UnknownName(
            f"{len(found)} pieces of feedback have an id that begins with {prefix!r}",
            "one",
            "see: noria feedback review",
        )
    return found[0]
