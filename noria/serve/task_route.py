"""The route of applications: texts in, an answer to each out, each kept so that it can be rated.

In: the live models of each application of a recipe. Out: `POST /v1/tasks/NAME`, `GET /v1/tasks`.
A request waits for a place as every other does. This module does not know what an answer says.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from noria.errors import UsageError
from noria.feedback.store import FeedbackStore
from noria.serve.admission import Admission
from noria.serve.answers import NothingLive
from noria.serve.live import Live, LiveModels
from noria.serve.protocol import TaskRequest
from noria.serve.refusals import refusal
from noria.serve.replies import WEIGHTS_HEADER
from noria.serve.shadow import Shadow
from noria.tasks.task_model import TaskModel

LiveTasks = Mapping[str, LiveModels[TaskModel]]


@dataclass(frozen=True)
class TaskDesk:
    """Where applications answer: the places are shared with every other answer."""

    tasks: LiveTasks
    feedback: FeedbackStore
    admission: Admission
    shadow: Shadow = field(default_factory=Shadow)

    async def reply(self, tenant: str, name: str, asked: TaskRequest) -> Response:
        """Answer a request. Raises Busy, NothingLive, and UsageError for an empty text."""
        if name not in self.tasks:
            known = ", ".join(self.tasks) or "none"
            return refusal(404, f"no such application; here are: {known}", "task_not_found")
        place = await self.admission.enter()
        try:
            return await asyncio.to_thread(self._answered, tenant, name, asked)
        finally:
            place.leave()

    def _answered(self, tenant: str, name: str, asked: TaskRequest) -> Response:
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
        self._copy(models, tenant, asked.input, [answer.as_json() for answer in answers])
        created_at = time.time()
        rows = []
        for index, (text, answer) in enumerate(zip(asked.input, answers, strict=True)):
            value = answer.as_json()
            kept = self._kept(tenant, live, asked, text, value, created_at)
            rows.append({"index": index, "id": kept, **value})
        weight_hash = live.version.weight_hash
        body = {
            "object": "list",
            "task": name,
            "model": live.version.name,
            "weight_hash": weight_hash,
            "created": int(created_at),
            "data": rows,
        }
        return JSONResponse(body, headers={WEIGHTS_HEADER: weight_hash})

    def _copy(
        self,
        models: LiveModels[TaskModel],
        tenant: str,
        texts: Sequence[str],
        shown: Sequence[Mapping[str, Any]],
    ) -> None:
        """Have the texts answered in shadow, if there is one; alike is what has the same JSON."""
        tried = models.shadow(tenant, uuid.uuid4().hex)
        if tried is None:
            return

        def agreement() -> float:
            answers = [answer.as_json() for answer in tried.model.predict(list(texts))]
            same = [_said(one) == _said(other) for one, other in zip(answers, shown, strict=True)]
            return sum(same) / len(same)

        weights = tried.version.weight_hash
        self.shadow.copy(models.signals, tenant, weights, texts[0], agreement)

    def _kept(
        self,
        tenant: str,
        live: Live[TaskModel],
        asked: TaskRequest,
        text: str,
        answer: Mapping[str, Any],
        created_at: float,
    ) -> str:
        """Keep an answer before anybody hears it; returns the interaction's id."""
        return self.feedback.record_interaction(
            tenant=tenant,
            interaction_id=f"task-{uuid.uuid4().hex}",
            model_name=live.version.name,
            weight_hash=live.version.weight_hash,
            kind="task",
            prompt=text,
            answer=json.dumps(answer, ensure_ascii=False),
            person=asked.user or "",
            created_at=created_at,
        ).id

    def listed(self, tenant: str) -> dict[str, Any]:
        """What answers this tenant now."""
        rows = []
        for name, models in self.tasks.items():
            live = models.get(tenant)
            if live is not None:
                said = live.model.description
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


def _said(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says, without how sure it is: no two models are equally sure."""
    return {key: value for key, value in answer.items() if key != "probabilities"}
