"""Requests of one text each at an encoder: through the engine, many at once, beside one by one.

    python benchmarks/encoders.py [--requests 256] [--threads 16]

all-minilm-l6-v2 and texts of 5 to 60 words. Each thread asks for one text, waits, and asks again.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from noria.bases.catalogue import resolve_base
from noria.bases.importing import import_encoder
from noria.generate.encoding import EncoderEngine
from noria.runtime import cache_folder
from noria.tasks.vectors import VectorParts, train_vectors

WORDS = ["the", "wheel", "turns", "water", "river", "field", "town", "card", "phone", "late"]


def timed(ask: Callable[[str], object], texts: Sequence[str], num_threads: int) -> float:
    """Requests a second."""
    with ThreadPoolExecutor(num_threads) as threads:
        began_at = time.perf_counter()
        list(threads.map(ask, texts))
        return len(texts) / (time.perf_counter() - began_at)


def main() -> None:
    """Both ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--threads", type=int, default=16)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(1)
    texts = [
        " ".join(chance.choices(WORDS, k=chance.randint(5, 60))) for _ in range(asked.requests)
    ]
    with TemporaryDirectory() as folder:
        import_encoder(resolve_base("all-minilm-l6-v2", Path(), cache_folder()), Path(folder))
        found = train_vectors(Path(folder), texts[:2], [("a",), ("b",)], False)
    assert isinstance(found, VectorParts)
    engine = EncoderEngine(found.model, found.tokenizer.pad_id)
    served = found.serving(engine.scored)
    for _ in range(3):
        alone = timed(lambda text: found.vectors([text]), texts, 1)
        num_steps = engine.num_steps
        together = timed(lambda text: served.vectors([text]), texts, asked.threads)
        rows = len(texts) / (engine.num_steps - num_steps)
        print(f"one by one {alone:.1f}, through the engine {together:.1f} requests a second,")
        print(f"  {together / alone:.2f} times; {rows:.1f} rows a step", flush=True)
    share = engine.num_padding / (engine.num_padding + engine.num_read)
    print(f"padding {share:.1%} of what was computed")
    engine.close()


if __name__ == "__main__":
    main()
