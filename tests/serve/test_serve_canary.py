"""Canary, shadow and automatic rollback act: a real server, a real watch, one registry between."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_world import BROKEN, NAME, TASK, World, write_model, write_task
from serving_world import TENANT as OTHER

from noria.cli.screen import Silent
from noria.recipe import TENANT
from noria.registry import Trial
from noria.registry.reviews import Review, sign_review
from noria.stages import said
from noria.stages.turn_process import TurnProcess
from noria.stages.watch import Watch
from noria.tasks.task_model import load_task_model
from noria.workspace import Workspace, open_workspace

RECIPE = f'name = "{NAME}"\n[corpus]\ndocuments = ["*.txt"]\n'
PERSONS = [f"person {number}" for number in range(24)]


class Tried:
    """A server that answers "a", a challenger, and the watch over both."""

    def __init__(self, root: Path, settings: str, challenger: str) -> None:
        self.world = World(root)
        self.key = self.world.new_key("use", "rate", "read", tenant=TENANT)
        self.a = self.world.promote("a", tenant=TENANT)
        self.b = write_model(root / "artifacts" / "always-b", challenger)
        self.world.registry.register(TENANT, NAME, self.b, "artifacts/always-b", "made by hand")
        (root / "noria.toml").write_text(RECIPE + settings, encoding="utf-8")
        self.workspace: Workspace = open_workspace(root / "noria.toml", root, Silent())
        self.watch = Watch(self.workspace, TurnProcess(root / "noria.toml", root))
        self.registry = self.world.registry
        self._client: httpx.Client | None = None

    def begin(self, stage: str, share: float, num_requests: int) -> Trial:
        """Begin a trial, and wait until the server follows."""
        trial = self.registry.trials.begin(TENANT, NAME, self.b, stage, share, num_requests, "test")
        time.sleep(0.3)
        return trial

    def client(self) -> httpx.Client:
        """One for all requests to the server that runs."""
        if self._client is None or self._client.base_url != self.world.url:
            self._client = self.world.http(self.key)
        return self._client

    def ask(self, person: str = "", prompt: str = "Where is it?") -> dict[str, Any]:
        body = {"model": NAME, "prompt": prompt, "max_tokens": 2, "user": person or None}
        response = self.client().post("/v1/completions", json=body)
        return {**response.json(), "status": response.status_code}

    def thumb(self, answer: dict[str, Any], value: str) -> None:
        body = {"interaction_id": answer["id"], "kind": "thumb", "value": value}
        response = self.client().post("/v1/feedback", json=body)
        assert response.status_code == 200

    def live(self) -> str:
        found = self.registry.live(TENANT, NAME)
        assert found is not None
        return found.weight_hash

    def look(self, until: Callable[[], bool]) -> None:
        """Watch until something has happened."""
        give_up_at = time.monotonic() + 10
        while not until():
            assert time.monotonic() < give_up_at
            self.watch.once()
            time.sleep(0.05)

    def last(self) -> tuple[str, str, dict[str, Any]]:
        entry = self.registry.history(TENANT, NAME)[-1]
        return entry.action, entry.reason, entry.detail


@pytest.fixture(autouse=True)
def _feedback_is_read_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said, "LOOK_EVERY_S", 0.0)


@contextmanager
def tried_in(root: Path, settings: str = "", challenger: str = "b") -> Iterator[Tried]:
    tried = Tried(root, settings, challenger)
    try:
        yield tried
    finally:
        tried.world.close()
        tried.workspace.close()


def test_a_canary_answers_its_share_of_persons_each_of_them_always(tmp_path: Path) -> None:
    with tried_in(tmp_path) as tried:
        tried.world.start()
        assert tried.ask()["weight_hash"] == tried.a
        trial = tried.begin("canary", 0.3, 1_000)
        first = {one: tried.ask(one)["weight_hash"] for one in PERSONS}
        expected = {one: tried.b if trial.takes(one) else tried.a for one in PERSONS}
        assert first == expected and 2 <= list(first.values()).count(tried.b) <= 13
        tried.world.stop()
        tried.world.start()  # what a restarted server does is the same
        assert all(tried.ask(one)["weight_hash"] == first[one] for one in PERSONS[::3])
        unnamed = [tried.ask()["weight_hash"] for _ in range(24)]
        assert 1 <= unnamed.count(tried.b) <= 18
        tried.watch.once()
        assert tried.live() == tried.a and tried.registry.trials.of(TENANT, NAME) == trial


def test_a_canary_that_is_not_worse_goes_live_after_its_requests(tmp_path: Path) -> None:
    with tried_in(tmp_path) as tried:
        tried.world.start()
        tried.begin("canary", 0.5, 6)
        answers = [tried.ask(one) for one in PERSONS]
        assert {one["status"] for one in answers} == {200}
        tried.world.stop()  # what was counted is stored
        tried.look(lambda: tried.live() == tried.b)
        action, reason, detail = tried.last()
        assert action == "promote" and reason.startswith("canary: not worse in ")
        numbers = detail["numbers"]
        assert numbers["tried"]["num_requests"] >= 6 and numbers["tried"]["num_errors"] == 0
        assert numbers["tried"]["num_requests"] + numbers["live"]["num_requests"] == 24
        assert tried.registry.trials.of(TENANT, NAME) is None
        tried.registry.verify_chain()


def test_a_canary_with_thumbs_down_is_withdrawn_before_its_requests(tmp_path: Path) -> None:
    with tried_in(tmp_path) as tried:
        tried.world.start()
        tried.begin("canary", 0.5, 1_000)
        for person in PERSONS:
            answer = tried.ask(person)
            tried.thumb(answer, "down" if answer["weight_hash"] == tried.b else "up")
        tried.look(lambda: tried.registry.trials.of(TENANT, NAME) is None)
        action, reason, _ = tried.last()
        assert action == "withdraw" and reason.startswith("thumbs down: at least")
        assert tried.live() == tried.a
        time.sleep(0.3)
        assert {tried.ask(one)["weight_hash"] for one in PERSONS} == {tried.a}


@pytest.mark.parametrize("how", ["fails to answer", "can't be loaded"])
def test_a_broken_canary_is_withdrawn_on_its_errors(tmp_path: Path, how: str) -> None:
    with tried_in(tmp_path, challenger=BROKEN) as tried:
        if how == "can't be loaded":
            (tmp_path / "artifacts/always-b/model.safetensors").write_bytes(b"not weights")
        tried.world.start()
        trial = tried.begin("canary", 0.5, 1_000)
        statuses = {one: tried.ask(one)["status"] for one in PERSONS}
        if how == "can't be loaded":
            assert set(statuses.values()) == {200}  # the live version answered instead
        else:
            assert statuses == {one: 503 if trial.takes(one) else 200 for one in PERSONS}
        tried.look(lambda: tried.registry.trials.of(TENANT, NAME) is None)
        action, reason, detail = tried.last()
        assert action == "withdraw" and reason.startswith("errors: at least")
        assert detail["numbers"]["live"]["num_errors"] == 0
        assert tried.live() == tried.a


def test_a_shadow_is_never_seen_and_leads_to_the_canary_of_the_recipe(tmp_path: Path) -> None:
    settings = '[improve]\nshadow = "60% for 8 requests"\ncanary = "40% for 500 requests"\n'
    with tried_in(tmp_path, settings) as tried:
        tried.world.start()
        tried.begin("shadow", 0.6, 8)
        for person in PERSONS:
            assert tried.ask(person)["weight_hash"] == tried.a
            time.sleep(0.01)  # so that copies find a place
        stored = tried.world.feedback.interactions(TENANT)
        assert {one.weight_hash for one in stored} == {tried.a}

        def canary() -> bool:
            trial = tried.registry.trials.of(TENANT, NAME)
            return trial is not None and trial.stage == "canary"

        tried.look(canary)
        _, reason, detail = tried.last()
        assert reason == "40% of the requests, 500 at least"
        assert detail["numbers"]["tried"]["num_requests"] >= 8
        assert detail["numbers"]["agreement"] == 0.0  # "aa" and "bb" share nothing
        assert detail["numbers"]["latency_s"] > 0


def test_a_promotion_that_fails_is_rolled_back_and_its_predecessor_left_alone(
    tmp_path: Path,
) -> None:
    with tried_in(tmp_path, challenger=BROKEN) as tried:
        tried.registry.promote(TENANT, NAME, tried.b, "test", "test")
        tried.world.start()
        assert [tried.ask(one)["status"] for one in PERSONS] == [503] * 24
        tried.look(lambda: tried.live() == tried.a)
        action, reason, detail = tried.last()
        assert action == "rollback" and reason.startswith("errors: at least")
        assert detail["automatic"] and detail["numbers"]["seen"]["arm"]["num_errors"] <= 24
        since = time.monotonic()
        while tried.ask("someone").get("weight_hash") != tried.a:
            assert time.monotonic() - since < 1.0
        for _ in range(3):
            tried.watch.once()
        assert tried.last()[0] == "rollback"  # what is good now stays


def test_limits_of_a_pinned_or_first_version_are_reported_once(tmp_path: Path) -> None:
    with tried_in(tmp_path, challenger=BROKEN) as tried:
        tried.registry.promote(TENANT, NAME, tried.b, "test", "test")
        tried.registry.hold(TENANT, NAME, "pin", "ann", "a demonstration")
        tried.world.start()
        for person in PERSONS:
            tried.ask(person)
        tried.look(lambda: tried.last()[0] == "alarm")
        for _ in range(3):
            tried.watch.once()
        trail = [entry.action for entry in tried.registry.history(TENANT, NAME)]
        assert trail.count("alarm") == 1 and "rollback" not in trail
        assert "pinned" in tried.last()[1] and tried.live() == tried.b


def test_what_the_page_asked_for_is_done_and_its_outcome_noted(tmp_path: Path) -> None:
    with tried_in(tmp_path) as tried:
        tried.registry.request(TENANT, NAME, "promote", tried.b, "p-12ab")
        tried.watch.once()  # a request is no way around the review either
        (early,) = tried.registry.requests(TENANT, NAME)
        assert "no signed review" in early.outcome and tried.live() == tried.a
        said = ("an answer of one letter", "taking it for more", "nobody but a test")
        sign_review(tried.workspace.root, Review(NAME, "Ada", *said, tried.a, 0.0))
        asked = [("promote", tried.b), ("pin", ""), ("rollback", ""), ("freeze", "")]
        asked += [("promote", tried.b), ("unfreeze", "")]
        for action, weights in asked:
            tried.registry.request(TENANT, NAME, action, weights, "p-12ab")
        tried.registry.request(TENANT, "nobody", "pin", "", "p-12ab")
        tried.registry.request("other", NAME, "pin", "", "p-12ab")
        tried.watch.once()
        assert tried.registry.open_requests() == []
        outcomes = [one.outcome for one in tried.registry.requests(TENANT, NAME)][1:]
        assert outcomes[:4] + outcomes[5:] == ["done"] * 5 and "is frozen" in outcomes[4]
        (nobody,) = tried.registry.requests(TENANT, "nobody")
        (other,) = tried.registry.requests("other", NAME)
        assert "no model is called" in nobody.outcome and "no live model" in other.outcome
        assert tried.live() == tried.a and tried.registry.holds(TENANT, NAME) == {"pin"}
        by = {entry.actor for entry in tried.registry.history(TENANT, NAME)[-4:]}
        assert by == {"p-12ab"}


def test_a_clock_that_jumps_a_day_changes_neither_order_nor_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tried_in(tmp_path) as tried:
        tried.world.start()
        real, offset = time.time, [0.0]
        monkeypatch.setattr(time, "time", lambda: real() + offset[0])
        tried.begin("canary", 0.5, 10)
        for day in (1, -1, 1, -1, 0, -1):
            offset[0] = day * 86_400.0
            for person in PERSONS[:6]:
                assert tried.ask(person)["status"] == 200
            tried.registry.hold(TENANT, NAME, "unpin", "ann", "changes nothing")
            time.sleep(0.1)
        tried.world.stop()  # what was counted is stored
        tried.look(lambda: tried.live() == tried.b)
        numbers = tried.last()[2]["numbers"]
        assert numbers["tried"]["num_requests"] + numbers["live"]["num_requests"] == 36
        offset[0] = -86_400.0
        assert tried.registry.rollback(TENANT, NAME, "ann", "back").weight_hash == tried.a
        offset[0] = 86_400.0
        tried.registry.promote(TENANT, NAME, tried.b, "ann", "forth")
        trail = tried.registry.history(TENANT, NAME)
        assert [one.position for one in trail] == sorted(one.position for one in trail)
        moves = [one.action for one in trail if one.action in ("promote", "rollback")]
        assert moves == ["promote", "promote", "rollback", "promote"]
        assert [one.at for one in trail] != sorted(one.at for one in trail)
        assert tried.live() == tried.b
        tried.registry.verify_chain()


def test_an_applications_canary_and_shadow_answer_their_share_too(tmp_path: Path) -> None:
    with tried_in(tmp_path) as tried:
        name, registry = f"{NAME}.{TASK}", tried.registry
        tried.world.promote_task()
        tried.key = tried.world.new_key("use", tenant=OTHER)
        folder = tmp_path / "artifacts" / "other"
        other = write_task(folder)  # the same parts …
        said = json.loads((folder / "task.json").read_text())
        said["threshold"] = 0.99  # … of which the other abstains
        (folder / "task.json").write_text(json.dumps(said))
        assert load_task_model(folder).weight_hash != other
        other = load_task_model(folder).weight_hash
        registry.register(OTHER, name, other, "artifacts/other", "made by hand")
        tried.world.start()
        first = registry.live(OTHER, name)
        assert first is not None

        def ask(person: str) -> dict[str, Any]:
            body = {"input": ["Where is my parcel?", "我的包裹在哪里？"], "user": person}
            found: dict[str, Any] = tried.client().post(f"/v1/tasks/{TASK}", json=body).json()
            return found

        registry.trials.begin(OTHER, name, other, "shadow", 0.9, 4, "test")
        time.sleep(0.5)
        assert {ask(one)["weight_hash"] for one in PERSONS[:8]} == {first.weight_hash}
        trial = registry.trials.begin(OTHER, name, other, "canary", 0.5, 4, "test")
        time.sleep(0.5)
        for one in PERSONS[:8]:
            expected = other if trial.takes(one) else first.weight_hash
            assert ask(one)["weight_hash"] == expected
        tried.world.stop()  # what was counted is stored
        shadow = registry.signals.total(OTHER, name, other, "shadow")
        assert shadow.num_requests >= 4 and shadow.num_errors == 0
        assert shadow.agreement == 0.0  # one says a language, the other that it can't tell
        shown = [registry.signals.total(OTHER, name, w) for w in (first.weight_hash, other)]
        assert sum(one.num_requests for one in shown) == 2 * 16
        assert shown[1].num_requests == 2 * sum(map(trial.takes, PERSONS[:8]))
