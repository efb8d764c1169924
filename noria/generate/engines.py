"""The engines of a process that answers: one for each model.

In: the model that a request begins with. Out: its engine, until it is said that nobody will ask
that model again. This module does not know registries, tenants or HTTP.
"""

from __future__ import annotations

import threading
from typing import final

from noria.generate.batching import Engine, EngineSettings
from noria.generate.loaded import LanguageModel


@final
class Engines:
    """Engines by their model; may be used from any thread."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self._settings = settings or EngineSettings()
        self._engines: dict[int, Engine] = {}  # by the model's identity, which its engine keeps
        self._lock = threading.Lock()

    def of(self, model: LanguageModel) -> Engine:
        """The model's engine, made when it is first asked for."""
        with self._lock:
            found = self._engines.get(id(model))
            if found is None:
                found = self._engines[id(model)] = Engine(model, self._settings)
            return found

    def drop(self, model: LanguageModel) -> None:
        """Close the model's engine, if it has one: an answer that is being drawn ends."""
        with self._lock:
            engine = self._engines.pop(id(model), None)
        if engine is not None:
            engine.close()

    @property
    def open(self) -> list[Engine]:
        """All engines that are not closed."""
        with self._lock:
            return list(self._engines.values())

    def close(self) -> None:
        """End every answer at once and wait for the threads."""
        for engine in self.open:
            engine.close()
