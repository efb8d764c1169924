"""A turn in a process of its own, with the lowest priority.

In: which recipe. Out: how it ended, in a sentence. A turn that is stopped goes on when the same is
begun again: what was made is in the store, training in its checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from noria.recipe import TENANT

PRIORITY = 19
STOP_S = 30.0


class TurnProcess:
    """At most one `noria improve` at a time."""

    def __init__(self, recipe_path: Path, root: Path) -> None:
        self._words = ["improve", str(recipe_path), "--store", str(root), "--json"]
        self._process: subprocess.Popen[bytes] | None = None
        self._said = root / "turn.json"

    @property
    def is_running(self) -> bool:
        """Whether a turn was begun whose outcome was not asked for yet."""
        return self._process is not None

    def start(self, task: str = "", tenant: str = TENANT) -> None:
        """Begin a tenant's turn of the recipe, or of one of its applications."""
        words = [*self._words, "--tenant", tenant, *(["--task", task] if task else [])]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "noria", *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the one that watches, which stops this
            )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, PRIORITY)

    def outcome(self) -> str | None:
        """How the turn ended, once; None while it goes on or if there was none."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return None
        self._process = None
        lines = self._said.read_text(encoding="utf-8", errors="replace").splitlines()
        try:
            said = json.loads(lines[-1])
        except (IndexError, ValueError):
            return f"ended with {code}"
        if "error" in said:
            return str(said["error"])
        models = said.get("models") or {"": said}
        return "; ".join(
            f"{name} {one.get('released') or one.get('decision', '')}".strip()
            for name, one in models.items()
        )

    def stop(self) -> None:
        """Ask a turn that is going on to stop, and wait until it has."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
