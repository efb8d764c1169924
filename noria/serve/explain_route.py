"""`POST /v1/explain`: why this answer, by the weights that gave it.

In: an interaction's id, and a token of it where attention is asked for. Out: probabilities and
alternatives of every token; or where each layer and head read before one. What is explained is the
text as it is stored, where names may have been replaced. A request waits for a place as all do, and
the tokens that are read again are paid for as an answer's are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from noria.feedback.store import FeedbackStore
from noria.serve.admission import Admission
from noria.serve.live import LiveModels
from noria.serve.metrics import Metrics
from noria.serve.quota import Quotas
from noria.serve.refusals import refusal
from noria.serve.rights import UserOrReader
from noria.serve.worker.models import LanguageHandle


class ExplainRequest(BaseModel):
    """POST /v1/explain; with `token`, the place of a token, attention is told of that one."""

    model_config = ConfigDict(extra="forbid")

    interaction_id: str = Field(min_length=1, max_length=200)
    token: int | None = Field(None, ge=1, le=2**31)


class Explainer:
    """Explains the answers of live models."""

    def __init__(
        self, models: LiveModels[LanguageHandle], feedback: FeedbackStore, admission: Admission
    ) -> None:
        self._models = models
        self._feedback = feedback
        self._admission = admission

    async def reply(
        self, tenant: str, asked: ExplainRequest, spend: Callable[[int], None]
    ) -> Response:
        """Explain an answer of this tenant; `spend` is told the tokens that are read for it.

        Raises UnknownName, UsageError, Busy.
        """
        place = await self._admission.enter(tenant)
        try:
            return await asyncio.to_thread(self._explained, tenant, asked, spend)
        finally:
            place.leave()

    def _explained(
        self, tenant: str, asked: ExplainRequest, spend: Callable[[int], None]
    ) -> Response:
        interaction = self._feedback.find(tenant, asked.interaction_id)
        live = self._models.get(tenant)
        if interaction.kind == "task":
            return refusal(400, "answers of applications have no tokens", "not_explained")
        if live is None or live.version.weight_hash != interaction.weight_hash:
            message = "the weights that gave this answer are not live any more; ask again"
            return refusal(409, message, "other_weights")
        found = live.model.explain(
            interaction.kind,
            interaction.prompt,
            interaction.answer,
            interaction.num_prompt_tokens,
            asked.token,
        )
        spend(len(found.get("tokens", ())) if asked.token is None else asked.token)
        body = {
            "id": interaction.id,
            "object": "explanation",
            "weight_hash": interaction.weight_hash,
        }
        return JSONResponse({**body, **found})


def add_explanations(app: FastAPI, explainer: Explainer, metrics: Metrics, quotas: Quotas) -> None:
    """Put the route on the application."""

    @app.post("/v1/explain")
    async def explain_answer(body: ExplainRequest, user: UserOrReader) -> Response:
        def spend(num_tokens: int) -> None:
            metrics.of(user.tenant).tokens.labels("prompt").inc(num_tokens)
            quotas.spend(user, num_tokens)

        quotas.check(user)
        return await explainer.reply(user.tenant, body, spend)
