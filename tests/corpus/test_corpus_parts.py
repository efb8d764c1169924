"""Parts: any number of processes, any cut, any stop, the same bytes."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from noria.corpus import parts, prepare, workers
from noria.corpus.kept import whole_text
from noria.corpus.parts import make_part
from noria.corpus.prepare import prepare_corpus
from noria.corpus.read import Request, Wanted, find_files
from noria.corpus.shingles import WordHasher
from noria.corpus.table import MAX_OPEN_FILES, Table
from noria.corpus.workers import Task, Workers
from noria.errors import InputError, MissingExtra, NoriaError
from noria.records import Document, content_text
from noria.text_settings import CorpusSettings, QualitySettings

_WORDS = "harbour lamp keeper storm north boat rope night rain captain letter stair"
WORDS = _WORDS.split()
SETTINGS = CorpusSettings(
    held_out=0.1, test=0.1, boilerplate=0.3, quality=QualitySettings(judge="cut")
)


def _page(draw: random.Random) -> str:
    lines = [" ".join(draw.choices(WORDS, k=12)) + f" {draw.randrange(10**6)}." for _ in range(6)]
    return "\n".join(["Home | Contact | keeper@light.example", *lines])


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """Sixty small files, one larger one of JSON lines with wrong rows, chats, and copies."""
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(1)
    (folder / "site").mkdir()
    for n in range(60):
        (folder / "site" / f"{n:02}.txt").write_text(_page(draw), encoding="utf-8")
    (folder / "site" / "copy.txt").write_bytes((folder / "site" / "07.txt").read_bytes())
    near = (folder / "site" / "08.txt").read_text(encoding="utf-8") + " 港口的灯又亮了。"
    rows = [json.dumps({"text": _page(draw)}) for _ in range(200)]
    rows[10:10] = ["{", json.dumps({"text": near}), json.dumps({"text": 7})]
    (folder / "large.jsonl").write_text("\n".join(rows), encoding="utf-8")
    chat = [
        {
            "messages": [
                {"role": "user", "content": f"Boat {n}?"},
                {"role": "assistant", "content": w},
            ]
        }
        for n, w in enumerate(WORDS * 3)
    ]
    (folder / "chat.jsonl").write_text("\n".join(map(json.dumps, chat)), encoding="utf-8")
    files = find_files(["site", "large.jsonl", "chat.jsonl"], folder, {})
    return [Request(file, Wanted()) for file in files]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(folder.glob("*.json*"))}


def _prepare(requests: list[Request], out: Path, num_workers: int = 1, **more: Any) -> None:
    prepare_corpus(requests, SETTINGS, 1, out, lambda *_: None, num_workers=num_workers, **more)


@pytest.fixture(scope="module")
def whole(requests: list[Request], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of it all in one part."""
    out = tmp_path_factory.mktemp("whole")
    _prepare(requests, out)
    return _bytes(out)


def test_the_corpus_has_something_of_everything(whole: dict[str, bytes]) -> None:
    report = json.loads(whole["report.json"])
    assert report["exact_duplicates"] == 1 and report["near_duplicates"] >= 1
    assert report["quarantined"]["total"] == 2 and report["boilerplate"]
    assert report["identities"]["EMAIL"] > 200 and report["splits"]["test"]["records"]


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_parts_and_processes_change_no_byte(
    requests: list[Request],
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_workers: int,
) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 3000)
    monkeypatch.setattr(parts, "LARGE_BYTES", 30_000)
    monkeypatch.setattr(prepare, "WORKER_BYTES", 1)
    monkeypatch.setattr("noria.corpus.decontaminate.CHUNK_CHARACTERS", 5000)
    _prepare(requests, tmp_path / "out", num_workers)
    assert _bytes(tmp_path / "out") == whole


def test_records_in_table_are_those_that_were_read(
    requests: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_FILES", 1)
    assert len(requests) > 60 >= MAX_OPEN_FILES - 4
    table = Table(tmp_path / "parts")
    settings = CorpusSettings(identities="keep", min_characters=1)
    with Workers(1) as crew, (tmp_path / "q").open("w") as quarantine:
        parts.read_parts(requests, settings, table, quarantine, crew, lambda *_: None)
    entries = table.entries()
    assert len(entries) == 61 + 201 + 36
    for one in [*entries, *entries[::-1]]:  # more files than are kept open
        record = one.record
        assert (record.source, record.group, record.synthetic) == (
            *(one.source, one.group),
            one.synthetic,
        )
        text = whole_text(record)
        assert (whole_text(one), one.num_characters) == (text, len(text))
        assert one.words.tolist() == WordHasher().words(text).tolist()
        if isinstance(record, Document):
            assert content_text(record.content) == text
    table.close()


_CHILD = """
import json, sys
from pathlib import Path
from noria.corpus import parts, prepare
from noria.corpus.read import Request, SourceFile, Wanted
from noria.text_settings import CorpusSettings, QualitySettings
parts.PART_BYTES, parts.LARGE_BYTES, prepare.WORKER_BYTES = 3000, 30_000, 1
files, scratch, out, workers = json.loads(sys.argv[1])
requests = [Request(SourceFile(n, Path(p), s), Wanted()) for n, p, s in files]
settings = CorpusSettings(
    held_out=0.1, test=0.1, boilerplate=0.3, quality=QualitySettings(judge="cut")
)
print("begun", flush=True)
prepare.prepare_corpus(
    requests, settings, 1, Path(out), lambda *_: None, (), Path(scratch), workers
)
"""


def test_killed_at_any_moment_and_begun_again_it_is_the_same(
    requests: list[Request], whole: dict[str, bytes], tmp_path: Path
) -> None:
    files = [[one.file.name, str(one.file.path), one.file.sha256] for one in requests]
    draw = random.Random(3)
    killed = 0
    finished: dict[str, int] = {}
    for attempt in range(6):
        given = [files, str(tmp_path / "unfinished"), str(tmp_path / "out"), 1 + attempt % 2]
        command = [sys.executable, "-c", _CHILD, json.dumps(given)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
            assert child.stdout is not None and child.stdout.readline() == b"begun\n"
            time.sleep(draw.uniform(0.05, 0.5))
            os.killpg(child.pid, signal.SIGKILL)
            killed += child.wait() == -signal.SIGKILL
        for name, made_at in finished.items():  # what was finished is not made again
            path = tmp_path / "unfinished" / "parts" / name
            assert not path.exists() or path.stat().st_mtime_ns == made_at
        finished = {
            one.name: one.stat().st_mtime_ns
            for one in (tmp_path / "unfinished" / "parts").glob("*.json")
        }
    assert killed >= 3
    given = [files, str(tmp_path / "unfinished"), str(tmp_path / "out"), 2]
    subprocess.run([sys.executable, "-c", _CHILD, json.dumps(given)], check=True)
    assert _bytes(tmp_path / "out") == whole
    assert not (tmp_path / "unfinished").exists()


def end_with(task: Task) -> Task:
    """A task that ends its process, or raises."""
    if task.get("status"):
        os._exit(task["status"])
    if task.get("full"):
        raise OSError(errno.ENOSPC, "No space left on device", "disk/part")
    raise MissingExtra("a library", "data") if task.get("extra") else InputError("a", "b", "c")


@pytest.fixture
def found_by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.mark.usefixtures("found_by_processes")
def test_a_process_that_ends_is_told_with_what_to_do() -> None:
    with (
        pytest.raises(NoriaError, match=r"status 9.*finished parts are kept.*workers = 1"),
        Workers(2) as crew,
    ):
        list(crew.map(end_with, [{"status": 9}] * 3))


@pytest.mark.usefixtures("found_by_processes")
def test_an_error_in_a_process_is_the_same_error_here() -> None:
    for task, kind, match in [
        ({}, InputError, "a; expected b; c"),
        ({"extra": 1}, MissingExtra, "'noria"),
    ]:
        with pytest.raises(kind, match=match), Workers(2) as crew:
            list(crew.map(end_with, [task]))


@pytest.mark.usefixtures("found_by_processes")
def test_a_full_disk_in_a_process_is_a_full_disk_here() -> None:
    with pytest.raises(OSError, match=r"No space left.*disk/part") as caught, Workers(2) as crew:
        list(crew.map(end_with, [{"full": 1}]))
    assert caught.value.errno == errno.ENOSPC


def test_processes_end_when_their_parent_is_killed() -> None:
    code = (
        "from noria.corpus.workers import Workers\n"
        "crew = Workers(2)\ncrew._start()\n"
        "print(*[one.pid for one in crew._processes], flush=True)\n"
        "import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}/cmdline").exists() and _alive(pid) for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail("they live on")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_work_is_found_by_its_name() -> None:
    assert workers.work_named(workers.name_of(make_part)) is make_part


def test_ctrl_c_while_reading_says_how_to_go_on_and_leaves_no_process(
    requests: list[Request], tmp_path: Path
) -> None:
    text = "\n\n".join(f"{request.file.path.read_text(encoding='utf-8')}" for request in requests)
    (tmp_path / "large.txt").write_text(text * 60, encoding="utf-8")
    recipe = tmp_path / "noria.toml"
    recipe.write_text('name = "c"\n[corpus]\ndocuments = ["large.txt"]\nworkers = 2\n')
    command = [sys.executable, "-m", "noria", "run", str(recipe)]
    # a job in the background of a shell inherits that Ctrl-C is ignored
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=heard
    ) as running:
        parts_folder = tmp_path / "runs" / "c" / "unfinished"
        while not list(parts_folder.glob("*/parts/*.json")) and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert b"stopped by hand; run the same command again to go on" in said
    assert b"Traceback" not in said
    assert list(parts_folder.glob("*/parts/*.json"))
