"""What a hostile or unlucky user tries: each is refused with one clear line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from noria.cli import main
from noria.corpus.read import Wanted, find_files, read_file
from noria.errors import FormatError, InputError, RecipeError
from noria.lock import Lock
from noria.recipe_file import parse_recipe
from noria.train.choices import choices_from_lock

RECIPE = 'name = "bad"\n[corpus]\ndocuments = ["*.txt"]\n'
GOOD_CHOICES = {
    "precision": "float32",
    "compile": False,
    "micro_batch_sequences": 4,
    "num_threads": 1,
    "tokens_per_s": 5.0,
}


def ended(capsys, monkeypatch, *words: str) -> tuple[int, str, str]:  # type: ignore[no-untyped-def]
    """Run a verb in this process: exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["noria", *words])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert "Traceback" not in said.err and "mistake in Noria" not in said.err
    assert isinstance(end.value.code, int)
    return end.value.code, said.out, said.err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--frob"],
        ["promote"],
        ["frob"],
        ["chat", "x.toml", "-m", "a", "--max-tokens", "b"],
        [],
    ],
)
def test_wrong_usage_is_one_line_and_json(capsys, monkeypatch, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, out, err = ended(capsys, monkeypatch, *words, "--json")
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert json.loads(out)["exit_code"] == 2


@pytest.mark.parametrize("store", ["/dev/null", "/dev/null/x", "/proc/x", "/tmp/" + "a" * 300])
def test_a_store_that_can_not_be_made_is_named(  # type: ignore[no-untyped-def]
    capsys, monkeypatch, tmp_path: Path, store: str
) -> None:
    (tmp_path / "noria.toml").write_text(RECIPE)
    code, _, err = ended(
        capsys, monkeypatch, "check", str(tmp_path / "noria.toml"), "--store", store
    )
    assert code == 2 and "--store" in err


def test_an_argument_that_is_no_text_is_refused(capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    code, _, err = ended(capsys, monkeypatch, "trace", "\udcff" * 8)
    assert code == 2 and "text in UTF-8" in err


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def interrupted(**_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("noria.cli.app", interrupted)
    code, _, err = ended(capsys, monkeypatch, "run")
    assert code == 1 and "run the same command again" in err


def test_a_model_larger_than_memory_is_refused_before_it_is_made(  # type: ignore[no-untyped-def]
    capsys, monkeypatch, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("The whale swam on, and the ship with it.\n\n" * 200)
    (tmp_path / "noria.toml").write_text(RECIPE + '[model]\npreset = "decoder-90b"\n')
    code, _, err = ended(capsys, monkeypatch, "check", str(tmp_path / "noria.toml"))
    assert code == 2 and "GiB to train" in err


@pytest.mark.parametrize("glob", [r"C:\x\*.txt", 'a"b.txt', "新/*.txt", "a\nb.txt"])
def test_init_writes_a_recipe_that_can_be_read_whatever_the_glob(  # type: ignore[no-untyped-def]
    capsys, monkeypatch, tmp_path: Path, glob: str
) -> None:
    code, _, _ = ended(capsys, monkeypatch, "init", str(tmp_path / "m"), "--documents", glob)
    assert code == 0
    text = (tmp_path / "m" / "noria.toml").read_text(encoding="utf-8")
    assert parse_recipe(text).corpus.documents == (glob,)


@pytest.mark.parametrize("line", ["seed = " + "9" * 5000, "seed = " + "[" * 3000])
def test_endless_toml_is_a_mistake_with_its_line(line: str) -> None:
    with pytest.raises(RecipeError, match=r"noria\.toml"):
        parse_recipe(f'name = "a"\n{line}\n')


def test_an_endless_number_is_no_learning_rate() -> None:
    with pytest.raises(RecipeError, match="learning_rate"):
        parse_recipe(RECIPE + "[train]\nlearning_rate = " + "9" * 400 + "\n")


@pytest.mark.parametrize("glob", [".", "/", "t/" * 2000 + "x", "t/" + "a" * 5000])
def test_a_glob_that_is_none_is_an_input_error(tmp_path: Path, glob: str) -> None:
    with pytest.raises(InputError):
        find_files([glob], tmp_path, {})


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one text")
    (file,) = find_files(["a.txt"], tmp_path, {})
    (tmp_path / "a.txt").write_text("another text")
    with pytest.raises(InputError, match=r"a\.txt changed while it was read"):
        list(read_file(file, Wanted(), lambda shape, how: None))


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "float8"},
        {"compile": "yes"},
        {"num_threads": 0},
        {"micro_batch_sequences": "4"},
        {"tokens_per_s": 0},
    ],
)
def test_a_lock_entry_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    assert choices_from_lock(GOOD_CHOICES).num_threads == 1
    with pytest.raises(FormatError, match="delete the lock to measure again"):
        choices_from_lock({**GOOD_CHOICES, **change})


@pytest.mark.parametrize("text", ["{}", '{"lock_format": 1, "choices": {"k": 3}}', "[" * 100_000])
def test_a_damaged_lock_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "noria.lock").write_text(text)
    with pytest.raises(FormatError, match="delete it to measure again"):
        Lock(tmp_path / "noria.lock").entries()
