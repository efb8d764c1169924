"""Embeddings: a text as one vector, of length 1.

In: texts. Out: for each what an encoder makes of it that was trained to compare texts, where one of
the recipe's applications is over such vectors; else the mean of the last layer's states of the live
language model over its tokens, which finds what is alike within one kind of text, less well.
Vectors of different weights do not compare, which is why every reply names its weights. Nothing is
kept: there is nothing to rate.
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from starlette.responses import JSONResponse, Response

from noria.errors import UsageError
from noria.serve.admission import Admission
from noria.serve.asked import NothingLive
from noria.serve.live import Live, LiveModels
from noria.serve.meter import INTERACTION_HEADER
from noria.serve.protocol import LIVE, EmbeddingRequest
from noria.serve.refusals import refusal
from noria.serve.replies import WEIGHTS_HEADER
from noria.serve.task_route import LiveTasks
from noria.serve.worker.models import LanguageHandle, TaskHandle


@dataclass(frozen=True)
class EmbeddingDesk:
    """Where texts become vectors; the places are shared with every other answer."""

    models: LiveModels[LanguageHandle] | None
    tasks: LiveTasks
    admission: Admission

    def knows(self, tenant: str, name: str) -> bool:
        """Whether something has this name that makes vectors for this tenant, or would if live."""
        return self._is_main(name) or self._encoder(tenant, name) is not None

    def _is_main(self, name: str) -> bool:
        return self.models is not None and name in (self.models.name, LIVE)

    def _encoder(self, tenant: str, name: str) -> Live[TaskHandle] | None:
        """The first application over sentence vectors, or the one of that name."""
        for one in self.tasks.values():
            live = one.get(tenant)
            asked = name in (one.name, LIVE) or self._is_main(name)
            if asked and live is not None and live.model.makes_vectors:
                return live
        return None

    async def reply(
        self, tenant: str, asked: EmbeddingRequest, spend: Callable[[int], None]
    ) -> Response:
        """Answer a request; `spend` is told its tokens. Raises Refused, NothingLive."""
        place = await self.admission.enter(tenant)
        try:
            return await asyncio.to_thread(self._answered, tenant, asked, spend)
        finally:
            place.leave()

    def _answered(
        self, tenant: str, asked: EmbeddingRequest, spend: Callable[[int], None]
    ) -> Response:
        live: Live[TaskHandle] | Live[LanguageHandle] | None = self._encoder(tenant, asked.model)
        if live is None and self.models is not None:
            live = self.models.get(tenant)
        if live is None:
            raise NothingLive("no model is live", "a promoted version", "promote one first")
        try:
            vectors, num_tokens = live.model.embed(asked.input)
        except UsageError as error:  # it counts tokens and says nothing of the text
            return refusal(400, str(error), "invalid_value", "input")
        rows = [
            {"object": "embedding", "index": index, "embedding": _as_asked(vector, asked)}
            for index, vector in enumerate(vectors)
        ]
        spend(num_tokens)
        weight_hash = live.version.weight_hash
        request_id = f"embd-{uuid.uuid4().hex}"
        body = {
            "id": request_id,
            "object": "list",
            "model": live.version.name,
            "weight_hash": weight_hash,
            "created": int(time.time()),
            "data": rows,
            "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
        }
        headers = {WEIGHTS_HEADER: weight_hash, INTERACTION_HEADER: request_id}
        return JSONResponse(body, headers=headers)


def _as_asked(vector: str, asked: EmbeddingRequest) -> list[float] | str:
    if asked.encoding_format == "base64":
        return vector
    return [float(one) for one in np.frombuffer(base64.b64decode(vector), "<f4")]
