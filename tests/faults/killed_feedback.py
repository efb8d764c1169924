"""Kills writers of feedback, again and again on one store, and counts what is there after each."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from random import Random

from warm import WarmRunner
from warm_feedback import CLIENTS, acknowledged

from noria.feedback.cipher import master_keys_of
from noria.feedback.store import FeedbackStore

MOMENTS = {  # and how often a child that is not killed passes it, at the least
    "before the transaction": 16,
    "before a statement": 100,
    "before commit": 16,
    "after commit": 16,
    "after acknowledging": 24,
}


def kill_writers(
    warm: WarmRunner, where: Path | str, folder: Path, num_kills: int, random: Random
) -> Counter[str]:
    """Kill so many writers of one store and check it after each; how they ended, counted."""
    key, told = folder / "master.key", folder / "told"
    master = master_keys_of(key)
    ended: Counter[str] = Counter()
    asked = {"where": str(where), "key": str(key), "told": str(told)}
    FeedbackStore(where, master=master).close()
    for number in range(num_kills):
        way = ("time", "line", "moment")[number % 3]
        if way == "time":
            code = warm.run(asked, kill_after_s=random.uniform(0.01, 0.25))
        elif way == "line":
            code = warm.run({**asked, "kill_line": random.randint(1, 1800)})
        else:
            moment = random.choice(list(MOMENTS))
            code = warm.run({**asked, "kill_at": [moment, random.randint(1, MOMENTS[moment])]})
        assert code in (-9, 0), (way, code)
        ended[way if code else "not killed"] += 1
        check(where, folder, acknowledged(told))
    return ended


def check(where: Path | str, folder: Path, last: dict[str, int]) -> None:
    """Everything acknowledged is there, nothing twice; at most one more of each client."""
    store = FeedbackStore(where, master=master_keys_of(folder / "master.key"))
    asked, said = store.interactions("acme"), store.feedback("acme")
    store.close()
    for rows in (
        Counter(one.id for one in asked),
        Counter(one.interaction_id for one in said),
    ):
        assert set(rows.values()) <= {1}, rows.most_common(3)
        for client in CLIENTS:
            num = sum(one.startswith(f"{client}-") for one in rows)
            assert last.get(client, 0) <= num <= last.get(client, 0) + 1
            assert all(f"{client}-{number}" in rows for number in range(1, num + 1))
    for one in said:
        number = one.interaction_id.split("-")[1]
        assert one.value == f"It arrived. {number}"
    if isinstance(where, Path):
        file = sqlite3.connect(where)
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
        file.close()
