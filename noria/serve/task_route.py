"""The route of applications: texts in, an answer to each out, each kept so that it can be rated.

In: the live models of each application of a recipe. Out: `POST /v1/tasks/NAME`, `GET /v1/tasks`.
A request waits for a place as every other does. This module does not know what an answer says.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from noria.errors import UsageError
from noria.feedback.interactions import Interaction
from noria.feedback.store import FeedbackStore
from noria.serve.admission import Admission
from noria.serve.asked import NothingLive
from noria.serve.auth import Principal
from noria.serve.live import LiveModels
from noria.serve.meter import INTERACTION_HEADER
from noria.serve.protocol import TaskRequest
from noria.serve.quota import Quotas, num_text_tokens
from noria.serve.refusals import refusal
from noria.serve.replies import WEIGHTS_HEADER
from noria.serve.shadow import Shadow
from noria.serve.worker.models import TaskHandle

LiveTasks = Mapping[str, LiveModels[TaskHandle]]


@dataclass(frozen=True)
class TaskDesk:
    """Where applications answer: the places are shared with every other answer."""

    tasks: LiveTasks
    feedback: FeedbackStore
    admission: Admission
    quotas: Quotas
    shadow: Shadow = field(default_factory=Shadow)

    async def reply(
        self, user: Principal, name: str, asked: TaskRequest, idempotency_key: str = ""
    ) -> Response:
        """Answer a request. Raises Refused, NothingLive, UsageError for a used key."""
        tenant = user.tenant
        if name not in self.tasks:
            known = ", ".join(self.tasks) or "none"
            return refusal(404, f"no such application; here are: {known}", "task_not_found")
        if idempotency_key:
            stored = await asyncio.to_thread(self._stored, tenant, name, asked, idempotency_key)
            if stored is not None:
                return _reply(name, stored, [json.loads(one.answer) for one in stored])
        self.quotas.check(user)
        place = await self.admission.enter(tenant)
        try:
            reply = await asyncio.to_thread(self._answered, tenant, name, asked, idempotency_key)
        finally:
            place.leave()
        if reply.status_code == HTTPStatus.OK:
            self.quotas.spend(user, num_text_tokens(asked.input))
        return reply

    def _answered(
        self, tenant: str, name: str, asked: TaskRequest, idempotency_key: str
    ) -> Response:
        models = self.tasks[name]
        live = models.choose(tenant, asked.user or uuid.uuid4().hex)
        if live is None:
            raise NothingLive("no model is live", "a promoted version", "promote one first")
        began_at = time.monotonic()
        try:
            answers = live.model.predict(asked.input)
        except UsageError as error:  # it says which text is wrong and how, never what it says
            return refusal(400, str(error), "invalid_value", "input")
        except Exception:
            models.signals.note(tenant, live.version.weight_hash, "", 0.0, failed=True)
            raise
        latency_s = (time.monotonic() - began_at) / len(asked.input)
        for text in asked.input:
            models.signals.note(tenant, live.version.weight_hash, text, latency_s)
        self._copy(models, tenant, asked.input, answers)
        created_at = time.time()
        ids = [f"task-{uuid.uuid4().hex}" for _ in answers]
        kept = [
            self.feedback.record_interaction(  # before anybody hears it
                tenant=tenant,
                interaction_id=ids[index],
                model_name=live.version.name,
                weight_hash=live.version.weight_hash,
                kind="task",
                prompt=text,
                answer=json.dumps(answer, ensure_ascii=False),
                person=asked.user or "",
                idempotency_key=_key_of_text(idempotency_key, index),
                created_at=created_at,
            )
            for index, (text, answer) in enumerate(zip(asked.input, answers, strict=True))
        ]
        shown = [
            answer if one.id == ours else json.loads(one.answer)  # another was first
            for answer, one, ours in zip(answers, kept, ids, strict=True)
        ]
        return _reply(name, kept, shown)

    def _stored(
        self, tenant: str, name: str, asked: TaskRequest, idempotency_key: str
    ) -> list[Interaction] | None:
        """The stored answers to this request, or None if not all of it was answered before.

        Raises UsageError if the key was used for another request.
        """
        found = [
            self.feedback.answered(
                tenant=tenant,
                model_name=self.tasks[name].name,
                kind="task",
                prompt=text,
                person=asked.user or "",
                idempotency_key=_key_of_text(idempotency_key, index),
            )
            for index, text in enumerate(asked.input)
        ]
        stored = [one for one in found if one is not None]
        return stored if len(stored) == len(found) else None

    def _copy(
        self,
        models: LiveModels[TaskHandle],
        tenant: str,
        texts: Sequence[str],
        shown: Sequence[Mapping[str, Any]],
    ) -> None:
        """Have the texts answered in shadow, if there is one; alike is what has the same JSON."""
        tried = models.shadow(tenant, uuid.uuid4().hex)
        if tried is None:
            return

        def agreement() -> float:
            answers = tried.model.predict(texts)
            same = [_said(one) == _said(other) for one, other in zip(answers, shown, strict=True)]
            return sum(same) / len(same)

        weights = tried.version.weight_hash
        self.shadow.copy(models.signals, tenant, weights, texts[0], agreement)

    def listed(self, tenant: str) -> dict[str, Any]:
        """What answers this tenant now."""
        rows = []
        for name, models in self.tasks.items():
            live = models.get(tenant)
            if live is not None:
                said = live.model
                rows.append(
                    {
                        "id": name,
                        "object": "task",
                        "kind": said.kind,
                        "way": said.way,
                        "labels": list(said.labels),
                        "many": said.many,
                        "weight_hash": live.version.weight_hash,
                        "created": int(live.version.registered_at),
                    }
                )
        return {"object": "list", "data": rows}


def _key_of_text(idempotency_key: str, index: int) -> str:
    """The key under which one text of a request is kept; "" for no key."""
    if not idempotency_key:
        return ""
    return f"task-{hashlib.sha256(idempotency_key.encode()).hexdigest()}-{index}"


def _reply(name: str, kept: Sequence[Interaction], shown: Sequence[Mapping[str, Any]]) -> Response:
    weight_hash = kept[0].weight_hash
    body = {
        "object": "list",
        "task": name,
        "model": kept[0].model_name,
        "weight_hash": weight_hash,
        "created": int(kept[0].created_at),
        "data": [
            {"index": index, "id": one.id, "weight_hash": one.weight_hash, **value}
            for index, (one, value) in enumerate(zip(kept, shown, strict=True))
        ],
    }
    ids = ", ".join(one.id for one in kept)
    return JSONResponse(body, headers={WEIGHTS_HEADER: weight_hash, INTERACTION_HEADER: ids})


def _said(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says, without how sure it is: no two models are equally sure."""
    return {key: value for key, value in answer.items() if key != "probabilities"}
