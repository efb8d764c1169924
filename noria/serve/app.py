"""The HTTP application: OpenAI's routes, feedback, health.

In: the live models, the keys, the feedback store. Out: a FastAPI application.
Deny by default: `OPEN_PATHS` lists what is reached without a key, every other route names the
right that it needs. The tenant comes from the key, never from a request. No route trains.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, Response

from noria.feedback.store import FeedbackStore
from noria.serve.admission import Admission
from noria.serve.asked import Asked
from noria.serve.auth import KeyStore, Principal
from noria.serve.desk import Desk, refused_by
from noria.serve.doorman import Doorman
from noria.serve.embeddings import EmbeddingDesk
from noria.serve.explain_route import Explainer, add_explanations
from noria.serve.guard import Guard
from noria.serve.live import LiveModels
from noria.serve.loop_route import Loop, add_loop
from noria.serve.meter import Meter
from noria.serve.metrics import Metrics
from noria.serve.openapi import openapi_document, openapi_page
from noria.serve.page_routes import PAGE_PATHS, add_page
from noria.serve.policy import NO_POLICY, Policy
from noria.serve.protocol import (
    LIVE,
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    FeedbackRequest,
    TaskRequest,
)
from noria.serve.quota import Quotas
from noria.serve.refusals import add_refusals, refusal
from noria.serve.replies import fresh_reply, stored_reply
from noria.serve.rights import Rater, User
from noria.serve.sessions import Sessions
from noria.serve.state_routes import add_metrics, add_state, no_such_model
from noria.serve.task_route import LiveTasks, TaskDesk
from noria.serve.tracing import Tracer
from noria.serve.worker.keeper import Worker
from noria.serve.worker.messages import Piece
from noria.serve.worker.models import LanguageHandle

OPEN_PATHS = ("/health", "/ready", *PAGE_PATHS)

IdempotencyKey = Annotated[str, Header(max_length=200)]


def create_app(
    *,
    worker: Worker,
    models: LiveModels[LanguageHandle] | None,
    keys: KeyStore,
    feedback: FeedbackStore,
    max_running: int = 2,
    max_waiting: int = 64,
    max_wait_s: float | None = None,
    tenant_tokens_per_minute: int = 0,
    tasks: LiveTasks | None = None,
    loop: Loop | None = None,
    tracer: Tracer | None = None,
    policy: Policy | None = None,
) -> FastAPI:
    """The application over these stores; it follows the models. Stores and `worker` stay open.

    Without `models` there is no language model: only `tasks`, by their names. With `loop` the page
    shows it.

    At most `max_running` answers are written at once and `max_waiting` requests wait, each for
    `max_wait_s` at most; the next is sent away with 429. A tenant may use so many tokens a minute
    (0: as many as it likes). `state.admission` of the application is the queue.
    """
    admission = Admission(max_running, max_waiting, max_wait_s)
    metrics, quotas = Metrics(), Quotas(tenant_tokens_per_minute)
    desk = Desk(models, feedback, admission) if models is not None else None
    task_desk = TaskDesk(tasks or {}, feedback, admission, quotas)
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
            await run_in_threadpool(task_desk.shadow.close)
            for one in followed:
                await run_in_threadpool(one.stop)
            if tracer is not None:
                await run_in_threadpool(tracer.close)

    app = FastAPI(
        title="Noria",
        lifespan=lifespan,
        openapi_url=None,  # FastAPI's own, whose page loads scripts from elsewhere
        redirect_slashes=False,
        # A library's telemetry stays off, whatever the environment says.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.admission = admission
    sessions = Sessions(keys)
    app.add_middleware(Doorman, admission=admission)
    app.add_middleware(Guard, keys=keys, open_paths=OPEN_PATHS, sessions=sessions)
    app.add_middleware(Meter, metrics=metrics, tracer=tracer)
    add_refusals(app)
    if desk is not None:
        _add_answers(app, desk, metrics, quotas, policy or NO_POLICY)
        add_explanations(app, Explainer(desk.models, feedback, admission), metrics, quotas)
    _add_embeddings(app, EmbeddingDesk(models, task_desk.tasks, admission), metrics, quotas)
    _add_tasks(app, task_desk)
    _add_feedback(app, feedback, metrics)
    add_state(app, worker, models, followed, admission)
    add_metrics(app, followed, admission, metrics)
    _add_document(app)
    if loop is not None:
        add_loop(app, loop)
    add_page(app, sessions, models, has_loop=loop is not None)
    return app


def _add_answers(
    app: FastAPI, desk: Desk, metrics: Metrics, quotas: Quotas, policy: Policy
) -> None:
    async def reply(
        request: Request, user: Principal, body: ChatRequest | CompletionRequest, key: str
    ) -> Response:
        def ended(last: Piece, elapsed_s: float) -> None:
            counts = metrics.of(user.tenant)
            counts.answer_s.observe(elapsed_s)
            counts.tokens.labels("prompt").inc(last.num_prompt_tokens)
            counts.tokens.labels("answer").inc(last.num_answer_tokens)
            quotas.spend(user, last.num_prompt_tokens + last.num_answer_tokens)

        asked = Asked(user.tenant, body, key, policy, ended)
        if asked.request.model not in (desk.models.name, LIVE):
            return no_such_model(desk.models)
        if key:
            stored = await run_in_threadpool(desk.answered, asked)
            if stored is not None:
                return stored_reply(asked, stored)
        quotas.check(user)
        if policy != NO_POLICY:
            why = await run_in_threadpool(refused_by, policy, asked, desk)
            if why:
                said = f"a prompt that this server's policy refuses: {why.reason}"
                return refusal(400, said, "content_policy")
        return await fresh_reply(request, desk, asked)

    @app.post("/v1/chat/completions")
    async def chat_completions(
        request: Request, body: ChatRequest, user: User, idempotency_key: IdempotencyKey = ""
    ) -> Response:
        return await reply(request, user, body, idempotency_key)

    @app.post("/v1/completions")
    async def completions(
        request: Request, body: CompletionRequest, user: User, idempotency_key: IdempotencyKey = ""
    ) -> Response:
        return await reply(request, user, body, idempotency_key)


def _add_embeddings(app: FastAPI, desk: EmbeddingDesk, metrics: Metrics, quotas: Quotas) -> None:
    @app.post("/v1/embeddings")
    async def embeddings(body: EmbeddingRequest, user: User) -> Response:
        def spend(num_tokens: int) -> None:
            metrics.of(user.tenant).tokens.labels("prompt").inc(num_tokens)
            quotas.spend(user, num_tokens)

        if not desk.knows(user.tenant, body.model):
            return no_such_model(desk.models)
        quotas.check(user)
        return await desk.reply(user.tenant, body, spend)


def _add_tasks(app: FastAPI, desk: TaskDesk) -> None:
    @app.post("/v1/tasks/{name}")
    async def ask_task(
        name: str, body: TaskRequest, user: User, idempotency_key: IdempotencyKey = ""
    ) -> Response:
        return await desk.reply(user, name, body, idempotency_key)

    @app.get("/v1/tasks")
    def list_tasks(user: User) -> Response:
        return JSONResponse(desk.listed(user.tenant))


def _add_feedback(app: FastAPI, feedback: FeedbackStore, metrics: Metrics) -> None:
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
        metrics.of(rater.tenant).feedback.labels(said.kind).inc()
        return JSONResponse(
            {
                "id": said.id,
                "object": "feedback",
                "interaction_id": said.interaction_id,
                "kind": said.kind,
                "created": int(said.created_at),
            }
        )


def _add_document(app: FastAPI) -> None:
    @cache  # built with the first question, since by then every route is there
    def built() -> tuple[bytes, str]:
        document = openapi_document(app, OPEN_PATHS)
        return bytes(JSONResponse(document).body), openapi_page(document)

    @app.get("/openapi.json")
    def document() -> Response:
        return Response(built()[0], media_type="application/json")

    @app.get("/docs")
    def page() -> Response:
        return HTMLResponse(built()[1])
