"""A small application over real text: what it is made of, and what people will ask it later."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from random import Random

from simulated_people import Habits, Row, let_people_ask, write_rows

from noria.cli.screen import Silent
from noria.errors import TrainingError
from noria.stages.improve_task import improve_task
from noria.stages.task_names import task_version
from noria.stages.tasks import build_task
from noria.tasks.task_model import load_task_model
from noria.workspace import Workspace, open_workspace

RECIPE = """name = "{name}"
seed = {seed}
[corpus]
names = "off"
[improve]
held_out = 0.1
[gate]
review = {review}
[tasks.t]
kind = "classify"
files = ["{name}.csv"]
held_out = ["held_out.csv"]
test = ["test.csv"]
ways = ["classical"]
minutes = {minutes}
"""


class Traffic(Enum):
    """How often a text is asked: once in all turns, or in every turn anew, by new people.

    What people ask of a live application repeats itself; ONCE is the hardest reading of "five
    turns", for what nobody rated the first time is never heard of again.
    """

    ONCE = "once"
    REPEATED = "repeated"


NUM_AFTERWARDS = 500  # rows of the test that each verdict is checked on; that decides nothing


@dataclass(frozen=True)
class World:
    """Rows of one kind: a fifth to begin with, what is asked later, what only measures."""

    folder: Path
    own: list[Row]
    asked: list[Row]
    test: list[Row]
    seed: int
    minutes: float

    def open(self, name: str = "own", *, review: bool = False) -> Workspace:
        """The workspace of the recipe over `own`, or over `all`."""
        path = self.folder / f"{name}.toml"
        said = str(review).lower()
        path.write_text(
            RECIPE.format(name=name, seed=self.seed, review=said, minutes=self.minutes),
            encoding="utf-8",
        )
        return open_workspace(path, None, Silent())


def make_world(
    folder: Path, rows: list[Row], num_test: int, num_held_out: int, seed: int, minutes: float = 3.0
) -> World:
    """Deal rows: the test, the frozen set, a fifth of the rest to begin with, the rest to ask."""
    dealt = list(rows)
    Random(seed).shuffle(dealt)
    test, rest = dealt[:num_test], dealt[num_test:]
    held_out, pool = rest[:num_held_out], rest[num_held_out:]
    own, asked = pool[: len(pool) // 5], pool[len(pool) // 5 :]
    files = {"own": own, "all": pool, "held_out": held_out, "test": test[:NUM_AFTERWARDS]}
    for name, some in files.items():
        write_rows(folder / f"{name}.csv", some)
    return World(folder, own, asked, test, seed, minutes)


def right_answers(workspace: Workspace, rows: list[Row]) -> list[bool]:
    """Which rows the live model answers rightly."""
    version = task_version(workspace.registry, workspace.recipe, "t")
    model = load_task_model(workspace.root / version.artifact_path)
    answers = model.predict([text for text, _ in rows])
    found = [one.as_json()["labels"] for one in answers]
    return [one == [label] for one, (_, label) in zip(found, rows, strict=True)]


@dataclass(frozen=True)
class Begun:
    """A world whose first champion is live, and what that one gets right of the test.

    `everything`: what a model of all rows, rightly labelled, gets right.
    """

    world: World
    before: list[bool]
    everything: list[bool]


@dataclass(frozen=True)
class Turned:
    """As `Begun`; and what was live after each turn got right, and the outcomes."""

    before: list[bool]
    after: list[list[bool]]
    everything: list[bool]
    outcomes: list[dict[str, object]]


def _outcome(workspace: Workspace) -> dict[str, object]:
    """What a turn came to; there is none where too little was said."""
    try:
        return improve_task(workspace, "t")
    except TrainingError:
        return {"decision": "too little feedback"}


def asked_in_turn(
    rows: Sequence[Row], traffic: Traffic, turn: int, num_turns: int
) -> Sequence[Row]:
    """What people ask in a turn (from 0): all rows, or the turn's own part of them."""
    if traffic is Traffic.REPEATED:
        return rows
    each = len(rows) // num_turns
    return rows[turn * each : (turn + 1) * each]


def begin(world: World) -> Begun:
    """Train the first champion, which goes live, and the model of everything."""
    with world.open("all") as full:
        build_task(full, "t")
        everything = right_answers(full, world.test)
    with world.open() as workspace:
        build_task(workspace, "t")
        before = right_answers(workspace, world.test)
    return Begun(world, before, everything)


def turn_the_wheel(
    begun: Begun, folder: Path, habits: Habits, traffic: Traffic, num_turns: int
) -> Turned:
    """In a copy of the world, in `folder`, people ask and speak, the loop turns, so many times."""
    shutil.copytree(begun.world.folder, folder)
    world = replace(begun.world, folder=folder)
    after, outcomes = [], []
    with world.open() as workspace:
        for turn in range(num_turns):
            some = asked_in_turn(world.asked, traffic, turn, num_turns)
            let_people_ask(workspace, "t", some, habits, 1000 * world.seed + turn)
            outcomes.append(_outcome(workspace))
            after.append(right_answers(workspace, world.test))
    return Turned(begun.before, after, begun.everything, outcomes)
