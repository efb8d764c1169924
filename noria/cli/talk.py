"""chat, serve, key: people and programs talk with the live model."""

from __future__ import annotations

import json
import logging
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.errors import UsageError
from noria.recipe import TENANT

keys = typer.Typer(help="Create, list and revoke keys of the server.")


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(chat)
    app.command()(serve)
    app.add_typer(keys, name="key")


def chat(
    recipe: Path = RECIPE,
    message: str = typer.Option("", "--message", "-m", help="Ask once and stop."),
    model: str = typer.Option("", "--model", help="Weight hash (prefix); default: the live one."),
    max_tokens: int = typer.Option(120, "--max-tokens", min=1, help="Longest answer."),
    temperature: float = typer.Option(0.7, "--temperature", min=0.0, max=2.0),
    seed: int | None = typer.Option(None, "--seed", help="The same seed, the same answer."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Talk with a model of the recipe; each answer can be given feedback."""
    from noria.generate.sampling import Sampling
    from noria.talk import Talk

    if as_json and not message:
        raise UsageError("--json without --message", "a message to answer", 'add -m "…"')
    with Opened(recipe, store, quiet=True) as workspace:
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed)
        talk = Talk(workspace, model, sampling)
        if message:
            answer = talk.answer(message, None if as_json else _print_piece)
            show(answer, as_json, f"\n[{answer['weight_hash'][:12]}, interaction {answer['id']}]")
            return
        print(f"weights {talk.weight_hash[:12]}; an empty line ends the talk")
        while True:
            try:
                message = input("> ")
            except EOFError:
                return
            if not message.strip():
                return
            answer = talk.answer(message, _print_piece)
            print(f"\n[interaction {answer['id']}]")


def _print_piece(text: str) -> None:
    print(text, end="", flush=True)


def serve(
    recipe: Path = RECIPE,
    host: str = typer.Option("", "--host", help="Address; default: the recipe's."),
    port: int = typer.Option(-1, "--port", min=-1, max=65535, help="Port; default: the recipe's."),
    store: Path | None = STORE,
    stop_with_stdin: bool = typer.Option(
        False, "--stop-with-stdin", help="Stop when standard input closes."
    ),
    tls_cert: Path | None = typer.Option(
        None, "--tls-cert", help="Serve over TLS: the certificate with its chain, PEM."
    ),
    tls_key: Path | None = typer.Option(None, "--tls-key", help="The certificate's key, PEM."),
    log: str = typer.Option(
        "",
        "--log",
        help="Write a JSON line for each request to this file; '-': standard error. "
        "Default: only warnings, to standard error.",
    ),
    trace: str = typer.Option(
        "", "--trace", help="Send a span for each request to this OTLP/HTTP address (extra otel)."
    ),
    as_json: bool = JSON,
) -> None:
    """Serve the live model, OpenAI-compatible; a promotion is followed without a restart."""
    from noria.runtime import keep_memory_private
    from noria.serve.log_lines import STANDARD_ERROR, json_log
    from noria.serve.run import Tls
    from noria.serve.run import serve as serve_app
    from noria.serve.tracing import tracer_to
    from noria.serve.worker.keeper import Worker
    from noria.serving import build_app

    if (tls_cert is None) != (tls_key is None):
        raise UsageError("one of --tls-cert and --tls-key", "both or none", "name both files")
    tls = Tls(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    keep_memory_private()  # of the worker above all, which parses files of others
    level = logging.INFO if log else logging.WARNING
    logged = json_log(log or STANDARD_ERROR, level)
    with Opened(recipe, store, quiet=True) as workspace, logged, ExitStack() as running:
        settings = workspace.recipe.serve
        worker = running.enter_context(Worker(settings.max_running))
        app = build_app(workspace, worker, tracer_to(trace) if trace else None)
        secret = ""
        now = time.time()
        usable = any(key.state(now) == "active" for key in workspace.keys.list(TENANT))
        if not stop_with_stdin and not usable:
            secret = workspace.keys.create(TENANT, ("use", "rate", "read", "promote")).secret

        def ready(url: str) -> None:
            lines = [f"serving {workspace.recipe.name} at {url} (Ctrl-C stops it)"]
            if secret:
                lines.append(f"your key, shown once: {secret}")
            else:
                lines.append("keys: noria key create | list | revoke")
            show({"url": url, "key": secret}, as_json, "\n".join(lines))

        serve_app(
            app,
            host or settings.host,
            settings.port if port < 0 else port,
            ready,
            stop_with_stdin=stop_with_stdin,
            drain=app.state.admission,
            tls=tls,
        )


@keys.command("create")
def create_key(
    recipe: Path = RECIPE,
    rights: str = typer.Option("use,rate", "--rights", help="Of: use, rate, promote, read."),
    tenant: str = typer.Option(TENANT, "--tenant"),
    days: float | None = typer.Option(
        None, "--days", help="Refused after so many days; default: only once it is revoked."
    ),
    tokens_per_minute: int | None = typer.Option(
        None, "--tokens-per-minute", help="What it may use; default: no limit of its own."
    ),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Create a key; it is shown once, only its hash is kept."""
    with Opened(recipe, store, quiet=True) as workspace:
        wanted = tuple(part.strip() for part in rights.split(",") if part.strip())
        created = workspace.keys.create(
            tenant, wanted, days=days, tokens_per_minute=tokens_per_minute
        )
    show({"id": created.key_id, "key": created.secret}, as_json, f"{created.secret}")


@keys.command("list")
def list_keys(
    recipe: Path = RECIPE,
    tenant: str = typer.Option(TENANT, "--tenant"),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """List the keys of a tenant."""
    with Opened(recipe, store, quiet=True) as workspace:
        now = time.time()
        rows = [
            {
                "id": key.key_id,
                "rights": list(key.rights),
                "state": key.state(now),
                "revoked": key.revoked_at is not None,
                "created": _day(key.created_at),
                "expires": _day(key.expires_at),
                "tokens_per_minute": key.tokens_per_minute,
            }
            for key in workspace.keys.list(tenant)
        ]
    show({"keys": rows}, as_json, "\n".join(json.dumps(row) for row in rows) or "no keys")


def _day(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


@keys.command("revoke")
def revoke_key(
    key_id: str = typer.Argument(..., help="The key's id, as `list` shows it."),
    recipe: Path = RECIPE,
    tenant: str = typer.Option(TENANT, "--tenant"),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Revoke a key; requests with it are refused from then on."""
    with Opened(recipe, store, quiet=True) as workspace:
        workspace.keys.revoke(tenant, key_id)
    show({"revoked": key_id}, as_json, f"revoked {key_id}")
