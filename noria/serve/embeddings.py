"""Embeddings: a text as one vector, from the states of the live language model.

In: texts. Out: for each the mean of the last layer's states over its tokens, of length 1.
These are a language model's states, not trained to compare texts: good enough to find what is
alike within one kind of text, worse than an encoder made for it. Vectors of different weights do
not compare, which is why every reply names its weights. Nothing is kept: there is nothing to rate.
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from starlette.responses import JSONResponse, Response
from torch import Tensor

from noria.errors import UsageError
from noria.generate.loaded import LanguageModel
from noria.serve.admission import Admission
from noria.serve.answers import NothingLive
from noria.serve.live import LiveModels
from noria.serve.meter import INTERACTION_HEADER
from noria.serve.protocol import EmbeddingRequest
from noria.serve.refusals import refusal
from noria.serve.replies import WEIGHTS_HEADER
from noria.serve.scored import prompt_ids


@torch.inference_mode()
def embed(model: LanguageModel, ids_before: list[int], ids: list[int]) -> Tensor:
    """The vector of one text: (C,), of length 1. Raises UsageError for none or too many tokens.

    `ids_before` begin every sequence of this model; they are read and not counted into the mean.
    """
    limit = model.model.config.context_tokens - len(ids_before)
    if not 0 < len(ids) <= limit:
        raise UsageError(f"a text of {len(ids)} tokens", f"1 to {limit} tokens")
    hidden = model.model(torch.tensor([[*ids_before, *ids]]))  # (1, T, C)
    mean = hidden[0, len(ids_before) :].float().mean(dim=0)
    unit: Tensor = mean / mean.norm().clamp_min(1e-12)
    return unit


@dataclass(frozen=True)
class EmbeddingDesk:
    """Where texts become vectors; the places are shared with every other answer."""

    models: LiveModels[LanguageModel]
    admission: Admission

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
        live = self.models.get(tenant)
        if live is None:
            raise NothingLive("no model is live", "a promoted version", "promote one first")
        rows: list[dict[str, Any]] = []
        num_tokens = 0
        for index, text in enumerate(asked.input):
            _, ids = prompt_ids(live.model.tokenizer, text)
            before = list(live.model.tokenizer.start_ids)
            try:
                vector = embed(live.model, before, ids)
            except UsageError as error:  # it counts tokens and says nothing of the text
                return refusal(400, f"input {index}: {error}", "invalid_value", "input")
            num_tokens += len(before) + len(ids)
            rows.append(
                {"object": "embedding", "index": index, "embedding": _as_asked(vector, asked)}
            )
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


def _as_asked(vector: Tensor, asked: EmbeddingRequest) -> list[float] | str:
    if asked.encoding_format == "float":
        return [float(one) for one in vector]
    return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode("ascii")
