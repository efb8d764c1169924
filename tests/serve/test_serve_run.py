"""The server's process: its address, and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from serving_world import NAME, World

from noria.errors import PortInUse, UsageError
from noria.serve.run import bound_socket, url_of

SERVER = """
import sys
from pathlib import Path
from noria.feedback.store import FeedbackStore
from noria.registry import Registry
from noria.serve.app import create_app
from noria.serve.auth import KeyStore
from noria.serve.live import LiveModels
from noria.serve.run import serve
from noria.serve.worker.keeper import Worker
root = Path(sys.argv[1])
registry, feedback = Registry(root / "registry.sqlite"), FeedbackStore(root / "feedback.sqlite")
keys = KeyStore(root / "keys.sqlite")
with Worker(num_threads=1) as worker:
    worker.wait()
    models = LiveModels(registry, "helpdesk", root, worker.load_language_model)
    app = create_app(worker=worker, models=models, keys=keys, feedback=feedback)
    serve(
        app, "127.0.0.1", 0, lambda url: print(url, flush=True), drain=app.state.admission
    )
for store in (registry, feedback, keys):
    store.close()
print("closed with torch" if "torch" in sys.modules else "closed", flush=True)
"""

PIPED = """
from fastapi import FastAPI
from noria.serve.run import serve
app = FastAPI()
app.get("/health")(lambda: {"status": "ok"})
serve(app, "127.0.0.1", 0, lambda url: print(url, flush=True), stop_with_stdin=True)
print("closed", flush=True)
"""


def start(root: Path, program: str = SERVER) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_answers_do_not_wait_for_acknowledgements() -> None:
    # asyncio turns Nagle's waiting off only where a socket says that it is TCP's
    with bound_socket("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_sigterm_lets_the_answer_end_and_closes_the_stores(world: World) -> None:
    world.promote("a")
    process, world.url = start(world.root)
    with process:
        stream = world.openai().completions.create(
            model=NAME, prompt="Where", max_tokens=600, stream=True
        )
        chunks = [next(stream)]
        process.send_signal(signal.SIGTERM)
        world.until(lambda: world.http().get("/ready").status_code == 503)
        refused = world.http(world.key).post(
            "/v1/completions", json={"model": NAME, "prompt": "Where", "max_tokens": 3}
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) >= 1
        chunks += list(stream)
        assert "".join(chunk.choices[0].text for chunk in chunks) == "a" * 600
        assert process.wait(timeout=20) == 0
        assert process.stdout is not None and process.stdout.read() == "closed\n"
    assert world.feedback.find("acme", chunks[0].id).answer == "a" * 600


def test_a_server_ends_with_its_parents_pipe(tmp_path: Path) -> None:
    process, url = start(tmp_path, PIPED)
    with process:
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        assert process.wait(timeout=20) == 0
        assert process.stdout.read() == "closed\n"


def test_an_acknowledged_rating_survives_kill_9(world: World) -> None:
    world.promote("a")
    process, world.url = start(world.root)
    with process:
        asked = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
        body = {"interaction_id": asked.id, "kind": "correction", "value": "It arrived."}
        said = world.http(world.key).post("/v1/feedback", json=body).json()
        process.kill()
        process.wait()
    ((interaction, feedback),) = world.feedback.corrections("acme")
    assert (interaction.id, feedback.id) == (asked.id, said["id"])


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)), bound_socket("127.0.0.1", port):
            pass


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "x" * 300])
def test_an_address_of_another_machine_is_named(host: str) -> None:
    with pytest.raises(UsageError), bound_socket(host, 0):
        pass


def test_urls_are_reachable_from_this_machine() -> None:
    with bound_socket("0.0.0.0", 0) as listening:
        port = listening.getsockname()[1]
        assert url_of(listening, "0.0.0.0") == f"http://127.0.0.1:{port}"
        assert url_of(listening, "::1") == f"http://[::1]:{port}"
        assert url_of(listening, "localhost") == f"http://localhost:{port}"
