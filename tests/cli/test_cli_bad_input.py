"""Bad input: one clear line, exit code 2, never a traceback."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from noria.cli import main
from noria.cli.screen import Silent
from noria.pipeline import Outcome
from noria.stages.reading import source_files
from noria.workspace import open_workspace

RECIPE = 'name = "bad"\n[corpus]\ndocuments = ["texts/*.txt"]\n'
TEXT = "The whale swam on. 鲸鱼继续游。\n\n" * 40


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "good.txt").write_text(TEXT, encoding="utf-8")
    path = tmp_path / "noria.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def said(capsys: pytest.CaptureFixture[str], monkeypatch, *words: str) -> tuple[int, str]:  # type: ignore[no-untyped-def]
    """Run a verb in this process; returns its exit code and standard error."""
    monkeypatch.setattr(sys, "argv", ["noria", *words])
    monkeypatch.setattr("noria.runtime.lower_priority", lambda: None)  # of all tests after it
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert "Traceback" not in error
    code = end.value.code
    assert isinstance(code, int)
    return code, error


@pytest.mark.parametrize("verb", ["run", "check"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, None, "texts/no-such.txt"),
        ("empty.txt", b"", "empty.txt"),
        ("binary.txt", b"PK\x03\x04\x00\x00\x00" * 50, "binary.txt"),
    ],
)
def test_a_bad_text_file_is_named(  # type: ignore[no-untyped-def]
    recipe: Path, capsys, monkeypatch, verb: str, name: str | None, content, message: str
) -> None:
    if name is None:
        recipe.write_text(RECIPE.replace("texts/*.txt", "texts/no-such.txt"))
    else:
        (recipe.parent / "texts" / name).write_bytes(content)
    code, error = said(capsys, monkeypatch, verb, str(recipe))
    assert code == 2
    assert message in error
    assert not list(recipe.parent.glob("runs/bad/artifacts/*"))


def test_invalid_utf8_names_its_line(recipe: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (recipe.parent / "texts" / "latin.txt").write_bytes("好\n一二\ncaf".encode() + b"\xe9\n")
    code, error = said(capsys, monkeypatch, "run", str(recipe))
    assert code == 2
    assert "latin.txt:3" in error and "UTF-8" in error


@pytest.mark.parametrize(
    "line", ['{"messages": [', '{"messages": 3}', '["a"]', '{"messages": [{"role": "king"}]}']
)
def test_a_malformed_json_line_names_file_and_line(  # type: ignore[no-untyped-def]
    recipe: Path, capsys, monkeypatch, line: str
) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    good = json.dumps({"messages": turns})
    (recipe.parent / "talk.jsonl").write_text(f"{good}\n{good}\n{line}\n")
    recipe.write_text(RECIPE + 'conversations = ["talk.jsonl"]\n')
    code, error = said(capsys, monkeypatch, "run", str(recipe))
    assert code == 2
    assert "talk.jsonl:3" in error


def test_an_unknown_key_suggests_the_known_one(recipe: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    recipe.write_text(RECIPE + "[train]\nlearning_rat = 0.1\n")
    code, error = said(capsys, monkeypatch, "run", str(recipe))
    assert code == 2
    assert "noria.toml:5: train.learning_rat" in error
    assert "did you mean 'learning_rate'?" in error


def test_check_finds_the_mistakes_of_several_files_at_once(  # type: ignore[no-untyped-def]
    recipe: Path, capsys, monkeypatch
) -> None:
    recipe.write_text(
        'name = "bad"\n[corpus]\ndocuments = ["a/*.txt", "b/*.txt"]\nconversations = ["c.jsonl"]\n'
    )
    code, error = said(capsys, monkeypatch, "check", str(recipe))
    assert code == 2
    assert "the recipe has 3 mistakes" in error
    assert "noria.toml:3" in error and "noria.toml:4" in error


def test_an_unknown_model_says_what_to_do(recipe: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for words in (
        ["chat", str(recipe), "-m", "hello"],
        ["chat", str(recipe), "-m", "hello", "--model", "abcdef123"],
        ["promote", "abcdef123", "-r", str(recipe)],
        ["serve", str(recipe)],
        ["improve", str(recipe)],
        ["trace", "abcdef123", "-r", str(recipe)],
    ):
        code, error = said(capsys, monkeypatch, *words)
        assert (code, len(error.strip().splitlines())) == (2, 1), error
    recipe.write_text(RECIPE + '[model]\npreset = "gpt-5"\n')
    code, error = said(capsys, monkeypatch, "run", str(recipe))
    assert code == 2
    assert "model.preset" in error and "decoder-10m" in error


def test_a_missing_recipe_says_how_to_write_one(capsys, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for verb in ("run", "check", "chat", "serve", "improve", "rollback"):
        code, error = said(capsys, monkeypatch, verb, str(tmp_path / "no.toml"))
        assert code == 2
        assert "noria init" in error


def test_init_never_overwrites(recipe: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    before = recipe.read_bytes()
    code, _ = said(capsys, monkeypatch, "init", str(recipe.parent))
    assert code == 2
    assert recipe.read_bytes() == before


def test_what_to_do_next_can_be_pasted_and_any_text_lies_where_it_says(  # type: ignore[no-untyped-def]
    tmp_path: Path, capsys, monkeypatch
) -> None:
    folder = tmp_path / "my own 模型"
    monkeypatch.setattr(sys, "argv", ["noria", "init", str(folder)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    recipe = folder / "noria.toml"
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[-2:] == ["check", str(recipe)]
    (folder / "texts" / "more").mkdir(parents=True)
    for name in ("a.txt", "b.md", "more/c.html"):
        (folder / "texts" / name).write_text(TEXT, encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        found = source_files(workspace, workspace.recipe.corpus.documents)
    assert [one.name for one in found] == ["texts/a.txt", "texts/b.md", "texts/more/c.html"]
    code, error = said(capsys, monkeypatch, "chat", str(recipe), "-m", "Hello")
    assert code == 2
    assert shlex.split(error)[-3:] == ["noria", "run", str(recipe)]


def test_what_to_do_next_names_the_store_that_was_named(  # type: ignore[no-untyped-def]
    recipe: Path, capsys, monkeypatch
) -> None:
    outcome = Outcome("a" * 64, "not asked", Path("report.html"), {"intent": "b" * 64})
    monkeypatch.setattr("noria.pipeline.run", lambda workspace: outcome)
    for store in (["--store", str(recipe.parent / "a store")], []):
        monkeypatch.setattr(sys, "argv", ["noria", "run", str(recipe), *store])
        with pytest.raises(SystemExit):
            main()
        _, _, after = capsys.readouterr().out.partition("next:\n")
        commands = [shlex.split(line) for line in after.splitlines()]
        assert len(commands) == 3
        assert all(one[-2:] == store if store else "--store" not in one for one in commands)


def test_json_errors_are_json(recipe: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    recipe.write_text("name = 3\n")
    monkeypatch.setattr(sys, "argv", ["noria", "check", str(recipe), "--json"])
    with pytest.raises(SystemExit):
        main()
    value = json.loads(capsys.readouterr().out)
    assert value["exit_code"] == 2 and "name = 3" in value["error"]


def test_no_space_left_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    """A real full disk: a small tmpfs in a mount namespace of this test's own."""
    (tmp_path / "texts").mkdir()
    lines = (f"Line {n} tells of whale number {n * 7919 % 10007}.\n\n" for n in range(40_000))
    (tmp_path / "texts" / "long.txt").write_text("".join(lines), encoding="utf-8")
    recipe = tmp_path / "noria.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=600k tmpfs {disk} && "
        f"{sys.executable} -m noria run {recipe} --store {disk}/store; code=$?; "
        f"ls -A {disk}/store/artifacts; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "noria: no space left on the disk" in done.stderr
    assert "what was there is intact" in done.stderr
    assert done.stdout.strip() == ""  # nothing half-written is left


def test_two_runs_at_once_are_refused(recipe: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import fcntl

    root = recipe.parent / "runs" / "bad"
    root.mkdir(parents=True)
    with (root / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for verb in ("run", "improve"):
            code, error = said(capsys, monkeypatch, verb, str(recipe))
            assert code == 2
            assert "another process is running or improving" in error


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    from noria.errors import PortInUse
    from noria.serve.run import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)) as caught:
            serve(None, "127.0.0.1", port, lambda url: None)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


BASE = RECIPE + '[model]\nbase = "{base}"\n'


@pytest.mark.parametrize(
    ("base", "content", "message"),
    [
        ("smollm3-9t", None, "smollm2-135m-instruct, or a folder"),
        ("no-such.gguf", None, "smollm2-135m-instruct, or a folder"),
        ("noise.gguf", b"not a model at all, only some words", "noise.gguf"),
        ("cut.gguf", b"GGUF\x03\x00\x00\x00" + b"\xff" * 8, "cut.gguf"),
        ("empty.gguf", b"", "empty.gguf"),
        ("texts", None, "holds no weights"),
    ],
)
def test_a_base_that_is_none_is_refused_before_anything_is_stored(  # type: ignore[no-untyped-def]
    recipe: Path, capsys, monkeypatch, base: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (recipe.parent / base).write_bytes(content)
    recipe.write_text(BASE.format(base=base))
    code, error = said(capsys, monkeypatch, "check", str(recipe))
    assert code == 2
    assert message in error
    assert not list(recipe.parent.glob("runs/bad/artifacts/base*"))
