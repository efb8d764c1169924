"""Tuning SmolLM2-135M by LoRA: our trainer beside TRL's SFTTrainer, same chats, same adapters.

`make bench-setup` first; `--quick` takes one setting of TRL, smaller steps, and fewer held-out
chats. Which setting of TRL is its best depends on the machine: the full run tries them all.
"""

from __future__ import annotations

import argparse

from judge import PEERS_PYTHON, ROOT, Contestant, compete, conclude

OURS_PYTHON = ROOT / ".venv" / "bin" / "python"
TARGETS = ["query", "key", "value", "output", "gate", "up", "down"]
COMMON = {"rank": 16, "alpha": 32.0, "learning_rate": 0.0005, "targets": TARGETS}
# name: device_rows, dtype, bf16 (autocast), compile
TRL = {
    "TRL bfloat16 weights": (4, "bfloat16", False, False),
    "TRL autocast": (4, "float32", True, False),
    "TRL one row at a time": (1, "bfloat16", False, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--rounds", type=int, default=0, help="how often each takes its turn")
    arguments = parser.parse_args()
    rounds = arguments.rounds or 7
    rows = 1 if arguments.quick else 4
    pace = {"warm_steps": 1, "steps": 1, "rows": rows, **COMMON}
    pace["num_held_out"] = 8 if arguments.quick else 40
    ours = {"precision": "bfloat16" if arguments.quick else "auto"}
    contestants = [Contestant("noria", OURS_PYTHON, "ours/tune.py", {**pace, **ours})]
    chosen = dict(list(TRL.items())[:1]) if arguments.quick else TRL
    for name, (device_rows, dtype, bf16, compiled) in chosen.items():
        setting = {
            "device_rows": min(device_rows, rows),
            "dtype": dtype,
            "bf16": bf16,
            "compile": compiled,
        }
        contestants.append(Contestant(name, PEERS_PYTHON, "peers/trl_sft.py", {**pace, **setting}))
    conclude("lora", contestants, compete(contestants, rounds), best_first=True)


if __name__ == "__main__":
    main()
