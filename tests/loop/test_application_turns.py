"""An application that learns from the people who use it, on real requests in English."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from home_intents import home_requests
from simulated_people import ALWAYS, HALF_WRONG, let_people_ask
from task_worlds import World, make_world, right_answers

from noria.errors import NoriaError, TrainingError, UsageError
from noria.lineage import trace
from noria.recipe import TENANT
from noria.registry.reviews import Review, read_reviews, sign_review
from noria.stages.improve import improve_recipe, outcome_text
from noria.stages.improve_task import improve_task
from noria.stages.replaying import replay
from noria.stages.review import review_sentences
from noria.stages.tasks import build_task

WORDS = ("Rooms and lamps of one house.", "Spying on who is at home.", "Those who live there.")


@dataclass(frozen=True)
class Turned:
    """One turn: how much was right at first, after it and of all rows, and what was said.

    `unsigned` is the outcome before the review, `signed` after it; `remade` are the artifacts that
    the second of them made.
    """

    world: World
    before: float
    after: float
    everything: float
    unsigned: dict[str, Any]
    signed: dict[str, Any]
    remade: set[str]


def share(right: list[bool]) -> float:
    return sum(right) / len(right)


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Turned:
    """A champion on a fifth of the rows; people ask the rest, and everything is put right."""
    world = make_world(tmp_path_factory.mktemp("home"), home_requests(1800, 1), 500, 400, seed=1)
    with world.open("all") as full:
        build_task(full, "t")
        everything = share(right_answers(full, world.test))
    with world.open(review=True) as workspace:
        build_task(workspace, "t")
        before = share(right_answers(workspace, world.test))
        with pytest.raises(TrainingError, match="0 corrections to learn from"):
            improve_recipe(workspace)
        let_people_ask(workspace, "t", world.asked, ALWAYS, 7)
        unsigned = improve_recipe(workspace, "t")
        known = {path.name for path in (workspace.root / "artifacts").iterdir()}
        sign_review(workspace.root, Review("own.t", "Ada", *WORDS, unsigned["live"], 0.0))
        signed = improve_recipe(workspace, "t")
        remade = {path.name for path in (workspace.root / "artifacts").iterdir()} - known
        after = share(right_answers(workspace, world.test))
    return Turned(world, before, after, everything, unsigned, signed, remade)


def test_a_turn_recovers_half_of_what_the_model_of_everything_is_ahead(turned: Turned) -> None:
    distance = turned.everything - turned.before
    assert distance >= 0.04, turned
    assert turned.after - turned.before >= 0.5 * distance, turned


def test_what_feedback_brought_is_challenger_minus_control(turned: Turned) -> None:
    found = turned.signed["contribution"]
    assert 0 < found["low"] <= found["value"] <= found["high"]
    assert "Feedback brought +" in outcome_text(turned.signed)
    page = Path(turned.signed["page"]).read_text(encoding="utf-8")
    assert "The gate: t" in page and "may go live" in page and "t.accuracy &gt; control" in page


def test_the_first_promotion_waits_until_a_person_signed_a_review(turned: Turned) -> None:
    assert turned.unsigned["decision"] == "promote" and not turned.unsigned["promoted"]
    assert "noria review own.toml --task t --sign NAME" in turned.unsigned["reasons"][0]
    assert turned.unsigned["live"] != turned.unsigned["challenger"]
    assert turned.signed["promoted"] and turned.signed["live"] == turned.unsigned["challenger"]
    with turned.world.open(review=True) as workspace:
        assert read_reviews(workspace.root, "own.t")[0].signed_by == "Ada"
        assert "signed by Ada" in review_sentences(workspace, "own.t")[0]
        with pytest.raises(UsageError, match="misuse 'no'"):
            sign_review(workspace.root, Review("own.t", "Ada", WORDS[0], "no", WORDS[2], "", 0.0))


def test_the_same_turn_again_makes_nothing_again(turned: Turned) -> None:
    assert not turned.remade
    assert turned.signed["challenger"] == turned.unsigned["challenger"]


def test_an_answer_can_be_followed_to_the_examples_that_were_made_of_it(turned: Turned) -> None:
    with turned.world.open(review=True) as workspace:
        said = workspace.said()
        told = {asked.id for asked, _ in said}
        untold = {one.id for one in workspace.interactions()} - told
        taught = [row for one in sorted(told) for row in trace(workspace, one)["taught"]]
        assert not any(trace(workspace, one)["taught"] for one in sorted(untold)[:5])
    assert {row["feedback"] for row in taught} == {one.id for _, one in said}
    assert {row["challenger"] for row in taught} == {turned.signed["challenger"]}
    assert {row["verdict"] for row in taught} == {"promote"}
    for held_out, wanted in ((False, "num_train"), (True, "num_held_out")):
        examples = {
            row["example"]
            for row in taught
            if row["status"] == "taken" and row["held_out"] == held_out
        }
        assert len(examples) == turned.signed["curated"][wanted] > 0


def test_both_twins_and_the_verdict_are_in_the_registry(turned: Turned) -> None:
    with turned.world.open(review=True) as workspace:
        versions = {one.weight_hash: one for one in workspace.registry.versions(TENANT, "own.t")}
        assert versions[turned.signed["challenger"]].origin == "challenger"
        assert versions[turned.signed["control"]].origin == "control"
        history = workspace.registry.history(TENANT, "own.t")
        assert [one.action for one in history][-1] == "promote"
        (gate,) = (one for one in history if one.action == "gate")
        assert replay(workspace, str(gate.position))["same"]
        workspace.registry.verify_chain()


def test_half_of_the_votes_wrong_make_nothing_worse_live(tmp_path: Path) -> None:
    world = make_world(tmp_path, home_requests(1100, 2), 300, 300, seed=2)
    with world.open() as workspace:
        build_task(workspace, "t")
        before = share(right_answers(workspace, world.test))
        let_people_ask(workspace, "t", world.asked, HALF_WRONG, 5)
        outcome = improve_task(workspace, "t")
        after = share(right_answers(workspace, world.test))
    assert outcome["promoted"] or after == before
    assert after >= before - 0.03


def test_an_application_that_the_recipe_does_not_have_is_named(turned: Turned) -> None:
    with turned.world.open() as workspace, pytest.raises(NoriaError, match="is called 'x'"):
        improve_recipe(workspace, "x")
