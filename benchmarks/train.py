"""Pretraining: our trainer beside Hugging Face's and a loop by hand, on the same text and weights.

13.9 million parameters (GPT-2's form), 12 rows of 256 tokens a step, vocabulary 8,192, AdamW with
the same settings and clipping. `make bench-setup` first; `--quick` takes one peer, with its default
settings, and nobody compiles.
"""

from __future__ import annotations

import argparse

from judge import PEERS_PYTHON, ROOT, Contestant, compete, conclude

OURS_PYTHON = ROOT / ".venv" / "bin" / "python"
COMMON = {"rows": 12, "learning_rate": 0.001}
FUSED = "adamw_torch_fused"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--rounds", type=int, default=0, help="how often each takes its turn")
    quick = parser.parse_args().quick
    rounds = parser.parse_args().rounds or (7 if quick else 8)
    pace = {"warm_steps": 2, "steps": 1 if quick else 2, **COMMON}
    fastest = {"bf16": True, "compile": True, "optimizer": FUSED, **pace}
    default = {**fastest, "compile": False, "optimizer": "adamw_torch"}
    ours = {"precision": "bfloat16" if quick else "auto", "compile": "off" if quick else "auto"}
    contestants = [Contestant("noria", OURS_PYTHON, "ours/pretrain.py", {**pace, **ours})]
    if quick:
        contestants.append(
            Contestant("HF Trainer bf16", PEERS_PYTHON, "peers/hf_trainer.py", default)
        )
    else:
        exact = {**default, "bf16": False}
        nano = {"bf16": False, "compile": True, **pace}
        contestants += [
            Contestant("HF Trainer fastest", PEERS_PYTHON, "peers/hf_trainer.py", fastest),
            Contestant("HF Trainer bf16", PEERS_PYTHON, "peers/hf_trainer.py", default),
            Contestant("HF Trainer float32", PEERS_PYTHON, "peers/hf_trainer.py", exact),
            Contestant("nanoGPT-like", PEERS_PYTHON, "peers/hand_loop.py", nano),
            Contestant(
                "hand loop bf16", PEERS_PYTHON, "peers/hand_loop.py", {**nano, "bf16": True}
            ),
        ]
    conclude("train", contestants, compete(contestants, rounds), best_first=False)


if __name__ == "__main__":
    main()
