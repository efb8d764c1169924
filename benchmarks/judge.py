"""Paired, interleaved runs of contestants; ratios with a lower bound; one JSON line at the end.

Each contestant is a process that stays: it warms up (compiles, fills caches), and then takes turns
with the others. In the ratio of one round both have met the same machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noria.runtime import machine_name

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).resolve().parent
CACHE = HERE / "cache"
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"


class Contestant:
    """A process that takes turns."""

    def __init__(self, name: str, python: Path, script: str, arguments: Mapping[str, Any]) -> None:
        self.name = name
        if not python.exists():
            sys.exit(f"{python} is not there: run `make bench-setup` first")
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        self._log = (CACHE / f"{name.replace(' ', '-')}.log").open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(HERE / script), json.dumps(dict(arguments))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )

    def warm_up(self) -> None:
        """Wait until it has compiled and filled its caches."""
        self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("@"):
                heard: dict[str, Any] = json.loads(line[1:])
                return heard
            self._log.write(line)
        sys.exit(f"{self.name} has stopped: see {self._log.name}")

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def turn(self) -> dict[str, Any]:
        """Let it take its steps; what they cost."""
        self._say("go")
        return self._hear()

    def end(self) -> dict[str, Any]:
        """Let it measure what it has learned, and stop."""
        self._say("end")
        result = self._hear()
        self._process.wait(timeout=120)
        self._log.close()
        return result


def compete(contestants: Sequence[Contestant], num_rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Every contestant's turns, in rounds; the order changes from round to round."""
    for one in contestants:
        one.warm_up()
    turns: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contestants}
    for number in range(num_rounds):
        for one in contestants if number % 2 == 0 else reversed(contestants):
            turns[one.name].append(one.turn())
        shown = ", ".join(f"{name} {speed(found[-1]):,.0f}" for name, found in turns.items())
        print(f"round {number + 1} of {num_rounds}, tokens/s: {shown}", flush=True)
    return turns


def speed(turn: Mapping[str, Any]) -> float:
    """Tokens a second."""
    return float(turn["tokens"] / turn["wall_s"])


def ratios(ours: Sequence[Mapping[str, Any]], peers: Sequence[Mapping[str, Any]]) -> list[float]:
    """Our speed over the peer's, round by round."""
    return [speed(a) / speed(b) for a, b in zip(ours, peers, strict=True)]


def lower_bound(values: Sequence[float]) -> float:
    """Of the median, with 95% confidence: the order statistic that a sign test allows.

    Of 7 values the second smallest is above the median once in 16 (6.25%), the smallest once in
    128; so of fewer than 8 it is the smallest (Conover, Practical Nonparametric Statistics, 3.2).
    """
    ordered, chance, below = sorted(values), 0.0, 0
    num = len(ordered)
    binomial = 0.5**num
    for rank in range(num):
        chance += binomial
        if chance > 0.05:
            break
        below = rank
        binomial = binomial * (num - rank) / (rank + 1)
    return ordered[below]


def report(
    name: str, turns: Mapping[str, Sequence[Mapping[str, Any]]], ours: str, peer: str, unit: str
) -> dict[str, Any]:
    """One comparison as numbers, printed for people too."""
    found = ratios(turns[ours], turns[peer])
    medians = {one: statistics.median(map(speed, turns[one])) for one in (ours, peer)}
    cpu = {
        one: sum(t["cpu_s"] for t in turns[one]) / sum(t["tokens"] for t in turns[one]) * 1000
        for one in (ours, peer)
    }
    line = {
        "name": name,
        "ours": round(medians[ours], 1),
        "peer": round(medians[peer], 1),
        "ratio": round(statistics.median(found), 3),
        "ratio_low": round(lower_bound(found), 3),
        "unit": unit,
        "cpu_s_per_1000": [round(cpu[ours], 3), round(cpu[peer], 3)],
        "runs": len(found),
    }
    print(
        f"{name}: {line['ours']:,} against {line['peer']:,} {unit}, ratio {line['ratio']} "
        f"(at least {line['ratio_low']}), CPU seconds a thousand {cpu[ours]:.3f} against "
        f"{cpu[peer]:.3f}"
    )
    return line


def conclude(
    name: str,
    contestants: Sequence[Contestant],
    turns: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    best_first: bool,
) -> None:
    """Ours against every peer, what each has learned, and one JSON line of all of it.

    The line is about the first peer, or with best_first about the one that comes nearest.
    """
    ours, *peers = contestants
    lines = [
        report(f"{name}: {ours.name} / {one.name}", turns, ours.name, one.name, "tokens/s")
        for one in peers
    ]
    losses = {one.name: round(one.end()["held_out_loss"], 4) for one in contestants}
    print(f"held-out loss after equal tokens (nats): {losses}")
    if best_first:
        lines.sort(key=lambda line: line["ratio"])
    first = {**lines[0], "others": lines[1:], "held_out_loss": losses, "machine": machine_name()}
    print(json.dumps(first))
