"""Eight answers from four adapters: one engine over one base, beside four of merged weights.

    python benchmarks/shared_base.py [--rounds 3] [--new-tokens 48] [--adapters 4]

A decoder of SmolLM2-135M's shape with random weights (time does not depend on what they say), and
adapters of rank 16 on all seven matrices. Each side runs in a process of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from noria.generate.batching import EngineSettings
from noria.generate.engines import Engines
from noria.generate.loaded import Adapter, LanguageModel
from noria.generate.sampling import Sampling
from noria.model.adapted import TARGETS
from noria.model.adapters import adapter_tensors, add_adapter, fill_adapter, merged, updates_of
from noria.model.config import ModelConfig
from noria.model.over_base import ADAPTER_NAME, sharing
from noria.model.transformer import build_decoder
from noria.runtime import release_memory
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.train import train_tokenizer

SHAPE = ModelConfig(49152, 2048, 30, 576, 9, 3, 1536)
RANK = 16
NUM_SEQUENCES = 8
PROMPT_TOKENS = 64


def models_of(side: str, num_adapters: int, tokenizer: Tokenizer) -> list[LanguageModel]:
    """The models of one side, with the same weights under the same names on both."""
    base = build_decoder(SHAPE, 1).eval()
    found = []
    for number in range(num_adapters):
        model = sharing(base)
        add_adapter(model, ADAPTER_NAME, RANK, 2 * RANK, TARGETS, number)
        chance = torch.Generator().manual_seed(number)
        drawn = {
            key: torch.randn(one.shape, generator=chance) / 64
            for key, one in adapter_tensors(model, ADAPTER_NAME).items()
        }
        fill_adapter(model, ADAPTER_NAME, drawn)
        name = f"adapter-{number}"
        if side == "apart":
            found.append(LanguageModel(merged(model, ADAPTER_NAME), tokenizer, name))
        else:
            adapter = Adapter(base, updates_of(model, ADAPTER_NAME))
            found.append(LanguageModel(model, tokenizer, name, adapter))
    return found


def run(side: str, num_adapters: int, num_new: int, folder: Path) -> dict[str, float]:
    """Tokens a second, and what the weights and caches of the process take."""
    torch.set_num_threads(1)
    train_tokenizer(["the wheel turns and lifts the water"] * 3, 300, folder, "plain")
    tokenizer = load_tokenizer(folder)
    models = models_of(side, num_adapters, tokenizer)
    engines = Engines(EngineSettings(shares_prefixes=False))
    never = tuple((one, -100.0) for one in tokenizer.stop_ids)
    sampling = Sampling(temperature=0, max_tokens=num_new, logit_bias=never)

    def answered(sampling: Sampling) -> int:
        streams = []
        for number in range(NUM_SEQUENCES):
            model = models[number % len(models)]
            prompt = [4 + (7 * number + place) % 250 for place in range(PROMPT_TOKENS)]
            streams.append(engines.of(model).submit(model, prompt, sampling))
        return sum(1 for stream in streams for _ in stream)

    answered(replace(sampling, max_tokens=2))
    began_at = time.perf_counter()
    num_tokens = answered(sampling)
    elapsed_s = time.perf_counter() - began_at
    engines.close()
    release_memory()  # what merging took
    status = Path("/proc/self/status").read_text(encoding="ascii")
    resident_kib = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return {"tokens_per_s": num_tokens / elapsed_s, "mib": int(resident_kib.split()[1]) / 1024}


def main() -> None:
    """Both sides in turns, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--side", default="")
    parser.add_argument("--folder", default="")
    asked = parser.parse_args()
    if asked.side:
        folder = Path(asked.folder)
        print(json.dumps(run(asked.side, asked.adapters, asked.new_tokens, folder)))
        return
    found: dict[str, list[dict[str, float]]] = {"shared": [], "apart": []}
    for _ in range(asked.rounds):
        for side, rows in found.items():
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--side", side, "--folder", folder]
                command += ["--new-tokens", str(asked.new_tokens)]
                command += ["--adapters", str(asked.adapters)]
                text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append(json.loads(text))
            print(side, rows[-1], flush=True)
    pairs = zip(found["shared"], found["apart"], strict=True)
    ratios = [one["tokens_per_s"] / other["tokens_per_s"] for one, other in pairs]
    print(f"shared / apart: {statistics.median(ratios):.2f} of {[f'{one:.2f}' for one in ratios]}")


if __name__ == "__main__":
    main()
