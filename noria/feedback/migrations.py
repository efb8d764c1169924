"""How a feedback store of an older format becomes one of the newest.

In: a connection inside the transaction that opens the store. Out: the next format's tables, with
every row. A step is written in the words of its day and never touched again: it may not know
`tables.py`, which is always the newest. A step that fails leaves the old format whole.
"""

from __future__ import annotations

from sqlalchemy import Connection


def add_person_and_key(connection: Connection) -> None:
    """1 to 2: feedback says who said it and through which key; of old rows nobody knows."""
    for column in ("person", "key_id"):
        connection.exec_driver_sql(
            f"ALTER TABLE feedback ADD COLUMN {column} TEXT NOT NULL DEFAULT ''"
        )


MIGRATIONS = {1: add_person_and_key}
