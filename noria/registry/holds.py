"""Pins and freezes: a pinned name is moved by a person only, a frozen one by nobody.

In: a connection inside a transaction. Out: whether a name may move. This module knows no model.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, Table, Text, delete, insert, select

from noria.errors import Held
from noria.registry.versions import tables

HOLDS = ("pin", "freeze")
ENDS = {"unpin": "pin", "unfreeze": "freeze"}
_SAID = {"pin": "pinned", "freeze": "frozen"}

holds_table = Table(
    "holds",
    tables,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hold", Text, primary_key=True),
)


def select_holds(connection: Connection, tenant: str, name: str) -> frozenset[str]:
    """What holds the name: of "pin", "freeze"."""
    query = select(holds_table.c.hold).where(
        holds_table.c.tenant == tenant, holds_table.c.name == name
    )
    return frozenset(connection.execute(query).scalars())


def set_hold(connection: Connection, tenant: str, name: str, action: str) -> bool:
    """Begin (pin, freeze) or end (unpin, unfreeze) a hold; whether that changed anything."""
    hold = ENDS.get(action, action)
    if (hold in select_holds(connection, tenant, name)) == (action in HOLDS):
        return False
    row = {"tenant": tenant, "name": name, "hold": hold}
    if action in HOLDS:
        connection.execute(insert(holds_table), row)
    else:
        connection.execute(delete(holds_table).filter_by(**row))
    return True


def require_movable(connection: Connection, tenant: str, name: str, automatic: bool) -> None:
    """Raise Held if the name is frozen, or pinned and nobody asks for the move by hand."""
    held = select_holds(connection, tenant, name)
    for hold in ("freeze", "pin") if automatic else ("freeze",):
        if hold in held:
            raise Held(
                f"{name!r} is {_SAID[hold]}: what is live stays live",
                "a name that may move",
                f"noria un{hold} ends it",
            )
