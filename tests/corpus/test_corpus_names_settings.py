"""Where names go: what a recipe says of sources that are personal and of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from noria.corpus import deidentify
from noria.corpus.deidentify import deidentifier_of, require_names
from noria.errors import RecipeError, UsageError
from noria.feedback.store import FeedbackStore
from noria.recipe_file import parse_recipe
from noria.stages.text import FIRST_CORPUS_SETTINGS, _corpus_settings, acting_replacements
from noria.text_settings import CorpusSettings

SAYS_NOTHING, OFF = CorpusSettings(), CorpusSettings(names="off")
EVERYWHERE = CorpusSettings(names="replace")


@pytest.fixture
def lean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deidentify, "is_installed", lambda: False)


@pytest.mark.usefixtures("lean")
def test_without_the_extra_feedback_is_refused_unless_the_recipe_says_off() -> None:
    with pytest.raises(UsageError, match=r"noria\[pii\].*names = \"off\""):
        require_names(SAYS_NOTHING, personal=True)
    require_names(OFF, personal=True)
    require_names(SAYS_NOTHING, personal=False)
    with pytest.raises(UsageError, match="pii"):
        require_names(EVERYWHERE, personal=False)


@pytest.mark.usefixtures("lean")
def test_nothing_of_refused_feedback_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = FeedbackStore(path, lambda: deidentifier_of(SAYS_NOTHING, personal=True))
    with pytest.raises(UsageError, match="pii"):
        store.record_interaction(
            tenant="acme",
            interaction_id="1",
            model_name="m",
            weight_hash="ab" * 32,
            kind="completion",
            prompt="I am Wenna Oldacre",
            answer="Hello",
        )
    assert store.interactions("acme") == []
    store.close()


def test_names_in_feedback_are_replaced_before_they_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = FeedbackStore(path, lambda: deidentifier_of(SAYS_NOTHING, personal=True))
    stored = store.record_interaction(
        tenant="acme",
        interaction_id="1",
        model_name="m",
        weight_hash="ab" * 32,
        kind="completion",
        prompt="My name is Ilse Torvik.",
        answer="Hello Ilse Torvik, your mail is ilse@firma.de",
    )
    store.close()
    assert stored.prompt == "My name is [PERSON]."
    assert "Torvik" not in stored.answer and stored.answer.endswith("your mail is [EMAIL]")
    assert b"Torvik" not in path.read_bytes()


def test_only_what_acts_is_in_a_corpus_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert set(_corpus_settings(SAYS_NOTHING)) == FIRST_CORPUS_SETTINGS
    assert _corpus_settings(OFF) == _corpus_settings(SAYS_NOTHING)
    assert _corpus_settings(EVERYWHERE)["names"] == "replace"
    assert acting_replacements(OFF, personal=True) == {}
    assert acting_replacements(SAYS_NOTHING, personal=True) == {"names": "replace"}
    surrogate = CorpusSettings(replacement="surrogate")
    kept = CorpusSettings(replacement="surrogate", identities="keep")
    assert acting_replacements(kept, personal=False) == {}
    first = _corpus_settings(surrogate)["replacement"]
    assert first == _corpus_settings(surrogate)["replacement"]
    (tmp_path / ".config" / "noria" / "replacement.key").unlink()
    assert first != _corpus_settings(surrogate)["replacement"]


def test_a_key_of_stand_ins_is_made_only_where_something_is_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    kept = CorpusSettings(replacement="surrogate", identities="keep", names="off")
    assert deidentifier_of(kept, personal=False).key is None
    assert list(tmp_path.iterdir()) == []
    assert deidentifier_of(kept, personal=True).key is not None
    assert (tmp_path / ".config" / "noria" / "replacement.key").exists()


def test_names_can_not_go_where_identities_stay() -> None:
    text = 'name = "a"\n[corpus]\ndocuments = ["a"]\nidentities = "keep"\nnames = "replace"\n'
    with pytest.raises(RecipeError, match=r"corpus.names"):
        parse_recipe(text)
