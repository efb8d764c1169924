"""Where a store of a test lies, and how another process opens it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noria.feedback.cipher import MasterKeys
from noria.feedback.store import FeedbackStore


@dataclass
class Place:
    """Where a store lies; several stores may be open on it."""

    where: Path | str
    master: MasterKeys
    opened: list[FeedbackStore] = field(default_factory=list)

    @property
    def arguments(self) -> list[str]:
        """For another process: see `OPENED`."""
        return [str(self.where), str(self.master.path)]

    def open(self, **settings: Any) -> FeedbackStore:
        """Another store on the same place."""
        store = FeedbackStore(self.where, **{"master": self.master, **settings})
        self.opened.append(store)
        return store


OPENED = """
import sys
from pathlib import Path
from noria.feedback.cipher import master_keys_of
from noria.feedback.store import FeedbackStore
where = sys.argv[1] if sys.argv[1].startswith("postgresql") else Path(sys.argv[1])
store = FeedbackStore(where, master=master_keys_of(Path(sys.argv[2])))
"""
