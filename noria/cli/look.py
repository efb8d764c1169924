"""trace, explain, compare, doctor: where things come from, why, which is better, is all well."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.errors import UsageError


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(trace)
    app.command()(explain)
    app.command()(compare)
    app.command()(doctor)


def trace(
    name: str = typer.Argument(
        "", help="Weight hash, artifact key, interaction id or record id; empty: list them."
    ),
    example: int = typer.Option(
        0, "--example", help="A training example: the number, from 1, of its sequence of tokens."
    ),
    token: int = typer.Option(-1, "--token", help="Likewise: a token's position in tokens.bin."),
    split: str = typer.Option("train", "--split", help="Of --example, --token: train or held_out."),
    recipe: Path = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe."),
    verify: bool = typer.Option(
        False, "--verify", help="Read every stored byte and the whole audit trail again."
    ),
    again: str = typer.Option(
        "", "--replay", help="Decide again: a verdict's key (prefix), or a position in the trail."
    ),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Walk from weights, an answer, a training example or a record back to its files."""
    from noria import lineage
    from noria.stages.replaying import replay

    if bool(name) + bool(example) + (token >= 0) + bool(again) > 1:
        raise UsageError("a name, --example, --token or --replay together", "one of them")
    with Opened(recipe, store, as_json) as workspace:
        found: dict[str, Any] = {}
        if verify:
            found["verified"] = lineage.verify(workspace)
        if again:
            found["replayed"] = replay(workspace, again)
        elif name:
            found |= lineage.trace(workspace, name)
        elif example:
            found |= lineage.trace_example(workspace, split, example)
        elif token >= 0:
            found |= lineage.trace_token(workspace, split, token)
        elif not verify:
            found |= lineage.overview(workspace)
    show(found, as_json, _describe(found))


def _describe(found: dict[str, Any]) -> str:
    lines = []
    if "verified" in found:
        counts = found["verified"]
        lines.append(f"{counts['artifacts']} artifacts and {counts['audit_entries']} audit entries")
        lines[-1] += " are what was stored"
    if "replayed" in found:
        one = found["replayed"]
        lines.append(
            f"entry {one['position']}: {one['action']} of {one['weight_hash'][:12]}: the same again"
        )
    if "artifacts" in found:
        lines.append(f"live: {(found['live'] or 'nothing')[:12]}")
        lines += [f"live: {hash_[:12]} ({task})" for task, hash_ in found["tasks"].items()]
        lines.append("versions:")
        lines += [
            f"  {v['weight_hash'][:12]}  {v['origin']:<20} from {v['parent'][:12] or 'nothing'}"
            for v in found["versions"]
        ]
        lines.append("audit:")
        lines += [
            f"  {e['position']:>4}  {time.strftime('%F %T', time.gmtime(e['at']))}  "
            f"{e['action']:<9} "
            f"{e['weight_hash'][:12]}  {e['actor']}: {e['reason']}"
            for e in found["audit"]
        ]
        lines.append("artifacts:")
        lines += [f"  {a['key'][:12]}  {a['stage']}" for a in found["artifacts"]]
    elif found.get("kind") == "record":
        lines.append(_describe_record(found))
    elif "kind" in found:
        lines.append(json.dumps(found, indent=1, ensure_ascii=False))
    return "\n".join(lines)


def _describe_record(found: dict[str, Any]) -> str:
    """A record's way back, step by step."""
    original, stored = found["original"], found["stored"]
    place = f"{original['unit']} {original['line']:,}" if original["line"] else "the whole file"
    if original["byte_end"]:
        place += f", bytes {original['byte_start']:,} to {original['byte_end']:,}"
    lines = [f"{found['record']['shape']} {found['id'][:12]} of {found['split']}"]
    if "tokens" in found:
        at = found["tokens"]
        lines.append(f"  tokens {at['start']:,} to {at['end']:,} of {at['shard']}")
    lines.append(f"  stored {stored['file']}:{stored['line']}")
    lines.append(f"  from   {original['file']}, {place}")
    lines += [f"         {original['path']}"] if original["path"] else []
    lines += [f"         {original['problem']}"] if original["problem"] else []
    for what, text in (("what stands there", original["raw"]), ("read as", original["read"])):
        lines += [f"── {what}", text] if text else []
    return "\n".join(lines)


def explain(
    interaction: str = typer.Argument(..., help="The id of an answer, as chat or the server gave."),
    recipe: Path = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """How likely each token of an answer was, and what else could have stood there."""
    from noria.talk import explained

    with Opened(recipe, store, as_json) as workspace:
        found = explained(workspace, interaction)
    show(found, as_json, _explained(found))


def _explained(found: dict[str, Any]) -> str:
    lines = [f"weights {found['weight_hash'][:12]}"]
    for token in found["tokens"][found["answer_start"] :]:
        others = [
            f"{one['text']!r} {one['probability']:.1%}"
            for one in token["alternatives"]
            if not one["chosen"]
        ]
        likely = "" if token["probability"] is None else f"{token['probability']:.1%}"
        lines.append(f"{token['text']!r:<20} {likely:>6}   {', '.join(others[:3])}")
    return "\n".join(lines)


def compare(
    a: str = typer.Argument(
        ..., help="`live`, a weight hash (prefix), TASK, TASK.WAY, or a folder of results."
    ),
    b: str = typer.Argument(..., help="What to compare it with, likewise."),
    recipe: Path = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe."),
    metric: list[str] = typer.Option([], "--metric", help="Which metric to show by slice."),
    examples: int = typer.Option(3, "--examples", min=0, help="How many records to show."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Two models on the same records: which is better, where, and what could have been seen."""
    from noria.stages.comparing import compare_versions

    with Opened(recipe, store, as_json) as workspace:
        found = compare_versions(workspace, a, b, metric, examples)
    show(found, as_json, _compared(found))


def _compared(found: dict[str, Any]) -> str:
    first, second = found["a"], found["b"]
    lines = [
        f"a: {first['name']} (weights {first['weight_hash'][:12]})",
        f"b: {second['name']} (weights {second['weight_hash'][:12]})",
        f"{found['num_records']} records {found['data_digest'][:12]}",
        *found["remarks"],
        "",
        f"{'on':<28} {'metric':<18} {'a':>7} {'b':>7}  {'a - b (95%)':<27} {'p':>6} "
        f"{'visible':>8}  a is",
    ]
    lines += [
        f"{row['slice'][:28]:<28} {row['metric'][:18]:<18} {row['a']:>7.3f} {row['b']:>7.3f}  "
        f"{row['difference']:+.4f} ({_end(row['low'], '-')} to {_end(row['high'], '+')}) "
        f"{_p_value(row['p_value']):>6} {_end(row['smallest_visible'], '').lstrip('+'):>8}  "
        f"{row['a_is']}"
        for row in found["rows"]
    ]
    lines += ["", "visible: the smallest true difference that would be seen 4 times out of 5"]
    for one in found["examples"]:
        lines += ["", f"a {one['a']}, b {one['b']}:", f"  {one['text']}"]
    return "\n".join(lines)


def _p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _end(value: float | None, sign: str) -> str:
    return f"{sign}∞" if value is None else f"{value:+.4f}"


def doctor(recipe: Path = RECIPE, store: Path | None = STORE, as_json: bool = JSON) -> None:
    """Look at this machine and, if there is a recipe, at its store; say what is missing."""
    from noria.doctor import examine_machine, examine_workspace

    findings = examine_machine()
    if recipe.exists():
        with Opened(recipe, store, as_json) as workspace:
            findings += examine_workspace(workspace)
    marks = {"ok": "✓", "note": "·", "fault": "✗"}
    text = "\n".join(f"{marks[f.state]} {f.what}: {f.finding}" for f in findings)
    value = {
        "findings": [{"what": f.what, "state": f.state, "finding": f.finding} for f in findings]
    }
    show(value, as_json, text)
    if any(f.state == "fault" for f in findings):
        raise typer.Exit(1)
