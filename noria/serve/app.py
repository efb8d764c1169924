"""The HTTP application: OpenAI's routes, feedback, health.

In: the live models, the keys, the feedback store. Out: a FastAPI application.
Deny by default: `OPEN_PATHS` lists what is reached without a key, every other route names the
right that it needs. The tenant comes from the key, never from a request. No route trains.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from noria.feedback.store import FeedbackStore
from noria.generate.loaded import LanguageModel
from noria.serve.admission import Admission
from noria.serve.answers import Asked, Desk
from noria.serve.auth import KeyStore, Principal
from noria.serve.explain_route import Explainer, ExplainRequest
from noria.serve.guard import Guard
from noria.serve.live import LiveModels
from noria.serve.loop_route import Loop, LoopRequest
from noria.serve.page_routes import PAGE_PATHS, add_page
from noria.serve.protocol import (
    LIVE,
    ChatRequest,
    CompletionRequest,
    FeedbackRequest,
    TaskRequest,
)
from noria.serve.refusals import add_refusals, refusal
from noria.serve.replies import fresh_reply, stored_reply
from noria.serve.sessions import Sessions
from noria.serve.task_route import LiveTasks, TaskDesk

OPEN_PATHS = ("/health", *PAGE_PATHS)

IdempotencyKey = Annotated[str, Header(max_length=200)]


def needs(*rights: str) -> Any:
    """A dependency: the principal of the request, if its key has one of the rights; else 403."""
    wanted = " or ".join(map(repr, rights))

    def principal_with_right(request: Request) -> Principal:
        principal = request.state.principal
        if principal is None or not principal.rights.intersection(rights):
            raise HTTPException(403, f"this key may not do that: it needs the right {wanted}")
        assert isinstance(principal, Principal)
        return principal

    return Depends(principal_with_right)


User = Annotated[Principal, needs("use")]
Rater = Annotated[Principal, needs("rate")]
Reader = Annotated[Principal, needs("read")]
UserOrReader = Annotated[Principal, needs("use", "read")]
Promoter = Annotated[Principal, needs("promote")]


def create_app(
    *,
    models: LiveModels[LanguageModel] | None,
    keys: KeyStore,
    feedback: FeedbackStore,
    max_running: int = 2,
    max_waiting: int = 64,
    tasks: LiveTasks | None = None,
    loop: Loop | None = None,
) -> FastAPI:
    """The application over these stores; it starts and stops the models, the stores stay open.

    Without `models` there is no language model: only `tasks`, by their names. With `loop` the page
    shows it.

    At most `max_running` answers are written at once and `max_waiting` requests wait; the next is
    sent away with 429.
    """
    admission = Admission(max_running, max_waiting)
    desk = Desk(models, feedback, admission) if models is not None else None
    task_desk = TaskDesk(tasks or {}, feedback, admission)
    followed: list[LiveModels[Any]] = [*([models] if models else []), *task_desk.tasks.values()]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for one in followed:
            await run_in_threadpool(one.start)
        try:
            yield
        finally:
            if desk is not None:
                await desk.close()
            for one in followed:
                await run_in_threadpool(one.stop)

    app = FastAPI(
        title="Noria",
        lifespan=lifespan,
        openapi_url=None,  # closes /docs and /redoc too
        redirect_slashes=False,
        # A library's telemetry stays off, whatever the environment says.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    sessions = Sessions(keys)
    app.add_middleware(Guard, keys=keys, open_paths=OPEN_PATHS, sessions=sessions)
    add_refusals(app)
    if desk is not None:
        _add_answers(app, desk)
        _add_explanations(app, Explainer(desk.models, feedback, admission))
    _add_tasks(app, task_desk)
    _add_feedback(app, feedback)
    _add_state(app, models, followed, admission)
    if loop is not None:
        _add_loop(app, loop)
    add_page(app, sessions, models, has_loop=loop is not None)
    return app


def _add_answers(app: FastAPI, desk: Desk) -> None:
    async def reply(request: Request, asked: Asked) -> Response:
        if asked.request.model not in (desk.models.name, LIVE):
            return refusal(
                404, f"no such model; here it is {desk.models.name}", "model_not_found", "model"
            )
        stored = await run_in_threadpool(desk.answered, asked)
        if stored is not None:
            return stored_reply(asked, stored)
        return await fresh_reply(request, desk, asked)

    @app.post("/v1/chat/completions")
    async def chat_completions(
        request: Request, body: ChatRequest, user: User, idempotency_key: IdempotencyKey = ""
    ) -> Response:
        return await reply(request, Asked(user.tenant, body, idempotency_key))

    @app.post("/v1/completions")
    async def completions(
        request: Request, body: CompletionRequest, user: User, idempotency_key: IdempotencyKey = ""
    ) -> Response:
        return await reply(request, Asked(user.tenant, body, idempotency_key))


def _add_explanations(app: FastAPI, explainer: Explainer) -> None:
    @app.post("/v1/explain")
    async def explain(body: ExplainRequest, user: UserOrReader) -> Response:
        return await explainer.reply(user.tenant, body)


def _add_loop(app: FastAPI, loop: Loop) -> None:
    @app.get("/v1/loop")
    def loop_now(reader: Reader) -> Response:
        return JSONResponse(loop.state(reader.tenant))

    @app.get("/v1/loop/cards")
    def cards(reader: Reader) -> Response:
        return JSONResponse(loop.cards(reader.tenant))

    @app.post("/v1/loop/requests")
    def ask_for(body: LoopRequest, promoter: Promoter) -> Response:
        return JSONResponse(loop.act(promoter.tenant, body, f"key {promoter.key_id}"))


def _add_tasks(app: FastAPI, desk: TaskDesk) -> None:
    @app.post("/v1/tasks/{name}")
    async def ask_task(name: str, body: TaskRequest, user: User) -> Response:
        return await desk.reply(user.tenant, name, body)

    @app.get("/v1/tasks")
    def list_tasks(user: User) -> Response:
        return JSONResponse(desk.listed(user.tenant))


def _add_feedback(app: FastAPI, feedback: FeedbackStore) -> None:
    @app.post("/v1/feedback")
    def rate(body: FeedbackRequest, rater: Rater, idempotency_key: IdempotencyKey = "") -> Response:
        said = feedback.record_feedback(
            rater.tenant,
            body.interaction_id,
            body.kind,
            body.value,
            origin=body.origin,
            person=body.user or "",
            key_id=rater.key_id,
            idempotency_key=idempotency_key,
        )
        return JSONResponse(
            {
                "id": said.id,
                "object": "feedback",
                "interaction_id": said.interaction_id,
                "kind": said.kind,
                "created": int(said.created_at),
            }
        )


def _state(followed: Sequence[LiveModels[Any]]) -> str:
    """ok if every model answers with its newest version, unavailable if none answers."""
    states = {one.state for one in followed} or {"unavailable"}
    return states.pop() if len(states) == 1 else "degraded"


def _add_state(
    app: FastAPI,
    models: LiveModels[LanguageModel] | None,
    followed: Sequence[LiveModels[Any]],
    admission: Admission,
) -> None:
    @app.get("/v1/models")
    def list_models(user: User) -> Response:
        live = models.get(user.tenant) if models else None
        rows = []
        if models is not None and live is not None:
            row = {"id": models.name, "object": "model", "owned_by": "noria"}
            created = int(live.version.registered_at)
            rows = [{**row, "created": created, "weight_hash": live.version.weight_hash}]
        return JSONResponse({"object": "list", "data": rows})

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
            }
        return JSONResponse(body, 503 if body["status"] == "unavailable" else 200)
