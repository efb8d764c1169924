"""Our preparation of a corpus: JSON Lines to token shards, as a recipe's first three stages.

Argument: {"folder", "out", "names", "workers", "vocab_size"}. Prints one JSON line: seconds of each
stage and of each step of the corpus, records and tokens.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

from noria.stages.text import build_corpus, build_shards, build_tokenizer
from noria.workspace import open_workspace


class Watch:
    """Notes when each step begins."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, float]] = []

    def begin(self, stage: str) -> None:
        self._note(stage)

    def progress(self, text: str, done: float, total: float) -> None:
        self._note(text.split(",")[0])

    def _note(self, name: str) -> None:
        if not self.begun or self.begun[-1][0] != name:
            self.begun.append((name, time.monotonic()))

    def say(self, text: str) -> None:
        """Not noted."""

    def end(self, stage: str, result: str, elapsed_s: float, reused: bool) -> None:
        """Not noted."""

    def seconds(self) -> dict[str, float]:
        found: dict[str, float] = {}
        ends = [at for _, at in self.begun[1:]] + [time.monotonic()]
        for (name, at), end in zip(self.begun, ends, strict=True):
            found[name] = found.get(name, 0.0) + end - at
        return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    asked = json.loads(sys.argv[1])
    out = Path(asked["out"])
    out.mkdir(parents=True, exist_ok=True)
    recipe = out / "noria.toml"
    recipe.write_text(
        f'name = "corpus"\n[corpus]\ndocuments = ["{asked["folder"]}/*.jsonl"]\n'
        f'names = "{asked["names"]}"\nworkers = {asked["workers"]}\n'
        f"[tokenizer]\nvocab_size = {asked['vocab_size']}\n",
        encoding="utf-8",
    )
    watch = Watch()
    ends = [time.monotonic()]
    with open_workspace(recipe, None, watch) as workspace:
        corpus = build_corpus(workspace)
        ends.append(time.monotonic())
        tokenizer = build_tokenizer(workspace, corpus)
        ends.append(time.monotonic())
        made = build_shards(workspace, corpus, tokenizer)
        ends.append(time.monotonic())
    seconds = [round(end - start, 2) for start, end in pairwise(ends)]
    stages = dict(zip(("corpus", "tokenizer", "tokens"), seconds, strict=True))
    facts = corpus.facts
    print(
        json.dumps(
            {
                "stages_s": stages,
                "steps_s": watch.seconds(),
                "kept": str(corpus.path),
                "tokenizer": str(tokenizer.path / "tokenizer.json"),
                "exact_duplicates": facts["exact_duplicates"],
                "near_duplicates": facts["near_duplicates"],
                "identities": sum(facts["identities"].values()),
                "tokens": made.facts["train"]["num_tokens"] + made.facts["held_out"]["num_tokens"],
            }
        )
    )


if __name__ == "__main__":
    main()
