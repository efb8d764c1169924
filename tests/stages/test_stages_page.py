"""A report shows no number of other weights; the card warns of a model that learned nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.artifacts import Artifact
from noria.cli.screen import Silent
from noria.errors import IntegrityError
from noria.evaluate.scores import Score, write_scores
from noria.stages.card import card_section
from noria.stages.page import Made, speed_rows, stored_scores
from noria.workspace import Workspace, open_workspace

OURS, OTHERS, BASE = "ab" * 32, "cd" * 32, "ef" * 32
FACTS = {"contaminated": 0, "splits": {}}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    path = tmp_path / "noria.toml"
    path.write_text('name = "small"\n[corpus]\ndocuments = ["*.txt"]\n', encoding="utf-8")
    with open_workspace(path, None, Silent()) as workspace:
        yield workspace


def score(metric: str, weights: str) -> Score:
    return Score(
        metric, 1.5, 1.4, 1.6, 20, 900, weights, "0" * 64, 1, "torch", 1.79e9, "", 0.95,
        "bootstrap", "a laptop",
    )  # fmt: skip


def scored(
    workspace: Workspace, stage: str, metric: str, weights: str, model: Artifact
) -> Artifact:
    def make(folder: Path) -> dict[str, str]:
        write_scores(folder / "scores.json", [score(metric, weights)])
        return {}

    return workspace.store.build(
        stage, make, settings={"weights": weights}, inputs={"model": model.key}
    )


def made(workspace: Workspace, measured: str, timed: str) -> Made:
    corpus = workspace.store.build("corpus", lambda _: FACTS)
    model = workspace.store.build(
        "train", lambda _: {"weight_hash": OURS}, inputs={"corpus": corpus.key}
    )
    evaluated = scored(workspace, "evaluate", "corpus.bits_per_byte", measured, model)
    fast = scored(workspace, "speed", "speed.answer_s, median", timed, model)
    return Made(corpus, corpus, model, evaluated, None, model, fast)


def test_scores_of_these_weights_are_shown(workspace: Workspace) -> None:
    whole = made(workspace, OURS, OURS)
    assert [(name, one.value) for name, one in stored_scores(workspace, whole)] == [
        ("champion", 1.5)
    ]
    (row,) = speed_rows(whole)
    assert (row.unit, row.value.value, row.machine) == ("ms", 1500.0, "a laptop")


def test_scores_of_other_weights_stop_the_report(workspace: Workspace) -> None:
    with pytest.raises(IntegrityError, match="measured on weights cdcd"):
        stored_scores(workspace, made(workspace, OTHERS, OURS))
    with pytest.raises(IntegrityError, match=r"speed.answer_s.*measured on weights cdcd"):
        speed_rows(made(workspace, OURS, OTHERS))


@pytest.mark.parametrize(("tuned", "warns"), [(BASE, True), (OURS, False)])
def test_the_card_warns_if_the_weights_equal_the_bases(
    workspace: Workspace, tuned: str, warns: bool
) -> None:
    corpus = workspace.store.build("corpus", lambda _: FACTS)
    base = workspace.store.build("base", lambda _: {"weight_hash": BASE})
    model = workspace.store.build(
        "train",
        lambda _: {"weight_hash": tuned},
        settings={"weights": tuned},
        inputs={"base": base.key, "corpus": corpus.key},
    )
    limits = card_section(workspace, corpus, model, []).limits
    assert any("equal those of its base to the bit" in one for one in limits) == warns
