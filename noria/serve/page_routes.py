"""The page's files, and signing in and out: what is reached without a key.

In: the sessions and what is served. Out: the routes of `PAGE_PATHS`. The page itself holds nothing
that is secret; everything that it shows comes from the other routes, by the right of its session.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from noria.serve.live import LiveModels
from noria.serve.refusals import refusal
from noria.serve.sessions import (
    Session,
    Sessions,
    delete_cookie,
    is_same_origin,
    set_cookie,
    token_of,
)
from noria.serve.worker.models import LanguageHandle

PAGE_FILES = (
    "index.html",
    "page.css",
    "page.js",
    "answers.js",
    "ask.js",
    "cards.js",
    "chat.js",
    "elements.js",
    "explain.js",
    "loop.js",
    "tasks.js",
    "words.js",
    "words.en.js",
    "words.zh.js",
)
PAGE_PATHS = ("/", "/session", *(f"/page/{name}" for name in PAGE_FILES[1:]))
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


class SignIn(BaseModel):
    """POST /session."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1, max_length=200)


def add_page(
    app: FastAPI,
    sessions: Sessions,
    models: LiveModels[LanguageHandle] | None,
    *,
    has_loop: bool,
) -> None:
    """Put the page, its files and `/session` on the application."""
    for name in PAGE_FILES:
        _add_file(app, name)

    def told(session: Session | None) -> dict[str, Any]:
        principal = sessions.principal(session) if session is not None else None
        if session is None or principal is None:
            return {"signed_in": False}
        live = models.get(principal.tenant) if models is not None else None
        plain = live is not None and live.model.chat_format == "plain"
        return {
            "signed_in": True,
            "csrf": session.csrf,
            "tenant": principal.tenant,
            "rights": sorted(principal.rights),
            "model": models.name if models is not None else None,
            "loop": has_loop,
            "speaks": ("completion" if plain else "chat") if models is not None else None,
        }

    @app.get("/session", include_in_schema=False)
    def session_now(request: Request) -> Response:
        token = token_of(request.scope, request.headers)
        return JSONResponse(told(sessions.find(token)))

    @app.post("/session", include_in_schema=False)
    def sign_in(request: Request, body: SignIn) -> Response:
        if not is_same_origin(request.headers):  # no other site signs anybody in here
            return refusal(403, "sign in on the page itself", "forged")
        begun = sessions.begin(body.key.strip())
        if begun is None:
            return refusal(401, "no such key, or it was revoked", "invalid_api_key", "key")
        token, session = begun
        response = JSONResponse(told(session))
        set_cookie(response, request.scope, token)
        return response

    @app.delete("/session", include_in_schema=False)
    def sign_out(request: Request) -> Response:
        sessions.end(token_of(request.scope, request.headers))
        response = JSONResponse({"signed_in": False})
        delete_cookie(response, request.scope)
        return response


def _add_file(app: FastAPI, name: str) -> None:
    content = files("noria.serve").joinpath("page", name).read_bytes()
    path = "/" if name == "index.html" else f"/page/{name}"
    kind = _TYPES[name.rpartition(".")[2]]

    @app.get(path, include_in_schema=False)
    def page_file() -> Response:
        headers = {"Content-Security-Policy": PAGE_POLICY}
        return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)
