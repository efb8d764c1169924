"""datatrove's preparation of a corpus on its local executor: JSON Lines to token files.

Argument: {"folder", "out", "tokenizer", "workers", "language"}. Read, e-mail and IP addresses
replaced, MinHash in its four steps (5 words, 14 buckets of 8 as it comes), tokens. Words are cut by
the same expression as ours, which is faster than its own tokenizers and cuts Chinese too; its
normalisation is set to small letters alone. `language`: "own" takes its words and normalisation.
Prints one JSON line: seconds of each step, documents kept, tokens.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import TextNormConfig
from datatrove.utils.word_tokenizers import WordTokenizer

UNIT = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]|[^\\W\u3040-\u9fff]+"
)


class Units(WordTokenizer):
    """Words, and in Chinese and Japanese characters."""

    def word_tokenize(self, text: str) -> list[str]:
        return UNIT.findall(text)

    def sent_tokenize(self, text: str) -> list[str]:
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


def main() -> None:
    asked = json.loads(sys.argv[1])
    out, workers = Path(asked["out"]), asked["workers"]
    norm = TextNormConfig(
        norm_whitespace=False,
        remove_punctuation=False,
        norm_unicode_diacritics=False,
        norm_numbers=False,
    )
    own = asked["language"] == "own"
    hashes = HashConfig(precision=64, hash_fc="xxhash")
    config = (
        MinhashConfig(hash_config=hashes)
        if own
        else MinhashConfig(norm_config=norm, hash_config=hashes)
    )
    tasks = len(list(Path(asked["folder"]).glob("*.jsonl")))

    def run(name: str, pipeline: list[Any], num_tasks: int) -> None:
        started_at = time.monotonic()
        LocalPipelineExecutor(
            pipeline=pipeline,
            tasks=num_tasks,
            workers=workers,
            logging_dir=str(out / "log" / name),
            start_method="fork",
        ).run()
        seconds[name] = round(time.monotonic() - started_at, 2)

    seconds: dict[str, float] = {}
    signature = MinhashDedupSignature(
        str(out / "signatures"), config=config, language="eng" if own else Units()
    )
    run(
        "read, identities, signatures",
        [
            JsonlReader(asked["folder"], id_key="path"),
            PIIFormatter(),
            JsonlWriter(str(out / "clean"), "${rank}.jsonl", compression=None),
            signature,
        ],
        tasks,
    )
    buckets = MinhashDedupBuckets(str(out / "signatures"), str(out / "buckets"), config=config)
    run("buckets", [buckets], config.num_buckets)
    cluster = MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config=config)
    run("cluster", [cluster], 1)
    run(
        "filter, tokens",
        [
            JsonlReader(str(out / "clean")),
            MinhashDedupFilter(str(out / "remove")),
            JsonlWriter(str(out / "kept"), "${rank}.jsonl", compression=None),
            DocumentTokenizer(
                str(out / "tokens"),
                asked["tokenizer"],
                eos_token="<|endoftext|>",
                shuffle_documents=False,
            ),
        ],
        tasks,
    )
    tokens = sum(one.stat().st_size for one in (out / "tokens").glob("*.ds")) // 2
    print("\n" + json.dumps({"stages_s": seconds, "kept": str(out / "kept"), "tokens": tokens}))


if __name__ == "__main__":
    main()
