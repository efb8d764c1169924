"""How many feedback writes a store acknowledges a second, and how fast it finds a row of a million.

    python benchmarks/feedback.py                 both databases, with and without de-identification
    python benchmarks/feedback.py --rows 1000000  look-ups, after so many interactions

A write is acknowledged when it is on disk (SQLite: synchronous = FULL; PostgreSQL: fsync and
synchronous_commit on). Names are not looked for here: that is a model's work, and is measured by
benchmarks/identities.py. PostgreSQL runs on the same cores, on the same disk.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from postgres_server import running_server
from sqlalchemy import insert, select

from noria.corpus.deidentify import Deidentifier
from noria.feedback.cipher import master_keys_of
from noria.feedback.interactions import Feedback, Interaction
from noria.feedback.store import FeedbackStore
from noria.feedback.tables import as_row, interactions_table, table_of

TENANT = "acme"
CORRECTION = "Your parcel arrived on Monday; ask at the desk, please."
WITH_ADDRESS = "Your parcel arrived on Monday; write to user{}@example.com, please."  # one in ten
NUM_PERSONS = 200
ROWS_AT_ONCE = 9_000


class Untouched(Deidentifier):
    """Leaves texts as they are: what the store costs by itself."""

    def replace(self, text: str) -> tuple[str, dict[str, int]]:
        return text, {}

    def replace_together(self, texts: Sequence[str]) -> tuple[list[str], dict[str, int]]:
        return list(texts), {}


@contextmanager
def place(database: str, folder: Path) -> Iterator[Path | str]:
    """Where an empty store can be made."""
    if database == "sqlite":
        yield folder / "feedback.sqlite"
        return
    with running_server() as server:
        yield server.new_database()


@contextmanager
def opened(database: str, cleaner: Callable[[], Deidentifier]) -> Iterator[FeedbackStore]:
    """An empty store."""
    with tempfile.TemporaryDirectory() as folder, place(database, Path(folder)) as where:
        store = FeedbackStore(where, cleaner, master=master_keys_of(Path(folder) / "master.key"))
        yield store
        store.close()


def interaction(number: int) -> Interaction:
    """A request and its answer, like a help desk's."""
    return Interaction(
        tenant=TENANT,
        id=f"cmpl-{number}",
        model_name="helpdesk",
        weight_hash=f"{number % 7:064d}",
        kind="completion",
        prompt=f"Where is my parcel number {number}? It should have been here last week.",
        answer="It is on its way and should be with you by the end of this week.",
        created_at=1_760_000_000.0 + number,
        person=f"p-{number % NUM_PERSONS:032x}",
    )


def writes_per_s(
    store: FeedbackStore, num_threads: int, duration_s: float
) -> tuple[float, float, float]:
    """Acknowledged writes a second of many threads; p99 of their waits in ms; CPU of one in µs."""
    store.store_many(TENANT, [interaction(number) for number in range(500)])
    waits: list[list[float]] = [[] for _ in range(num_threads)]
    stop_at = time.perf_counter() + duration_s

    def write(worker: int) -> None:
        number = worker
        while (begun := time.perf_counter()) < stop_at:
            number += num_threads
            store.record_feedback(
                TENANT,
                f"cmpl-{number % 500}",
                "correction",
                CORRECTION if number % 10 else WITH_ADDRESS.format(number),
                person=f"person {number % NUM_PERSONS}",
                key_id="k1",
                idempotency_key=f"{worker}-{number}",
            )
            waits[worker].append(time.perf_counter() - begun)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(num_threads)]
    begun, begun_cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s, cpu_s = time.perf_counter() - begun, time.process_time() - begun_cpu
    flat = sorted(wait for some in waits for wait in some)
    assert len(store.feedback(TENANT)) == len(flat)
    return len(flat) / elapsed_s, 1000 * flat[int(0.99 * len(flat))], 1e6 * cpu_s / len(flat)


def measure_writes(databases: Sequence[str], num_threads: int, duration_s: float) -> None:
    """Print writes a second for each database, with and without de-identification."""
    for database in databases:
        for name, cleaner in (("de-identified", Deidentifier), ("as they are", Untouched)):
            with opened(database, cleaner) as store:
                rate, wait_ms, cpu_us = writes_per_s(store, num_threads, duration_s)
            with opened(database, cleaner) as store:
                alone, _, _ = writes_per_s(store, 1, duration_s / 3)
            print(
                f"{database:9} {name:14} {rate:7,.0f} writes/s, {num_threads} threads "
                f"(p99 {wait_ms:.0f} ms, {cpu_us:.0f} µs of CPU each); "
                f"one thread alone {alone:,.0f}/s",
                flush=True,
            )


def fill(store: FeedbackStore, num_rows: int) -> None:
    """Store so many interactions, a third with a thumb, sealed as the store does, but in bulk."""
    store.store_many(TENANT, [interaction(number) for number in range(NUM_PERSONS)])
    with store.database.read(TENANT) as connection:
        rows = connection.execute(select(interactions_table.c["person", "data_key"])).all()
        by_id = store.keyring.data_keys(connection, TENANT, None)
    keys = {person: by_id[data_key] for person, data_key in rows}
    for start in range(NUM_PERSONS, num_rows, ROWS_AT_ONCE):
        numbers = range(start, min(start + ROWS_AT_ONCE, num_rows))
        asked = [interaction(number) for number in numbers]
        thumbs = [
            Feedback(TENANT, f"fb-{one.id}", one.id, "thumb", "up", "person", 0.0, one.person)
            for number, one in zip(numbers, asked, strict=True)
            if number % 3 == 0
        ]
        with store.database.write(TENANT) as connection:
            for said, first in ((asked, start), (thumbs, start // 3)):
                places = enumerate(said, start=first + 1)
                rows_of = [
                    as_row(one, keys[one.person], "") | {"position": place, "idempotency_key": None}
                    for place, one in places
                ]
                connection.execute(insert(table_of(said[0])), rows_of)


def measure_lookups(databases: Sequence[str], num_rows: int) -> None:
    """Print how long it takes to find an interaction and what was said of it."""
    chosen = random.Random(1)
    for database in databases:
        with opened(database, Untouched) as store:
            begun = time.perf_counter()
            fill(store, num_rows)
            filled_s = time.perf_counter() - begun
            waits = []
            begun_cpu = time.process_time()
            for _ in range(1000):
                number = chosen.randrange(num_rows)
                begun = time.perf_counter()
                found = store.find(TENANT, f"cmpl-{number}")
                said_of_it = store.feedback(TENANT, found.id)
                waits.append(1000 * (time.perf_counter() - begun))
                assert found == interaction(number) and len(said_of_it) == (
                    number >= NUM_PERSONS and number % 3 == 0
                )
            cpu_ms = time.process_time() - begun_cpu  # of 1000
            waits.sort()
            print(
                f"{database:9} {num_rows:,} interactions (filled in {filled_s:.0f} s): an "
                f"interaction and what was said of it in {waits[500]:.2f} ms, p99 {waits[990]:.2f} "
                f"(CPU {cpu_ms:.2f} ms)",
                flush=True,
            )
            waits = []
            for number in range(200):
                begun = time.perf_counter()
                latest = store.answered_by(TENANT, f"{number % 7:064d}", 20)
                waits.append(1000 * (time.perf_counter() - begun))
                assert len(latest) == 20
            waits.sort()
            print(
                f"{database:9} the latest 20 interactions of given weights in {waits[100]:.2f} ms, "
                f"p99 {waits[198]:.2f}",
                flush=True,
            )


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rows", type=int, default=0)
    options = parser.parse_args()
    databases = options.databases.split(",")
    if options.rows:
        measure_lookups(databases, options.rows)
    else:
        measure_writes(databases, options.threads, options.seconds)


if __name__ == "__main__":
    main()
