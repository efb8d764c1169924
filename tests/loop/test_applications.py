"""Classify and tag, from labelled files to the command line, Python, HTTP and a batch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from applications import write_applications
from running import noria

from noria.ask import answer_file, open_task
from noria.errors import InputError, UsageError
from noria.registry import Registry

SPEECH = "I have the honour to lay before Congress the estimates of the Treasury for this year."
NOVEL = "The whale rose, and Queequeg stood up in the bow of the boat with his harpoon."
YEARS = "By the treaty of 1819, Spain and the United States agreed  on this boundary."
NEWS = "新华社北京1月1日电，国家主席江泽民今天在人民大会堂发表讲话。"


@dataclass(frozen=True)
class Apps:
    """The run that all tests here look at."""

    recipe: Path
    store: Path
    said: dict[str, Any]

    @property
    def where(self) -> list[str]:
        return ["-r", str(self.recipe), "--store", str(self.store)]

    def report(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.store / "report.json").read_text("utf-8"))
        return value


@pytest.fixture(scope="session")
def apps(tmp_path_factory: pytest.TempPathFactory, packages: str) -> Apps:
    folder = tmp_path_factory.mktemp("apps")
    recipe = write_applications(folder, packages)
    said = noria("run", str(recipe), "--store", str(folder / "store"))
    return Apps(recipe, folder / "store", said)


@pytest.fixture(scope="module")
def server(apps: Apps) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "noria", "serve", str(apps.recipe), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--store", str(apps.store)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    headers = {"Authorization": f"Bearer {ready['key']}"}
    with httpx.Client(base_url=ready["url"], headers=headers, timeout=60) as client:
        yield client
    process.terminate()
    process.wait(timeout=30)
    process.stdout.close()


def test_every_application_is_live_and_far_above_chance(apps: Apps) -> None:
    assert set(apps.said["tasks"]) == {"book", "opinion", "when", "news"}
    registry = Registry(apps.store / "registry.sqlite")
    for name, weight_hash in apps.said["tasks"].items():
        live = registry.live("default", f"apps.{name}")
        assert live is not None and live.weight_hash == weight_hash
    registry.close()
    served = {
        one["name"]: next(row for row in one["rows"] if row["served"])
        for one in apps.report()["ways"]
    }
    least = {"book": 0.85, "opinion": 0.65, "when": 0.8, "news": 0.5}
    for name, value in least.items():
        assert served[name]["value"]["value"] > value, (name, served[name])


def test_the_report_shows_every_way_and_what_it_costs(apps: Apps) -> None:
    found = {one["name"]: one for one in apps.report()["ways"]}
    ways = [row["way"] for row in found["opinion"]["rows"]]
    assert ways[:2] == ["classical", "scratch"] and set(ways[2:]) <= {"joined"}  # if it helps
    for row in found["opinion"]["rows"]:
        assert (row["against"] is None) == (row["way"] == "classical")
        assert 0 < row["latency_s"] <= row["latency_p95_s"] and row["num_bytes"] > 10_000
        assert row["value"]["low"] < row["value"]["value"] < row["value"]["high"]
    page = (apps.store / "report.html").read_text("utf-8")
    assert "Does the Transformer earn its cost?" in page and "Confusion" in page
    card = (apps.store / "model_card.md").read_text("utf-8")
    assert "## Does the Transformer earn its cost? opinion" in card


def test_a_second_run_makes_nothing_again(apps: Apps) -> None:
    artifacts = sorted((apps.store / "artifacts").iterdir())
    again = noria("run", str(apps.recipe), "--store", str(apps.store))
    assert again["tasks"] == apps.said["tasks"]
    assert sorted((apps.store / "artifacts").iterdir()) == artifacts


def test_command_line_python_and_http_give_the_same_answers(
    apps: Apps, server: httpx.Client
) -> None:
    for name, text in (("book", SPEECH), ("news", NEWS)):
        by_command = noria("task", name, text, *apps.where)
        by_python = open_task(apps.recipe, name, apps.store)
        body = server.post(f"/v1/tasks/{name}", json={"input": text}).json()
        assert by_command["weight_hash"] == by_python.weight_hash == body["weight_hash"]
        (by_http,) = body["data"]
        key = "labels" if "labels" in by_http else "spans"
        assert by_http[key] == by_command[key] == by_python(text).as_json()[key]


def test_classify_knows_a_speech_from_a_novel_and_abstains_below_its_threshold(apps: Apps) -> None:
    book = open_task(apps.recipe, "book", apps.store)
    assert book(SPEECH).labels == ("speech",) and book(NOVEL).labels == ("novel",)
    assert sum(book(SPEECH).probabilities.values()) == pytest.approx(1)
    opinion = open_task(apps.recipe, "opinion", apps.store)
    threshold = opinion.model.description.threshold
    answers = opinion.each(["很好，非常喜欢，推荐购买", "太差了，很失望", "x", "桌子", "1"])
    for answer in answers:
        sure = max(answer.as_json()["probabilities"].values())
        assert answer.as_json()["abstained"] == (sure < threshold)
    assert answers[0].as_json()["labels"] == ["good"]
    assert answers[1].as_json()["labels"] == ["bad"]


def test_tag_gives_places_in_the_text_as_it_came(apps: Apps) -> None:
    for name, text, wanted in (
        ("when", YEARS, {("1819", "YEAR"), ("Spain", "PLACE"), ("United States", "PLACE")}),
        ("news", NEWS, {("江泽民", "person"), ("北京", "place")}),
    ):
        spans = open_task(apps.recipe, name, apps.store)(text).spans
        assert wanted <= {(one.text, one.tag) for one in spans}
        for one in spans:
            assert text[one.start : one.end] == one.text


def test_http_takes_lists_keeps_each_answer_and_hears_feedback_on_it(
    apps: Apps, server: httpx.Client
) -> None:
    body = server.post("/v1/tasks/book", json={"input": [SPEECH, NOVEL]}).json()
    assert [row["labels"] for row in body["data"]] == [["speech"], ["novel"]]
    assert [row["index"] for row in body["data"]] == [0, 1]
    said = {"interaction_id": body["data"][1]["id"], "kind": "label", "value": "speech"}
    assert server.post("/v1/feedback", json=said).status_code == 200
    found = noria("trace", body["data"][1]["id"], *apps.where)
    assert found["interaction"]["kind"] == "task" and found["interaction"]["prompt"] == NOVEL
    assert found["version"]["name"] == "apps.book" and found["feedback"][0]["value"] == "speech"
    listed = server.get("/v1/tasks").json()["data"]
    assert {one["id"]: one["kind"] for one in listed} == {
        "book": "classify",
        "opinion": "classify",
        "when": "tag",
        "news": "tag",
    }
    assert server.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("nothing", {"input": "text"}, 404, "book"),
        ("book", {"input": ""}, 400, "empty"),
        ("book", {"input": [SPEECH, " \n"]}, 400, "text 2 of 2"),
        ("book", {"input": []}, 400, "input"),
        ("book", {"input": ["a"] * 65}, 400, "64"),
        ("book", {"input": "a" * 500_001}, 400, "500,000"),
        ("book", {"input": 7}, 400, "input"),
        ("book", {"input": "a", "temperature": 1}, 400, "unknown field"),
        ("book", {"input": "a" * 1_100_000}, 413, "1048576"),
    ],
)
def test_http_refuses_what_it_cannot_answer(
    server: httpx.Client, path: str, body: Any, status: int, word: str
) -> None:
    answer = server.post(f"/v1/tasks/{path}", json=body)
    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]


def test_a_batch_answers_each_row_says_what_it_cannot_read_and_overwrites_nothing(
    apps: Apps, tmp_path: Path
) -> None:
    rows = [{"text": SPEECH}, {"text": ""}, {"other": 1}, {"text": NOVEL * 40}]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)) + "\nno json\n", encoding="utf-8")
    batch = ["task", "book", "--file", str(source), "--column", "text", *apps.where]
    out = tmp_path / "out.jsonl"
    said = noria(*batch, "--out", str(out))
    assert (said["answered"], said["unread"]) == (2, 3)
    found = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["line"] for row in found] == [1, 2, 3, 4, 5]
    assert [row.get("labels") for row in found] == [["speech"], None, None, ["novel"], None]
    assert "error" in found[1] and found[3]["text"] == NOVEL * 40
    before = out.read_bytes()
    book, news = (open_task(apps.recipe, name, apps.store) for name in ("book", "news"))
    with pytest.raises(UsageError, match="exists"):
        answer_file(book.model, source, out, lambda text, done, total: None)
    assert out.read_bytes() == before
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{NEWS}\n\n{NEWS}\n", encoding="utf-8")
    told = answer_file(news.model, lines, tmp_path / "n.jsonl", lambda text, done, total: None)
    assert told.num_answered == 2
    with pytest.raises(InputError, match="name the column"):
        answer_file(book.model, tmp_path / "n.jsonl", tmp_path / "no.jsonl", print, {"text": "x"})
    left = sorted(one.name for one in tmp_path.iterdir())
    assert left == ["in.jsonl", "lines.txt", "n.jsonl", "out.jsonl"]


def test_a_megabyte_and_mixed_languages_are_answered(apps: Apps) -> None:
    book, news = (open_task(apps.recipe, name, apps.store) for name in ("book", "news"))
    assert book((SPEECH + " ") * 11_000).labels == ("speech",)
    mixed = f"{YEARS} {NEWS} 🙂 {NEWS}"
    spans = news(mixed).spans
    assert [one.text for one in spans].count("江泽民") == 2
    long = (NEWS + "\n") * 8_000  # 270,000 characters, 750 kB
    found = news(long).spans
    assert all(long[one.start : one.end] == one.text for one in found)
    assert len(found) % 8_000 == 0 and len(found) >= 16_000


def test_two_ways_are_compared_side_by_side(apps: Apps) -> None:
    found = noria("compare", "opinion.scratch", "opinion.classical", *apps.where)
    row = next(one for one in found["rows"] if one["metric"] == "accuracy")
    assert found["num_records"] > 50 and -1 < row["difference"] < 1
    assert found["a"]["weight_hash"] != found["b"]["weight_hash"]


def test_a_rollback_of_an_application_has_its_own_pointer(apps: Apps) -> None:
    command = ["rollback", str(apps.recipe), *apps.where[2:], "--task"]
    assert "live before" in noria(*command, "book", exit_code=2)["error"]
    assert "book" in noria(*command, "bock", exit_code=2)["error"]
