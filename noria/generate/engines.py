"""The engines of a process that answers: one for each base with all adapters over it, or encoder.

In: the model that a request begins with. Out: its base's engine, until it is said of each model
over it that nobody will ask that one again; or the encoder's.
This module does not know registries, tenants or HTTP.
"""

from __future__ import annotations

import threading
from typing import final

from noria.generate.batching import Engine, EngineSettings, EngineState
from noria.generate.encoding import EncoderEngine
from noria.generate.loaded import Answering
from noria.model.headed import HeadedModel


@final
class Engines:
    """Engines by their base; may be used from any thread."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self._settings = settings or EngineSettings()
        self._engines: dict[int, Engine] = {}  # by the base's identity, which its engine keeps
        self._asked: dict[int, set[int]] = {}  # which models over it are asked
        self._encoders: dict[int, EncoderEngine] = {}  # by the model's identity
        self._lock = threading.Lock()

    def of(self, model: Answering) -> Engine:
        """The engine of the model's base, made when it is first asked for."""
        with self._lock:
            base = id(model.base)
            found = self._engines.get(base)
            if found is None:
                found = self._engines[base] = Engine(model, self._settings)
            self._asked.setdefault(base, set()).add(id(model))
            return found

    def state(self, model: Answering) -> EngineState | None:
        """What the engine of the model's base is doing, None if nobody has asked it yet."""
        with self._lock:
            found = self._engines.get(id(model.base))
        return None if found is None else found.state

    def encoder(self, model: HeadedModel, pad_id: int) -> EncoderEngine:
        """The engine of a model under its head, made when it is first asked for."""
        with self._lock:
            found = self._encoders.get(id(model))
            if found is None:
                found = self._encoders[id(model)] = EncoderEngine(model, pad_id)
            return found

    def drop(self, model: Answering | HeadedModel) -> None:
        """Nobody will ask this model again: with the last over its base the engine is closed.

        An answer that is being drawn then ends.
        """
        engine: Engine | EncoderEngine | None = None
        with self._lock:
            if isinstance(model, HeadedModel):
                engine = self._encoders.pop(id(model), None)
            else:
                engine = self._without(model)
        if engine is not None:
            engine.close()

    def _without(self, model: Answering) -> Engine | None:
        """Forget a model; returns its engine if no other is asked there."""
        asked = self._asked.get(id(model.base), set())
        asked.discard(id(model))
        if asked:
            return None
        self._asked.pop(id(model.base), None)
        return self._engines.pop(id(model.base), None)

    @property
    def open(self) -> list[Engine]:
        """All engines that draw answers and are not closed."""
        with self._lock:
            return list(self._engines.values())

    def close(self) -> None:
        """End every answer at once and wait for the threads."""
        with self._lock:
            encoders = list(self._encoders.values())
        for engine in self.open:
            engine.close()
        for encoder in encoders:
            encoder.close()
