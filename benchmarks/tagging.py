"""Span F1 of every way to a tagger, trained on one file and measured on another.

    python benchmarks/tagging.py TRAIN TEST --ways hmm,crf,dictionary,scratch,tuned --base FOLDER

The files are CoNLL: a token and its BIO tag a line (other columns between them are passed over), a
blank line behind each text; .gz is read. A base is a folder that `import_encoder` wrote. The first
way is what each other is compared with; "joined" beside each neural way is half of it, half of the
first.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from noria.baselines.crf import CrfPlan, train_crf
from noria.baselines.hmm import train_hmm
from noria.baselines.interface import TokenScorer
from noria.corpus.read.bio import tagged_record
from noria.evaluate.intervals import compare, measure
from noria.evaluate.spans import SpanAnswers, span_sums
from noria.evaluate.sums import Sums
from noria.records import Source, Tagged, content_text
from noria.tasks.bio import best_tags, joined_log_probabilities, spans_of, tags_of
from noria.tasks.encoder_tagger import load_encoder_tagger
from noria.tasks.words import tokens_of, words_of
from noria.train.lessons import EncoderPlan
from noria.train.taggers import train_scratch_tagger, tune_tagger

MANY_TAGS = 30  # beyond which a tag that depends on two before it costs minutes
Lists = list[list[str]]


def read(path: Path) -> list[Tagged]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    blocks: list[list[tuple[str, str]]] = [[]]
    for line in text.split("\n"):
        columns = line.split()
        if columns:
            blocks[-1].append((columns[0], columns[-1]))
        elif blocks[-1]:
            blocks.append([])
    rows = [[list(side) for side in zip(*block, strict=True)] for block in blocks if block]
    return [tagged_record(tokens, tags, Source(path.name), "") for tokens, tags in rows]


def trained(way: str, words: Lists, tags: Lists, options: argparse.Namespace) -> TokenScorer:
    pairs = list(zip(words, tags, strict=True))
    if way == "hmm":
        return train_hmm(pairs, 2 if len({tag for one in tags for tag in one}) <= MANY_TAGS else 1)
    if way in ("crf", "dictionary"):
        by = "dictionary" if way == "dictionary" else "spaces"
        return train_crf(pairs, CrfPlan(seconds=options.seconds, words_by=by))
    plan = EncoderPlan(seconds=options.seconds, seed=options.seed, base=options.base)
    with tempfile.TemporaryDirectory() as folder:
        if way == "tuned":
            tune_tagger(words, tags, plan, Path(folder))
        else:
            train_scratch_tagger(words, tags, [], plan, Path(folder))
        return load_encoder_tagger(Path(folder))


def measured(
    records: Sequence[Tagged], labels: Sequence[str], parts: Sequence[Sequence[object]]
) -> Sums:
    gold, found = [], []
    for record, *answers in zip(records, *parts, strict=True):
        logs = joined_log_probabilities(answers, [1.0] * len(answers))
        tokens = tokens_of(content_text(record.content))
        gold.append(frozenset(record.spans))
        found.append(frozenset(spans_of(tokens, best_tags(logs, labels))))
    return span_sums(SpanAnswers(tuple(gold), tuple(found)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--ways", default="crf,hmm,dictionary,scratch")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    training, test = read(options.train), read(options.test)
    texts = [content_text(one.content) for one in training]
    words = [words_of(text) for text in texts]
    tags = [
        list(tags_of(tokens_of(text), one.spans).tags)
        for text, one in zip(texts, training, strict=True)
    ]
    asked = [words_of(content_text(one.content)) for one in test]
    ways = options.ways.split(",")
    say: Callable[..., None] = lambda *cells: print(*cells, sep=" | ", flush=True)  # noqa: E731
    first: list[object] = []
    reference: Sums | None = None
    for way in ways:
        started_at = time.perf_counter()
        model = trained(way, words, tags, options)
        train_s = time.perf_counter() - started_at
        started_at = time.perf_counter()
        answers = model.batch_tag_probabilities(asked)
        ask_s = time.perf_counter() - started_at
        first = first or list(answers)
        kinds = {way: [answers]}
        if way in ("scratch", "tuned"):
            kinds[f"joined {way}"] = [answers, first]
        for name, parts in kinds.items():
            run = measured(test, model.labels, parts)
            reference = reference or run
            f1 = measure([run])["micro_f1"]
            gap = compare([run], [reference])["micro_f1"]
            say(
                name,
                f"{f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f})",
                f"{gap.difference.value:+.3f}, p = {gap.p_value:.3f}",
                f"trained {train_s:.1f} s, asked {ask_s:.1f} s",
            )


if __name__ == "__main__":
    main()
