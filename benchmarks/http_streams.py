"""Tokens a second over HTTP, divided by what the engine draws alone: what serving costs.

    python benchmarks/http_streams.py [--streams 32] [--tokens 64] [--rounds 5] [--preset NAME]

The engine is asked for so many answers at once in a process of its own; then a server over the same
weights is asked for the same answers, streamed, by a client in a third process; in turns, so that
both meet the same machine. One thread for torch in both, and all of them on the cores that this
process may use. Prints one JSON line: the median of the rounds' shares, and the processor
milliseconds that engine alone, server, worker and client took for a token. On a machine that others
use too the shares are noise, and those are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

MODEL = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2]) / "tests" / "serve"))
from serving_world import NAME, TENANT, TEXTS, World
from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash, save_model
from noria.tokenizer.train import train_tokenizer
root, folder = Path(sys.argv[1]), Path(sys.argv[1]) / "artifacts" / "model"
train_tokenizer(TEXTS, 300, folder, "chatml")
model = build_decoder(preset(sys.argv[3], 8192, 1024), seed=1)
save_model(folder, model)
world = World(root)
weights = model_weight_hash(model)
world.registry.register(TENANT, NAME, weights, "artifacts/model", "made by hand", "")
world.registry.promote(TENANT, NAME, weights, "test", "test")
"""

SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2]) / "tests" / "serve"))
from serving_world import World
import json
world = World(Path(sys.argv[1]))
world.start(max_running=int(sys.argv[4]), max_waiting=4)
print(json.dumps({"url": world.url, "key": world.key}), flush=True)
sys.stdin.read()
world.close()
"""

ENGINE = """
import sys, time, json
from pathlib import Path
import torch
from noria.generate.batching import Engine, EngineSettings
from noria.generate.loaded import load_language_model
from noria.generate.sampling import Sampling
torch.set_num_threads(1)
model = load_language_model(Path(sys.argv[1]) / "artifacts" / "model")
num = int(sys.argv[4])
engine = Engine(model, EngineSettings(max_running=num))
for line in sys.stdin:
    asked = json.loads(line)
    bias = tuple((one, -100.0) for one in sorted(model.tokenizer.stop_ids))
    ids = [*model.tokenizer.start_ids, *model.tokenizer.encode(asked["prompt"])]
    began_at = time.perf_counter()
    streams = [
        engine.submit(model, ids, Sampling(max_tokens=asked["tokens"], seed=seed, logit_bias=bias))
        for seed in range(num)
    ]
    drawn = sum(len(list(one)) for one in streams)
    elapsed_s = time.perf_counter() - began_at
    ends = [one for one, _ in bias]
    print(json.dumps({"tokens": drawn, "elapsed_s": elapsed_s, "ends": ends}), flush=True)
engine.close()
"""


def begin(program: str, *words: str) -> subprocess.Popen[str]:
    """Start a program of its own that is spoken with by lines."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def said(process: subprocess.Popen[str], line: str = "") -> Any:
    """Say a line and hear one."""
    assert process.stdin is not None and process.stdout is not None
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    return json.loads(process.stdout.readline())


async def stream(host: str, port: int, head: bytes) -> int:
    """Read one answer to its end; returns how many bytes it was."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(head)
    reply = await reader.read()
    writer.close()
    assert reply.startswith(b"HTTP/1.1 200") and reply.rstrip(b"\r\n0").endswith(b"[DONE]")
    return len(reply)


async def round_over_http(ready: dict[str, str], asked: dict[str, Any], num: int) -> float:
    """Seconds for all the answers together."""
    host, port = ready["url"].removeprefix("http://").split(":")
    heads = []
    for seed in range(num):
        body = json.dumps(
            {
                "model": "live",
                "prompt": asked["prompt"],
                "max_tokens": asked["tokens"],
                "seed": seed,
                "logit_bias": {str(one): -100 for one in asked["ends"]},
                "stream": True,
            }
        ).encode()
        heads.append(
            f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            f"Authorization: Bearer {ready['key']}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
    began_at = time.perf_counter()
    await asyncio.gather(*(stream(host, int(port), head) for head in heads))
    return time.perf_counter() - began_at


def cpu_s(process_id: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers_of(process_id: int) -> list[int]:
    """What a process has begun."""
    tasks = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(one) for task in tasks for one in task.read_text().split()]


def main() -> None:
    """Measure in turns, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--preset", default="decoder-30m")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = (folder, str(ROOT), options.preset, str(options.streams))
        begin(MODEL, *words).communicate()
        engine, server = begin(ENGINE, *words), begin(SERVER, *words)
        try:
            ready = said(server)
            asked: dict[str, Any] = {"prompt": "Where is my parcel?", "tokens": options.tokens}
            line = json.dumps(asked)
            num_tokens = options.streams * options.tokens
            alone, over, shares = [], [], []
            used: dict[str, float] = {}
            for number in range(options.rounds + 1):
                before_own_s = cpu_s(engine.pid)
                own = said(engine, line)
                own_s = cpu_s(engine.pid) - before_own_s
                assert own["tokens"] == num_tokens
                parts = {"server": [server.pid], "worker": workers_of(server.pid)}
                parts["client"] = [os.getpid()]
                before = {name: sum(map(cpu_s, ids)) for name, ids in parts.items()}
                elapsed_s = asyncio.run(
                    round_over_http(ready, {**asked, "ends": own["ends"]}, options.streams)
                )
                if number:  # the first warms both
                    alone.append(num_tokens / own["elapsed_s"])
                    over.append(num_tokens / elapsed_s)
                    shares.append(own["elapsed_s"] / elapsed_s)
                    used["engine"] = used.get("engine", 0.0) + own_s
                    for name, ids in parts.items():
                        spent = sum(map(cpu_s, ids)) - before[name]
                        used[name] = used.get(name, 0.0) + spent
            per_token = {
                name: round(1000 * spent / num_tokens / options.rounds, 3)
                for name, spent in used.items()
            }
            print(
                json.dumps(
                    {
                        "streams": options.streams,
                        "tokens": options.tokens,
                        "preset": options.preset,
                        "cores": len(os.sched_getaffinity(0)),
                        "engine_tokens_per_s": round(statistics.median(alone), 1),
                        "http_tokens_per_s": round(statistics.median(over), 1),
                        "share": round(statistics.median(shares), 3),
                        "shares": [round(one, 3) for one in shares],
                        "cpu_ms_per_token": per_token,
                    }
                )
            )
        finally:
            for process in (engine, server):
                assert process.stdin is not None
                process.stdin.close()
                process.wait(60)


if __name__ == "__main__":
    main()
