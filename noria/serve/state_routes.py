"""What the server says of itself: its models, whether it is ready and well, its numbers.

In: what is followed, the worker, the queue. Out: the routes. To a key it tells what is its own
tenant's, and how full the server is; without one a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from noria.serve.admission import Admission
from noria.serve.auth import Principal
from noria.serve.live import LiveModels
from noria.serve.metrics import CONTENT_TYPE, Metrics
from noria.serve.protocol import LIVE
from noria.serve.refusals import refusal
from noria.serve.rights import Reader, User
from noria.serve.worker.keeper import Worker
from noria.serve.worker.messages import WorkerGone
from noria.serve.worker.models import LanguageHandle


def no_such_model(models: LiveModels[LanguageHandle] | None) -> Response:
    """The response to a request that names another model."""
    here = f"here it is {models.name}" if models is not None else "here are only applications"
    return refusal(404, f"no such model; {here}", "model_not_found", "model")


def _state(followed: Sequence[LiveModels[Any]]) -> str:
    """ok if every model answers with its newest version, unavailable if none answers."""
    states = {one.state for one in followed} or {"unavailable"}
    return states.pop() if len(states) == 1 else "degraded"


def add_state(
    app: FastAPI,
    worker: Worker,
    models: LiveModels[LanguageHandle] | None,
    followed: Sequence[LiveModels[Any]],
    admission: Admission,
) -> None:
    """Put the routes of models and health on the application."""

    def row(user: Principal) -> dict[str, Any] | None:
        live = models.get(user.tenant) if models else None
        if models is None or live is None:
            return None
        return {
            "id": models.name,
            "object": "model",
            "owned_by": "noria",
            "created": int(live.version.registered_at),
            "weight_hash": live.version.weight_hash,
        }

    @app.get("/v1/models")
    def list_models(user: User) -> Response:
        found = row(user)
        return JSONResponse({"object": "list", "data": [found] if found else []})

    @app.get("/v1/models/{model}")
    def find_model(model: str, user: User) -> Response:
        found = row(user)
        if found is None or model not in (found["id"], LIVE):
            return no_such_model(models)
        return JSONResponse(found)

    @app.get("/ready")
    def ready() -> Response:
        if admission.draining:
            return JSONResponse({"status": "draining"}, 503)
        is_up = _state(followed) != "unavailable"
        return JSONResponse({"status": "ready" if is_up else "unavailable"}, 200 if is_up else 503)

    @app.get("/health")
    def health(request: Request) -> Response:
        body: dict[str, Any] = {"status": _state(followed)}
        principal = request.state.principal
        if principal is not None and "read" in principal.rights:
            tenant = principal.tenant
            live = models.get(tenant) if models else None
            errors = {one.name: one.error(tenant) for one in followed if one.error(tenant)}
            body |= {
                "model": models.name if models else None,
                "weight_hash": live.version.weight_hash if live else None,
                "load_error": "; ".join(errors.values()) or None,
                "running": admission.num_running,
                "waiting": admission.num_waiting,
                "worker": worker.state,
            }
        return JSONResponse(body, 503 if body["status"] == "unavailable" else 200)


def add_metrics(
    app: FastAPI,
    followed: Sequence[LiveModels[Any]],
    admission: Admission,
    metrics: Metrics,
) -> None:
    """Put the route of the numbers on the application."""

    @app.get("/metrics")
    def numbers(reader: Reader) -> Response:
        found = {one.name: one.get(reader.tenant) for one in followed}
        live = {name: one.version.weight_hash for name, one in found.items() if one is not None}
        now = {"running": admission.num_running, "waiting": admission.num_waiting}
        engines = {}
        for name, one in found.items():
            if one is not None and isinstance(one.model, LanguageHandle):
                with suppress(WorkerGone):  # it comes back; till then there is nothing to tell
                    engines[name] = one.model.engine_state()
        told = {name: state for name, state in engines.items() if state}
        text = metrics.of(reader.tenant).text(live, now, told)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})
