"""Decoding SmolLM2-135M: our engine beside transformers, llama.cpp, OpenVINO, CTranslate2.

Three measures: a prompt read (prefill), eight answers at once, one answer. `make bench-setup`
first; `--quick` takes transformers and llama.cpp with shorter answers. Every contestant has the
same two threads. What they multiply differs and is part of their best settings: ours weights and
inputs of 8 bits (and bfloat16 beside it), transformers bfloat16, llama.cpp and OpenVINO the
published file's own 4 bits, CTranslate2 8 bits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from judge import CACHE, PEERS_PYTHON, ROOT, Contestant, report

from noria.bases.catalogue import resolve_base
from noria.runtime import cache_folder, machine_name, num_cores

OURS_PYTHON = ROOT / ".venv" / "bin" / "python"
MEASURES = ("prefill", "eight", "one")


def contestants(quick: bool, threads: int, pace: dict[str, Any]) -> list[Contestant]:
    """Ours first."""
    gguf = str(Path(resolve_base("smollm2-135m-instruct", CACHE, cache_folder())))
    settings = {"threads": threads, **pace}
    dynamic = {"numbers": "int8-dynamic", **settings}
    bf16, f32 = {"dtype": "bfloat16", **settings}, {"dtype": "float32", **settings}
    file = {"gguf": gguf, **settings}
    hf, llama = "peers/transformers_decode.py", "peers/llama_cpp_decode.py"
    found = [
        Contestant("noria int8-dynamic", OURS_PYTHON, "ours/decode.py", dynamic),
        Contestant("transformers bf16", PEERS_PYTHON, hf, bf16),
        Contestant("llama.cpp Q4_1", PEERS_PYTHON, llama, file),
    ]
    if not quick:
        found += [
            Contestant(
                "noria bf16", OURS_PYTHON, "ours/decode.py", {"numbers": "bfloat16", **settings}
            ),
            Contestant("transformers float32", PEERS_PYTHON, hf, f32),
            Contestant(
                "CTranslate2 int8",
                PEERS_PYTHON,
                "peers/ctranslate_decode.py",
                {"compute": "int8", **settings},
            ),
            Contestant("OpenVINO GenAI", PEERS_PYTHON, "peers/openvino_decode.py", file),
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--rounds", type=int, default=0, help="how often each takes its turn")
    parser.add_argument("--threads", type=int, default=0, help="of every contestant")
    given = parser.parse_args()
    rounds = given.rounds or (3 if given.quick else 7)
    threads = given.threads or num_cores()
    pace = {"prefill_tokens": 512, "new_tokens": 16 if given.quick else 64}
    playing = contestants(given.quick, threads, pace)
    for one in playing:
        one.warm_up()
    turns: dict[str, dict[str, list[dict[str, Any]]]] = {
        measure: {one.name: [] for one in playing} for measure in MEASURES
    }
    for number in range(rounds):
        for one in playing if number % 2 == 0 else playing[::-1]:
            for measure, turn in one.turn().items():
                turns[measure][one.name].append(turn)
        print(f"round {number + 1} of {rounds}", flush=True)
    ours, *peers = playing
    lines = [
        report(
            f"{measure}: {ours.name} / {one.name}", turns[measure], ours.name, one.name, "tokens/s"
        )
        for measure in MEASURES
        for one in peers
    ]
    for one in playing:
        one.end()
    worst = min(lines, key=lambda line: line["ratio"])
    others = [line for line in lines if line is not worst]
    facts = {"threads": threads, **pace, "machine": machine_name()}
    print(json.dumps({**worst, "others": others, **facts}))


if __name__ == "__main__":
    main()
