"""The process that parses model files: it holds no secret, may die at any time, and comes back."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from serving_world import NAME, TASK, TENANT, World, events

from noria.runtime import child_process_ids
from noria.serve import live
from noria.serve.worker import keeper
from noria.serve.worker.keeper import Worker

PLANTED = "planted-secret-4711"
LONG = {"model": NAME, "prompt": "Where", "max_tokens": 4000, "stream": True}


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that tests may kill, begun by a process full of secrets."""
    secrets = tmp_path_factory.mktemp("secrets") / "master.key"
    secrets.write_text(PLANTED, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, secrets.open() as held:
        os.set_inheritable(held.fileno(), True)
        for name in ("NORIA_MASTER_KEY", "NORIA_DATABASE", "AWS_SECRET_ACCESS_KEY", "HOME"):
            patch.setenv(name, PLANTED)
        with Worker(num_threads=1) as worker:
            worker.wait()
            yield worker


@pytest.fixture
def two(world: World, mortal: Worker) -> World:
    """A world of a language model and an application in that worker."""
    world.promote("a")
    world.promote_task()
    world.start(worker=mortal)
    return world


@pytest.fixture
def no_gc() -> Iterator[None]:
    """What is freed here has not waited to be found as a ring of references."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kill(worker: Worker) -> None:
    """End it as the system does when memory is short, and wait until it is known."""
    num_before = worker.num_started
    os.kill(worker.process_id, signal.SIGKILL)
    World.until(lambda: worker.num_started > num_before, 30)


def test_the_worker_holds_no_secret(two: World, mortal: Worker) -> None:
    assert two.openai().completions.create(model=NAME, prompt="Where", max_tokens=2)
    about = Path(f"/proc/{mortal.process_id}")
    assert PLANTED in os.environ["NORIA_MASTER_KEY"]  # so that there was something to inherit
    environment = (about / "environ").read_bytes()
    assert PLANTED.encode() not in environment and b"NORIA_" not in environment
    assert str(two.root) not in (about / "cmdline").read_text()
    assert (about / "cwd").resolve() == Path("/")
    opened = [one.readlink() for one in (about / "fd").iterdir()]
    files = [one for one in opened if one.is_absolute() and not str(one).startswith("/dev/")]
    read = [one for one in files if one.is_relative_to(two.root / "artifacts")]
    ours = {(Path("/proc/self/fd/2")).readlink()}  # of the parent's, standard error alone
    assert read and set(files) - set(read) <= ours
    assert len([one for one in opened if str(one).startswith("socket:")]) == 1
    status = (about / "status").read_text()
    assert "NoNewPrivs:\t1" in status
    limits = (about / "limits").read_text()
    assert any(line.split()[4:6] == ["0", "0"] for line in limits.splitlines() if "core" in line)


def test_when_the_worker_dies_its_requests_fail_with_503_and_the_next_one_answers(
    two: World, mortal: Worker
) -> None:
    client = two.http(two.key)
    weights = two.hashes["a"]
    failed: list[Any] = []
    whole = {**LONG, "stream": False}
    asking = threading.Thread(
        target=lambda: failed.append(two.http(two.key).post("/v1/completions", json=whole))
    )
    num_before = two.health()["worker"]["started"]
    with client.stream("POST", "/v1/completions", json=LONG) as stream:
        lines = stream.iter_lines()
        next(lines)
        asking.start()
        two.until(lambda: two.health()["running"] == 2)
        os.kill(mortal.process_id, signal.SIGKILL)
        rest = list(lines)
    asking.join()
    last = [one for one in rest if one][-1]
    assert events(last)[0]["error"]["code"] == "worker"  # and no [DONE]
    assert (failed[0].status_code, failed[0].json()["error"]["code"]) == (503, "worker")
    assert int(failed[0].headers["retry-after"]) >= 1
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "unavailable"})
    refused = client.post("/v1/tasks/tongue", json={"input": "Where?"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_live_model")
    assert two.health()["worker"]["ready"] is False
    two.until(lambda: client.get("/ready").status_code == 200, 30)
    two.until(lambda: two.health()["status"] == "ok")
    health = two.health()
    assert health["weight_hash"] == weights and health["worker"]["started"] == num_before + 1
    assert (health["running"], health["waiting"]) == (0, 0)
    answer = two.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert (answer.choices[0].text, answer.weight_hash) == ("aaa", weights)
    assert client.post(f"/v1/tasks/{TASK}", json={"input": "Where?"}).status_code == 200
    assert [one.answer for one in two.feedback.interactions(TENANT) if one.kind != "task"] == [
        "aaa"
    ]  # what broke off was not kept as answered


def promote_what_hangs(world: World) -> None:
    """Make a version live whose file nobody can read to its end."""
    folder = world.root / "artifacts" / "deadly"
    world.write("b")
    (world.root / "artifacts" / "always-b").rename(folder)
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")  # whoever reads it waits, until he is killed
    world.registry.register(TENANT, NAME, "d" * 64, "artifacts/deadly", "made by hand")
    world.registry.promote(TENANT, NAME, "d" * 64, "test", "test")


def test_a_version_that_the_worker_dies_of_leaves_the_old_one_answering(
    two: World, mortal: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", 300.0)
    num_before = mortal.num_started
    promote_what_hangs(two)
    time.sleep(1.0)
    answer = two.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert answer.choices[0].text == "aaa"  # a load that takes for ever stops nobody
    assert two.health()["status"] == "ok"  # it still waits
    kill(mortal)
    two.until(lambda: two.health()["status"] == "degraded", 30)
    two.until(lambda: two.health()["weight_hash"] == two.hashes["a"], 30)
    assert two.health()["load_error"]
    answer = two.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert answer.choices[0].text == "aaa"
    assert mortal.num_started == num_before + 1
    two.registry.rollback(TENANT, NAME, "test", "deadly")
    two.until(lambda: two.health()["status"] == "ok")


def test_a_version_that_is_never_loaded_is_given_up(
    two: World, mortal: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", 300.0)
    monkeypatch.setattr(keeper, "LOAD_WITHIN_S", 5.0)
    num_before = mortal.num_started
    promote_what_hangs(two)
    two.until(lambda: mortal.num_started > num_before, 30)  # nobody killed it
    two.until(lambda: two.health()["weight_hash"] == two.hashes["a"], 30)
    assert two.health()["status"] == "degraded"
    assert "not loaded within 5 s" in two.health()["load_error"]
    answer = two.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert answer.choices[0].text == "aaa"
    assert mortal.num_started == num_before + 1


def test_a_version_that_workers_die_of_is_tried_again_ever_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.promote("a")
    clock, tried_at = [1000.0], []

    def dies(_: Path) -> Any:
        tried_at.append(clock[0])
        raise live.DiedLoading("it ended")

    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    models: live.LiveModels[Any] = live.LiveModels(world.registry, NAME, world.root, dies)
    for _ in range(220):
        models.follow_once()
        clock[0] += 5.0
    waits = [after - before for before, after in pairwise(tried_at)]
    assert waits[:5] == [5.0, 20.0, 80.0, 320.0, 600.0]
    assert "it ended" in models.error(TENANT) and models.state == "unavailable"


def test_a_swapped_out_model_is_unloaded_when_its_last_answer_has_ended(
    two: World, no_gc: None
) -> None:
    num_loaded = two.health()["worker"]["models"]  # ours, and maybe of worlds that have ended
    client = two.http(two.key)
    with client.stream("POST", "/v1/completions", json=LONG) as stream:
        lines = stream.iter_lines()
        next(lines)
        two.wait_for(two.promote("b"))
        assert two.health()["worker"]["models"] > num_loaded  # the stream ends on its weights
    two.until(lambda: two.health()["worker"]["models"] <= num_loaded)
    answer = two.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert answer.choices[0].text == "bbb"


def test_neither_ctrl_c_nor_sigterm_ends_the_worker_before_the_server(
    two: World, mortal: Worker
) -> None:
    assert os.getpgid(mortal.process_id) != os.getpgid(0)  # a terminal's Ctrl-C is not for it
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(mortal.process_id, number)
    answer = two.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert answer.choices[0].text == "aaa" and two.health()["worker"]["ready"]


PARENT = """
import sys, time
from noria.serve.worker.keeper import Worker
worker = Worker(num_threads=1)
worker.start()
worker.wait()
print(worker.process_id, flush=True)
time.sleep(60)
"""


def test_the_worker_ends_with_its_server_even_in_the_middle_of_a_load(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker_id = int(parent.stdout.readline())
        assert child_process_ids(parent.pid) == [worker_id]
        parent.kill()
    World.until(lambda: not Path(f"/proc/{worker_id}").exists())


PRIVATE = """
import ctypes
from noria.runtime import keep_memory_private
keep_memory_private()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""


def test_the_servers_memory_is_closed_to_its_worker() -> None:
    done = subprocess.run([sys.executable, "-c", PRIVATE], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr
