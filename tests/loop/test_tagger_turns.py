"""A tagger that learns from corrected spans, on a Chinese newspaper of 1998."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from simulated_people import keep
from tagged_news import Text, tagged_news

from noria.cli.screen import Silent
from noria.stages.improve_task import improve_task
from noria.stages.task_names import task_version
from noria.stages.tasks import build_task
from noria.tasks.task_model import load_task_model
from noria.workspace import Workspace, open_workspace

RECIPE = """name = "names"
[corpus]
names = "off"
[improve]
held_out = 0.1
[gate]
review = false
[tasks.t]
kind = "tag"
files = ["own.conll"]
held_out = ["held_out.conll"]
test = ["test.conll"]
ways = ["classical"]
minutes = 0.06
"""


def write_conll(path: Path, texts: list[Text]) -> None:
    """A character and its tag a line."""
    with path.open("w", encoding="utf-8") as out:
        for text, spans in texts:
            for place, character in enumerate(text):
                tag = next((s for s in spans if s.start <= place < s.end), None)
                kind = "O" if tag is None else f"{'B' if place == tag.start else 'I'}-{tag.tag}"
                out.write(f"{character}\t{kind}\n")
            out.write("\n")


def let_people_correct(workspace: Workspace, texts: list[Text]) -> None:
    """People say which spans each text has, and confirm the answers that are right."""
    version = task_version(workspace.registry, workspace.recipe, "t")
    model = load_task_model(workspace.root / version.artifact_path)
    answers = model.predict([text for text, _ in texts])
    for number, ((text, spans), answer) in enumerate(zip(texts, answers, strict=True)):
        right = [{"start": s.start, "end": s.end, "tag": s.tag} for s in spans]
        said = [("correction", json.dumps({"spans": right}, ensure_ascii=False))]
        keep(workspace, "t", version.weight_hash, text, answer.as_json(), said, f"reader {number}")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("names")
    texts = tagged_news(700)
    for name, some in (
        ("own", texts[:90]),
        ("held_out", texts[90:330]),
        ("test", texts[330:400]),
    ):
        write_conll(folder / f"{name}.conll", some)
    (folder / "names.toml").write_text(RECIPE, encoding="utf-8")
    with open_workspace(folder / "names.toml", None, Silent()) as workspace:
        build_task(workspace, "t")
        let_people_correct(workspace, texts[400:])
        return improve_task(workspace, "t")


def test_corrected_spans_make_a_tagger_better_than_its_control(outcome: dict[str, object]) -> None:
    found = outcome["contribution"]
    assert outcome["metric"] == "micro_f1" and isinstance(found, dict)
    assert found["low"] > 0, outcome["report"]
    assert isinstance(outcome["report"], list) and "t.micro_f1 >= champion" in outcome["report"][1]
    assert outcome["decision"] == "promote" and outcome["live"] == outcome["challenger"]
