"""What can be asked of this server, as an OpenAPI document and as a page that reads it aloud.

In: the application's routes. Out: a JSON document (OpenAPI 3.1), and HTML without a script, a
style or any outside reference. The document has no secret, but only key holders get it: a stranger
need not know what runs here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import noria

REFUSALS = {
    "400": "The request is not what the route takes; the message says why and repeats none of it.",
    "401": "No key, or one that does not hold.",
    "403": "The key lacks the right.",
    "404": "Nothing of that name belongs to this key's tenant.",
    "408": "The body did not come in time.",
    "409": "The same idempotency key was answered meanwhile: send it again.",
    "413": "The body is too large.",
    "429": "All places or the minute's tokens are taken; Retry-After says when to try again.",
    "503": "No model is live, the wait was too long, the server stops, or its disk is in trouble.",
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_GENERATED = ("HTTPValidationError", "ValidationError")  # FastAPI's own shape of a refusal


def openapi_document(app: FastAPI, open_paths: Collection[str]) -> dict[str, Any]:
    """The document of every route; `open_paths` need no key."""
    document = get_openapi(
        title="Noria",
        version=noria.__version__,
        description="OpenAI's interface to the live model, applications and feedback.",
        routes=app.routes,
    )
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in _GENERATED:
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, _, operation in operations(document):
        operation["security"] = [] if path in open_paths else [{"key": []}]
        operation["responses"].pop("422", None)
        for status, text in REFUSALS.items():
            operation["responses"][status] = {"description": text, "content": refused}
        if path in open_paths:
            del operation["responses"]["503"]["content"]  # it says its state
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every (path, method, operation) of a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def openapi_page(document: dict[str, Any]) -> str:
    """The document as HTML: each route, its fields, and what it may refuse."""
    sections = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('description') or operation['summary'])}"
        f"{'' if operation['security'] else ' Open: no key is needed.'}</p>"
        f"{_fields(document, operation)}"
        for path, method, operation in operations(document)
    ]
    refusals = "".join(f"<dt>{status}</dt><dd>{escape(t)}</dd>" for status, t in REFUSALS.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Noria: routes</title></head>'
        f"<body><h1>Routes of this server</h1>{''.join(sections)}"
        f"<h2>Refusals</h2><dl>{refusals}</dl>"
        '<p>As a document: <a href="/openapi.json">openapi.json</a></p></body></html>'
    )


def _fields(document: dict[str, Any], operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return ""
    name = content["schema"]["$ref"].rsplit("/", 1)[1]
    schema = document["components"]["schemas"][name]
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><th scope='row'><code>{escape(field)}</code></th><td>{escape(_kind(value))}</td>"
        f"<td>{'needed' if field in required else ''}</td></tr>"
        for field, value in schema["properties"].items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _kind(schema: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return "one of " + ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    kind = str(schema.get("type", "any value"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    ends = [f"{word} {schema[key]:,}" for key, word in _ENDS.items() if key in schema]
    return " ".join([kind, *ends])


_ENDS = {
    "minimum": "from",
    "maximum": "to",
    "exclusiveMaximum": "below",
    "maxLength": "up to characters",
}
