"""An application that learns from the people who use it, on real requests in English."""

from __future__ import annotations

from pathlib import Path

import pytest
from home_intents import home_requests
from simulated_people import ALWAYS, HALF_WRONG, let_people_ask
from task_worlds import Turned, World, make_world, right_answers, turn_the_wheel

from noria.errors import NoriaError, TrainingError, UsageError
from noria.recipe import TENANT
from noria.stages.improve import improve_recipe, outcome_text
from noria.stages.improve_task import improve_task
from noria.stages.review import Review, read_reviews, review_sentences, sign_review
from noria.stages.tasks import build_task

NUM_TURNS = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("home"), home_requests(2400, 1), 700, 500, seed=1)


@pytest.fixture(scope="module")
def turned(world: World) -> Turned:
    return turn_the_wheel(world, ALWAYS, NUM_TURNS)


def share(right: list[bool]) -> float:
    return sum(right) / len(right)


def test_the_loop_recovers_half_of_what_the_model_of_everything_is_ahead(turned: Turned) -> None:
    before, end, most = share(turned.before), share(turned.after[-1]), share(turned.everything)
    assert most - before >= 0.04, (before, most)
    assert end - before >= 0.5 * (most - before), (before, end, most)


def test_what_feedback_brought_is_challenger_minus_control(turned: Turned) -> None:
    contributions = [one["contribution"] for one in turned.outcomes]
    assert all(isinstance(one, dict) and one["value"] > 0 for one in contributions)
    assert any(isinstance(one, dict) and one["low"] > 0 for one in contributions)


def test_an_interrupted_turn_goes_on_and_a_finished_one_is_not_taken_again(
    world: World, turned: Turned
) -> None:
    with world.open() as workspace:
        known = {path.name for path in (workspace.root / "artifacts").iterdir()}
        live = workspace.registry.live(TENANT, "own.t")
        assert live is not None
        reads = [one for one in workspace.registry.history(TENANT, "own.t") if one.action == "gate"]
        assert len(reads) == NUM_TURNS
        again = improve_task(workspace, "t")
        new = {path.name for path in (workspace.root / "artifacts").iterdir()} - known
        if turned.outcomes[-1]["promoted"]:  # the champion is another one now
            assert all(name.startswith("t.") for name in new)
        else:
            assert not new and again["challenger"] == turned.outcomes[-1]["challenger"]
        before = {path.name for path in (workspace.root / "artifacts").iterdir()}
        twice = improve_task(workspace, "t")
        after = {path.name for path in (workspace.root / "artifacts").iterdir()}
        if not again["promoted"]:
            assert after == before and twice["challenger"] == again["challenger"]


def test_both_twins_and_the_verdict_are_in_the_registry(world: World, turned: Turned) -> None:
    with world.open() as workspace:
        versions = {one.weight_hash: one for one in workspace.registry.versions(TENANT, "own.t")}
        for outcome in turned.outcomes:
            assert versions[str(outcome["challenger"])].origin == "challenger"
            assert versions[str(outcome["control"])].origin == "control"
        workspace.registry.verify_chain()


def test_half_of_the_votes_wrong_make_nothing_worse_live(tmp_path: Path) -> None:
    world = make_world(tmp_path, home_requests(1500, 2), 500, 400, seed=2)
    with world.open() as workspace:
        build_task(workspace, "t")
        before = share(right_answers(workspace, world.test))
        let_people_ask(workspace, "t", world.asked, HALF_WRONG, 5)
        outcome = improve_task(workspace, "t")
        after = share(right_answers(workspace, world.test))
    assert after >= before - 0.03
    assert outcome["promoted"] or after == before


def test_the_first_promotion_waits_until_a_person_signed_a_review(tmp_path: Path) -> None:
    world = make_world(tmp_path, home_requests(1800, 3), 300, 500, seed=3)
    with world.open(review=True) as workspace:
        build_task(workspace, "t")  # what goes live first is no promotion by the loop
        first = workspace.registry.live(TENANT, "own.t")
        assert first is not None
        with pytest.raises(TrainingError, match="0 corrections to learn from"):
            improve_recipe(workspace)
        let_people_ask(workspace, "t", world.asked, ALWAYS, 7)
        said = improve_recipe(workspace, "t")
        assert said["decision"] == "promote" and not said["promoted"]
        assert "noria review own.toml --task t --sign NAME" in said["reasons"][0]
        assert said["live"] == first.weight_hash
        words = (
            "Rooms and lamps of one house.",
            "Spying on who is at home.",
            "Those who live there.",
        )
        with pytest.raises(UsageError, match="misuse: 'no'"):
            sign_review(workspace, Review("own.t", "Ada", words[0], "no", words[2], "", 0.0))
        sign_review(workspace, Review("own.t", "Ada", *words, first.weight_hash, 0.0))
        assert read_reviews(workspace.root, "own.t")[0].signed_by == "Ada"
        assert "signed by Ada" in review_sentences(workspace, "own.t")[0]
        again = improve_recipe(workspace, "t")
        assert again["promoted"] and again["live"] == said["challenger"]
        assert "Feedback brought +" in outcome_text(again)
        page = Path(again["page"]).read_text(encoding="utf-8")
        assert "The gate: t" in page and "may go live" in page and "t.accuracy &gt; control" in page


def test_an_application_that_the_recipe_does_not_have_is_named(world: World) -> None:
    with world.open() as workspace, pytest.raises(NoriaError, match="no application is called 'x'"):
        improve_recipe(workspace, "x")
