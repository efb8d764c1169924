"""The server at twenty times more requests than it can answer, from a client that never waits.

    python benchmarks/overload.py [--seconds 10] [--times 20] [--tokens 400] [--running 8]

First as many clients as there are places keep the server exactly full: its peak, and the p99 of an
answer in a full batch. Then requests come at a fixed rate, `--times` the peak, whether earlier ones
were answered or not (open loop: a slow server is not asked less). Server and client are processes
of their own (and so is the server's worker); the client's share of a core is reported, since a
client that is itself too busy measures itself. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2]) / "tests" / "serve"))
from serving_world import World
import threading, json
world = World(Path(sys.argv[1]))
world.promote("a")
world.start(max_running=int(sys.argv[3]), max_waiting=int(sys.argv[4]))
print(json.dumps({"url": world.url, "key": world.key}), flush=True)
sys.stdin.read()
world.close()
"""


@dataclass
class Seen:
    """What came back: seconds of answers and of refusals, and what was neither."""

    answered_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    failed: int = 0


async def ask(host: str, port: int, head: bytes, seen: Seen) -> None:
    """One request on a connection of its own."""
    began_at = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(head)
        reply = await reader.read()
        writer.close()
    except OSError:
        seen.failed += 1
        return
    elapsed_s = time.perf_counter() - began_at
    if reply.startswith(b"HTTP/1.1 200"):
        seen.answered_s.append(elapsed_s)
    elif reply.startswith(b"HTTP/1.1 429") and b"retry-after" in reply.lower():
        seen.refused_s.append(elapsed_s)
    else:
        seen.failed += 1


async def full(request: Callable[[Seen], Awaitable[None]], places: int, seconds: float) -> Seen:
    """As many clients as places, each asking again as soon as it is answered."""
    seen = Seen()
    stop_at = time.perf_counter() + seconds

    async def client() -> None:
        while time.perf_counter() < stop_at:
            await request(seen)

    await asyncio.gather(*(client() for _ in range(places)))
    return seen


async def flood(request: Callable[[Seen], Awaitable[None]], rate: float, seconds: float) -> Seen:
    """`rate` requests a second, come what may."""
    seen = Seen()
    tasks = set()
    began_at = time.perf_counter()
    for number in range(int(rate * seconds)):
        ahead_s = began_at + number / rate - time.perf_counter()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
        task = asyncio.create_task(request(seen))  # type: ignore[arg-type]
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return seen


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def memory_bytes(pid: int) -> int:
    """What a server and its worker hold in memory."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    ids = [pid, *(int(one) for task in tasks for one in task.read_text().split())]
    pages = (int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in ids)
    return sum(pages) * resource.getpagesize()


def cpu_s() -> float:
    """Processor seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(url: str, key: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    """Both loads against a server that answers."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(
        {"model": "live", "prompt": "Where is it?", "max_tokens": options.tokens}
    ).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body

    async def request(seen: Seen) -> None:
        await ask(host, int(port), head, seen)

    asyncio.run(full(request, options.running, 2.0))  # warm
    exact = asyncio.run(full(request, options.running, options.seconds))
    peak = len(exact.answered_s) / options.seconds
    before = memory_bytes(pid)
    began_at, began_cpu_s = time.perf_counter(), cpu_s()
    over = asyncio.run(flood(request, options.times * peak, options.seconds))
    elapsed_s = time.perf_counter() - began_at
    exact_p99, over_p99 = percentile(exact.answered_s, 0.99), percentile(over.answered_s, 0.99)
    return {
        "peak_per_s": round(peak, 1),
        "asked_per_s": round(options.times * peak, 1),
        "answered": len(over.answered_s),
        "refused": len(over.refused_s),
        "failed": over.failed,
        "goodput_share": round(len(over.answered_s) / elapsed_s / peak, 3),
        "full_p99_s": round(exact_p99, 4),
        "accepted_p99_s": round(over_p99, 4),
        "accepted_ratio": round(over_p99 / exact_p99, 2),
        "refused_p50_s": round(percentile(over.refused_s, 0.5), 4),
        "refused_p99_s": round(percentile(over.refused_s, 0.99), 4),
        "memory_share": round(memory_bytes(pid) / before, 3),
        "client_cores": round((cpu_s() - began_cpu_s) / elapsed_s, 2),
    }


def main() -> None:
    """Start a server, load it, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--times", type=float, default=20.0)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--running", type=int, default=8)
    parser.add_argument("--waiting", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = (str(options.running), str(options.waiting))
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, folder, str(ROOT), *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            assert server.stdout is not None and server.stdin is not None
            ready = json.loads(server.stdout.readline())
            print(json.dumps(measure(ready["url"], ready["key"], server.pid, options)))
            server.stdin.close()
        finally:
            server.wait(60)


if __name__ == "__main__":
    main()
