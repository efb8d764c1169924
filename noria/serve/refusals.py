"""Errors as answers: OpenAI's shape, a fitting status, never a word of what was sent.

In: an error. Out: a response below 4 KB. This module knows no route.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from noria.errors import (
    InputError,
    IntegrityError,
    NoriaError,
    StorageError,
    UnknownName,
    UsageError,
)
from noria.serve.admission import Draining, Overdue, Refused
from noria.serve.asked import AnsweredMeanwhile, NothingLive
from noria.serve.bodies import error_body
from noria.serve.quota import OverQuota
from noria.serve.worker.messages import TooManyForms, WorkerGone

SOON = {"Retry-After": "3"}  # a new worker, or one slow form, needs about so long
CLIENT_CLOSED = 499  # nobody reads it; nginx's name for it in logs
_CODES = {
    401: "invalid_api_key",
    403: "no_right",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
}
_HOME = __name__.rpartition(".")[0]
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ClientGone(Exception):
    """The client closed the connection before its answer was ready."""


def refusal(
    status: int,
    message: str,
    code: str,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A response that says no."""
    kind = "server_error" if status >= 500 else _KINDS.get(status, "invalid_request_error")
    return JSONResponse(error_body(message, kind, code, param), status, dict(headers or {}))


def refusal_of(error: NoriaError) -> JSONResponse:
    """The response to an error of Noria.

    What was `given` may be the client's own text: it is left out. A server's trouble is named by
    its kind only; the log has the rest.
    """
    told = "; ".join(part for part in (error.expected, error.fix) if part)
    match error:
        case UnknownName():
            return refusal(404, f"not found: {told}", "not_found")
        case AnsweredMeanwhile():
            return refusal(409, error.given, "conflict")
        case TooManyForms():
            return refusal(429, told, "forms", headers=SOON)
        case UsageError() | InputError():
            return refusal(400, f"expected {told}", "invalid_value")
        case NothingLive():
            return refusal(503, "no model is live yet; try again later", "no_live_model")
        case WorkerGone():
            return refusal(503, "the process that answers ended; try again", "worker", headers=SOON)
        case StorageError():
            return refusal(503, "the server can't write to its disk now", "storage")
        case IntegrityError():
            return refusal(503, "the server's stored data is damaged", "integrity")
    return refusal(500, "the server could not answer", "internal")


def error_event(error: NoriaError) -> bytes:
    """The error as an event of a stream that has begun."""
    return b"data: " + bytes(refusal_of(error).body) + b"\n\n"


def add_refusals(app: FastAPI) -> None:
    """Make every error of the application an answer in OpenAI's shape."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(NoriaError, _noria)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(ClientGone, _gone)
    app.add_exception_handler(Exception, _unexpected)


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return refusal(400, "the body is not JSON", "invalid_json")
    # The name of a field may be the client's own word: only those that we gave are repeated.
    part, *names = first["loc"]
    where = [
        str(one) for one in names if part == "header" or isinstance(one, int) or one in _ours()
    ]
    param = ".".join(where) or None
    if first["type"] == "extra_forbidden":
        return refusal(400, "an unknown field", "unknown_field", param)
    told = "a value of another kind" if "tag" in first["type"] else first["msg"]
    return refusal(400, f"{param or 'the body'}: {told}", "invalid_value", param)


@cache
def _ours() -> frozenset[str]:
    """The fields of every request that this server takes."""

    def below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for one in model.__subclasses__():
            yield one
            yield from below(one)

    models = (one for one in below(BaseModel) if one.__module__.startswith(_HOME))
    return frozenset(name for one in models for name in one.model_fields)


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "invalid_request")
    return refusal(error.status_code, str(error.detail), code, headers=error.headers)


def _noria(_: Request, error: Exception) -> Response:
    assert isinstance(error, NoriaError)
    return refusal_of(error)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal_when_full(error)


def refusal_when_full(error: Refused) -> JSONResponse:
    """The response to a request that gets no place now."""
    status, message, code = 429, "all places are taken; try again later", "busy"
    match error:
        case OverQuota():
            message, code = "the tokens of this minute are used up; try again later", "quota"
        case Overdue():
            status, message, code = 503, "no place became free in time; try again later", "overdue"
        case Draining():
            status, message, code = 503, "the server is about to stop; try again", "draining"
    return refusal(status, message, code, headers={"Retry-After": str(error.retry_after_s)})


def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)


def _unexpected(_: Request, __: Exception) -> Response:
    return refusal(500, "the server could not answer", "internal")
