"""From files to token shards: our preparation beside datatrove's local executor, same pages.

Both read the same JSON Lines, replace identities (datatrove: e-mail and IP addresses; ours: every
kind that has a form), drop near-duplicates and write tokens of one vocabulary, with two processes.
Ours also cleans, drops passages that are measured on, splits and writes its report. Which pages
stay is compared. datatrove takes its turn as it comes, and with its words, the slowest of its
steps, cut by our expression. Turns are interleaved; learning the vocabulary is told apart, for
datatrove has none. `--whole`: one gigabyte once each; `--names`: 100 MB with names replaced, ours
alone. Needs `make bench-setup`, `apt-get` and some gigabytes of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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
# datatrove with its own words for English and its own normalisation, as it comes; and with words
# cut by our expression, which its settings do not offer: a class of ten lines
PEERS = {"datatrove": "own", "datatrove with our words": "units"}


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
        3 if arguments.quick else 1000 if arguments.whole else 100 if arguments.names else 20
    )
    num_bytes = 1_000_000 * (arguments.megabytes or default_mb)
    rounds = arguments.rounds or (1 if arguments.whole or arguments.names or arguments.quick else 7)
    folder = pages_of(num_bytes, repeat=not arguments.names)
    print(f"{folder.name} of pages of {', '.join(PACKAGES)}")
    mine: list[dict[str, Any]] = []
    peers: dict[str, list[dict[str, Any]]] = {name: [] for name in PEERS}
    for number in range(rounds):
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            one = ours(folder, Path(scratch, "ours"), "replace" if arguments.names else "off")
            mine.append(one)
            report("noria", one, num_bytes)
            told = ("exact_duplicates", "near_duplicates", "identities", "tokens")
            print("    " + json.dumps({name: one[name] for name in told}))
            for name, words in {} if arguments.names else PEERS.items():
                if arguments.whole and words == "own":
                    continue  # it would take an hour
                other = theirs(folder, Path(scratch, words), one["tokenizer"], words)
                peers[name].append(other)
                report(name, other, num_bytes)
                if number == 0:
                    a, b = kept_pages(Path(one["kept"])), kept_pages(Path(other["kept"]))
                    print(
                        f"    passages kept: ours {len(a)}, theirs {len(b)}, both {len(a & b)}; "
                        f"tokens: ours {one['tokens']}, theirs {other['tokens']}"
                    )
    seconds = [one["wall_s"] - one["stages_s"]["tokenizer"] for one in mine]
    facts = {"name": "corpus", "unit": "seconds", "machine": machine_name(), "bytes": num_bytes}
    facts |= {"ours": statistics.median(seconds), "rounds": rounds}
    facts |= {"cpu_s": statistics.median(one["cpu_s"] for one in mine)}
    for name, found in peers.items():
        if found:
            ratios = [other["wall_s"] / s for other, s in zip(found, seconds, strict=True)]
            facts[name] = {
                "peer": statistics.median(other["wall_s"] for other in found),
                "peer_cpu_s": statistics.median(other["cpu_s"] for other in found),
                "ratio": round(statistics.median(ratios), 3),
                "at_least": round(lower_bound(ratios), 3),
            }
    if peers["datatrove"]:
        facts |= {key: facts["datatrove"][key] for key in ("peer", "ratio", "at_least")}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
