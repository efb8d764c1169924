"""Near-duplicates against brute force on 20,000 documents: recall, precision, time, memory.

`python benchmarks/near_duplicates.py [--documents 20000]`: pages of LibreOffice's help in eight
languages, which repeat each other as they are, and among them one variant in five: a page with
words replaced, dropped or swapped, as many as make its similarity 0.5 to 1. Brute force counts the
shared shingles of every pair of documents (a sparse matrix by its transpose) and drops in the same
order. Beside it, if it is installed, the time of rensa's signatures of the same length.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections import defaultdict

import numpy as np
from help_pages import paragraphs
from language import TAGS
from scipy.sparse import csr_matrix

from noria.corpus.deduplicate import MIN_JACCARD, drop_duplicates
from noria.corpus.kept import whole_text
from noria.corpus.minhash import NUM_BANDS, ROWS_PER_BAND, MinHasher, shared_buckets, shingles
from noria.records import Document, Source, text_content

VARIANTS = 0.2
MIN_CHARACTERS = 100
BLOCK = 500


def pages(num_documents: int) -> list[str]:
    """Texts of whole pages, then changed copies of some."""
    found = []
    for suffix in TAGS:
        by_page = defaultdict(list)
        for (page, _), text in paragraphs(suffix).items():
            by_page[page].append(text)
        found += ["\n".join(texts) for texts in by_page.values()]
    found = [text for text in found if len(text) >= MIN_CHARACTERS]
    draw = random.Random(1)
    draw.shuffle(found)
    originals = found[: round(num_documents * (1 - VARIANTS))]
    num_variants = min(num_documents - len(originals), len(originals))
    return originals + [variant(text, draw) for text in draw.sample(originals, num_variants)]


def variant(text: str, draw: random.Random) -> str:
    """The text with up to one word in twelve (Chinese, Japanese: character) changed."""
    units = text.split(" ") if text.count(" ") > len(text) / 12 else list(text)
    rate = draw.uniform(0, 1 / 12)
    changed = []
    for unit in units:
        if draw.random() >= rate:
            changed.append(unit)
        elif draw.random() < 0.5:
            changed.append(draw.choice(units))
    return (" " if len(units) < len(text) / 2 else "").join(changed)


def similar_pairs(sets: list[np.ndarray]) -> dict[int, list[tuple[int, float]]]:
    """By brute force: document -> earlier ones at a similarity of 0.8 or more."""
    ends = np.cumsum([0, *map(len, sets)])
    columns = np.unique(np.concatenate(sets), return_inverse=True)[1]
    ones = np.ones(len(columns), np.int32)
    matrix = csr_matrix((ones, columns, ends), shape=(len(sets), columns.max() + 1))
    sizes = np.diff(ends)
    pairs: dict[int, list[tuple[int, float]]] = {}
    for start in range(0, len(sets), BLOCK):
        shared = (matrix[start : start + BLOCK] @ matrix.T).tocoo()
        one, other = shared.row + start, shared.col
        jaccard = shared.data / (sizes[one] + sizes[other] - shared.data)
        near = (other < one) & (jaccard >= MIN_JACCARD)
        for a, b, value in zip(one[near], other[near], jaccard[near], strict=True):
            pairs.setdefault(int(a), []).append((int(b), float(value)))
    return pairs


def rensa_s(texts: list[str]) -> float | None:
    """Seconds of rensa's MinHash over the same words, if it is installed."""
    try:
        from rensa import RMinHash
    except ImportError:
        return None
    started_at = time.perf_counter()
    for text in texts:
        words = text.lower().split() if " " in text else list(text)
        runs = [" ".join(words[n : n + 5]) for n in range(max(1, len(words) - 4))]
        one = RMinHash(num_perm=NUM_BANDS * ROWS_PER_BAND, seed=1)
        one.update(runs)
        one.digest()
    return time.perf_counter() - started_at


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=20_000)
    texts = pages(parser.parse_args().documents)
    records = [
        Document(text_content(text), Source("pages", n + 1, n, n)) for n, text in enumerate(texts)
    ]
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started_at = time.perf_counter()
    result = drop_duplicates(records, near_duplicates=True)
    ours_s = time.perf_counter() - started_at
    grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) * 1024

    exact = {drop.source.byte_start for drop in result.exact}
    distinct = [record for record in records if record.source.byte_start not in exact]
    hasher = MinHasher()
    started_at = time.perf_counter()
    sets = [shingles(hasher.words(whole_text(record))) for record in distinct]
    pairs = similar_pairs(sets)
    brute_s = time.perf_counter() - started_at
    gone: set[int] = set()
    for index in range(len(distinct)):
        if any(other not in gone for other, _ in pairs.get(index, ())):
            gone.add(index)
    truth = {distinct[index].source.byte_start for index in gone}
    found = {drop.source.byte_start for drop in result.near}
    started_at = time.perf_counter()
    buckets = shared_buckets(np.stack([hasher.bands_of(one) for one in sets]))
    signatures_s = time.perf_counter() - started_at
    proposed = sum(
        bool(((buckets[a] == buckets[b]) & (buckets[a] >= 0)).any())
        for a, others in pairs.items()
        for b, _ in others
    )
    num_pairs = sum(map(len, pairs.values()))
    facts = {
        "documents": len(records),
        "exact_duplicates": len(exact),
        "near_duplicates_by_brute_force": len(truth),
        "recall": round(len(found & truth) / len(truth), 5),
        "precision": round(len(found & truth) / len(found), 5),
        "similar_pairs": num_pairs,
        "pairs_proposed": round(proposed / num_pairs, 5),
        "ours_s": round(ours_s, 2),
        "brute_force_s": round(brute_s, 2),
        "signatures_and_buckets_s": round(signatures_s, 2),
        "rensa_shingles_and_signatures_s": rensa_s([whole_text(one) for one in distinct]),
        "peak_bytes_a_document": round(grown_bytes / len(records)),
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
