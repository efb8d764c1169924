"""People who use an application and say what they think of it, some of them wrongly.

Nobody was asked: what they say is made from the right answers, and marked as simulated.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from noria.artifacts import read_artifact
from noria.recipe import TENANT
from noria.stages.task_names import task_name, task_version
from noria.tasks.task_model import load_task_model
from noria.workspace import Workspace

Row = tuple[str, str]  # a text and its label
NUM_PEOPLE = 200


@dataclass(frozen=True)
class Habits:
    """Shares: of answers that get a thumb, of wrong ones that get a correction, of lies in both."""

    thumbs: float
    corrections: float
    false: float


SOMETIMES = Habits(thumbs=0.3, corrections=0.3, false=0.1)
ALWAYS = Habits(thumbs=1.0, corrections=1.0, false=0.0)
ALWAYS_BUT_FALSE = Habits(thumbs=1.0, corrections=1.0, false=0.1)
HALF_WRONG = Habits(thumbs=1.0, corrections=1.0, false=0.5)


def reactions(
    answer: str, right: str, choices: Sequence[str], habits: Habits, random: Random
) -> list[tuple[str, str]]:
    """What one person says of one answer, as kinds and values of feedback, in order."""
    said = []
    is_right = answer == right
    if random.random() < habits.thumbs:
        lies = random.random() < habits.false
        said.append(("thumb", "up" if is_right != lies else "down"))
    if not is_right and random.random() < habits.corrections:
        lies = random.random() < habits.false
        wrong = [one for one in choices if one != right]
        said.append(("correction", random.choice(wrong) if lies else right))
    return said


def let_people_ask(
    workspace: Workspace, name: str, rows: Sequence[Row], habits: Habits, seed: int
) -> int:
    """People ask the live model each text and say what they think; returns how much was said.

    Other seeds are other people.
    """
    version = task_version(workspace.registry, workspace.recipe, name)
    model = load_task_model(read_artifact(workspace.root / version.artifact_path).path)
    random, num_said = Random(seed), 0
    answers = model.predict([text for text, _ in rows])
    for (text, right), answer in zip(rows, answers, strict=True):
        value = answer.as_json()
        given = value["labels"][0] if value["labels"] else ""
        said = reactions(given, right, model.description.labels, habits, random)
        if not said:
            continue  # of an answer that nobody rates nothing is learned
        person = f"person {random.randrange(NUM_PEOPLE)} of {seed}"
        num_said += len(said)
        keep(workspace, name, version.weight_hash, text, value, said, person)
    return num_said


def keep(
    workspace: Workspace,
    name: str,
    weight_hash: str,
    text: str,
    value: object,
    said: Sequence[tuple[str, str]],
    person: str,
) -> None:
    """Store an answer and what a person said of it."""
    known = task_name(workspace.recipe, name)
    place = f"task-{hashlib.sha256(f'{weight_hash}{person}{text}'.encode()).hexdigest()[:32]}"
    workspace.feedback.record_interaction(
        tenant=TENANT,
        interaction_id=place,
        model_name=known,
        weight_hash=weight_hash,
        kind="task",
        prompt=text,
        answer=json.dumps(value, ensure_ascii=False),
        person=person,
    )
    for kind, one in said:
        workspace.feedback.record_feedback(
            TENANT, place, kind, one, origin="simulated", person=person
        )


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Rows as a CSV file with a header."""
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("text", "label"))
        writer.writerows(rows)
