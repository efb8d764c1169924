"""The engines of a server: one for each model that answers.

In: the model that a request begins with. Out: its engine. A model that is swapped out ends the
answers that it has begun, and when nobody has asked it for a while, its engine is closed.
This module does not know registries, tenants or HTTP.
"""

from __future__ import annotations

import threading
from typing import final

from noria.generate.batching import Engine, EngineSettings
from noria.generate.loaded import LanguageModel

IDLE_S = 60.0


@final
class Engines:
    """Engines by their model's weight hash; may be used from any thread."""

    def __init__(self, settings: EngineSettings | None = None, idle_s: float = IDLE_S) -> None:
        self._settings = settings or EngineSettings()
        self._idle_s = idle_s
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def of(self, model: LanguageModel) -> Engine:
        """The model's engine, made when it is first asked for; others that are idle are closed."""
        with self._lock:
            for weight_hash, engine in list(self._engines.items()):
                if weight_hash != model.weight_hash and engine.idle_s > self._idle_s:
                    self._engines.pop(weight_hash).close()
            found = self._engines.get(model.weight_hash)
            if found is None:
                found = self._engines[model.weight_hash] = Engine(model, self._settings)
            found.touch()
            return found

    @property
    def open(self) -> list[Engine]:
        """All engines that are not closed."""
        with self._lock:
            return list(self._engines.values())

    def close(self) -> None:
        """End every answer at once and wait for the threads."""
        for engine in self.open:
            engine.close()
