"""From files to token shards: our preparation beside datatrove's local executor, same pages.

Both read the same JSON Lines, replace identities (datatrove: e-mail and IP addresses; ours: every
kind that has a form), drop near-duplicates and write tokens of one vocabulary, with two processes.
Ours also cleans, drops passages that are measured on, splits and writes its report. Which pages
stay is compared. Turns are interleaved; learning the vocabulary is told apart, for datatrove has
none. `--whole`: one gigabyte once each; `--names`: 100 MB with names replaced, ours alone.
Needs `make bench-setup`, `apt-get` and some gigabytes of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from doc_packages import CACHE, PACKAGES, pages_of
from judge import HERE, PEERS_PYTHON, ROOT, lower_bound
from measure_run import MARK, resident_bytes

from noria.runtime import machine_name

OURS_PYTHON = ROOT / ".venv" / "bin" / "python"
VOCAB_SIZE = 16384


def turn(python: Path, script: str, asked: dict[str, Any]) -> dict[str, Any]:
    """One run: what it says, wall and CPU seconds, and the most memory of all its processes."""
    mark = os.urandom(16).hex()
    environment = {**os.environ, "PYTHONPATH": str(HERE), MARK: mark}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started_at = time.monotonic()
    most_bytes = 0
    command = [str(python), "-W", "ignore", str(HERE / script), json.dumps(asked)]
    with (
        (CACHE / "last.log").open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as running,
    ):
        done = threading.Event()

        def look() -> None:
            nonlocal most_bytes
            while not done.wait(0.25):
                held = sum(resident_bytes(f"{MARK}={mark}".encode()).values())
                most_bytes = max(most_bytes, held)

        looking = threading.Thread(target=look)
        looking.start()
        said, _ = running.communicate()
        done.set()
        looking.join()
    if running.returncode:
        sys.exit(f"{script} ended with {running.returncode}: see {CACHE / 'last.log'}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return {
        **found,
        "wall_s": round(time.monotonic() - started_at, 2),
        "cpu_s": round(cpu_s, 2),
        "most_memory_gb": round(most_bytes / 1e9, 3),
    }


def ours(folder: Path, out: Path, names: str, workers: int = 2) -> dict[str, Any]:
    asked = {"folder": str(folder), "out": str(out), "names": names}
    asked |= {"workers": workers, "vocab_size": VOCAB_SIZE}
    return turn(OURS_PYTHON, "ours/corpus.py", asked)


def theirs(folder: Path, out: Path, tokenizer: str, language: str) -> dict[str, Any]:
    asked = {"folder": str(folder), "out": str(out), "tokenizer": tokenizer}
    return turn(
        PEERS_PYTHON,
        "peers/datatrove_corpus.py",
        {**asked, "workers": 2, "language": language},
    )


def kept_pages(folder: Path) -> set[str]:
    """By their first words and length, of pages that differ in no more than what was replaced."""
    found = set()
    for path in folder.glob("*.jsonl"):
        if path.stem in ("dropped", "quarantine"):
            continue
        for line in path.open(encoding="utf-8"):
            row = json.loads(line)
            text = row["text"] if "text" in row else row["content"][0]["text"]
            found.add(" ".join(text.split())[:300])
    return found


def report(name: str, found: dict[str, Any], num_bytes: int) -> None:
    total = sum(found["stages_s"].values())
    print(
        f"{name}: {num_bytes / 1e6:.0f} MB in {found['wall_s']} s, {found['cpu_s']} CPU seconds, "
        f"most memory {found['most_memory_gb']} GB"
    )
    for stage, took in {**found["stages_s"], **found.get("steps_s", {})}.items():
        rate = num_bytes / 1e6 / max(took, 1e-9)
        print(f"    {stage:30} {took:8.1f} s  {took / total:6.1%}  {rate:8.1f} MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--whole", action="store_true", help="a gigabyte, once each")
    parser.add_argument("--names", action="store_true", help="100 MB with names, ours alone")
    parser.add_argument("--megabytes", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=0)
    arguments = parser.parse_args()
    default_mb = (
        3 if arguments.quick else 1000 if arguments.whole else 100 if arguments.names else 30
    )
    num_bytes = 1_000_000 * (arguments.megabytes or default_mb)
    rounds = arguments.rounds or (1 if arguments.whole or arguments.names or arguments.quick else 7)
    folder = pages_of(num_bytes, repeat=not arguments.names)
    print(f"{folder.name} of pages of {', '.join(PACKAGES)}")
    ratios, cpu_ratios, mine, peer = [], [], [], []
    for number in range(rounds):
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            one = ours(folder, Path(scratch, "ours"), "replace" if arguments.names else "off")
            report("noria", one, num_bytes)
            print(
                "    "
                + json.dumps(
                    {
                        name: one[name]
                        for name in ("exact_duplicates", "near_duplicates", "identities", "tokens")
                    }
                )
            )
            mine.append(one["wall_s"] - one["stages_s"]["tokenizer"])
            if arguments.names:
                continue
            other = theirs(folder, Path(scratch, "theirs"), one["tokenizer"], "units")
            report("datatrove", other, num_bytes)
            peer.append(other["wall_s"])
            ratios.append(peer[-1] / mine[-1])
            cpu_ratios.append(other["cpu_s"] / one["cpu_s"])
            if number == 0:
                a, b = kept_pages(Path(one["kept"])), kept_pages(Path(other["kept"]))
                print(
                    f"    pages kept: ours {len(a)}, theirs {len(b)}, both {len(a & b)}; "
                    f"tokens: ours {one['tokens']}, theirs {other['tokens']}"
                )
            shutil.rmtree(scratch, ignore_errors=True)
            Path(scratch).mkdir()
    facts = {"name": "corpus", "unit": "seconds", "machine": machine_name(), "bytes": num_bytes}
    facts |= {"ours": statistics.median(mine)}
    if ratios:
        facts |= {"peer": statistics.median(peer), "ratio": statistics.median(ratios)}
        facts |= {"at_least": lower_bound(ratios), "cpu_ratio": statistics.median(cpu_ratios)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
