"""`noria compare`: two versions of a recipe, or two stored folders of results, side by side."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact, read_artifact
from noria.errors import UnknownName, UsageError
from noria.evaluate.compare import WHOLE, Row, compare_results, most_different
from noria.evaluate.harness import data_digest
from noria.evaluate.results import RESULTS_FILE, Provenance, Result, read_result
from noria.evaluate.scores import lock_digest, unchanged_weights
from noria.recipe import TENANT
from noria.records import Record, read_records, record_texts
from noria.runtime import backend_name
from noria.stages.ancestors import find_ancestor
from noria.stages.measuring import likelihoods_of, max_records, sampled_by_language
from noria.stages.tasks import SERVED
from noria.workspace import Workspace

MIN_PREFIX = 4
SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class _Side:
    """One of the two: its name and its weights, or the folder of results that was named."""

    name: str
    artifact: Artifact | None = None
    folder: Path | None = None


def compare_versions(
    workspace: Workspace, a: str, b: str, metrics: Sequence[str], num_examples: int
) -> dict[str, Any]:
    """Both sides' metrics, differences, slices and most different records, as JSON values.

    A version is named by `live`, by (a prefix of) its weight hash or of its artifact's key; models
    are measured on the held-out records of the first one's corpus, less those whose text the
    second one was trained on. Raises UnknownName, and as `compare_results` does.
    """
    sides = [_find(workspace, name) for name in (a, b)]
    remarks: list[str] = []
    folders = [side.folder for side in sides if side.folder is not None]
    if len(folders) == 1:
        raise UsageError(
            f"{a!r} and {b!r}: a version and a folder of results",
            "two of one kind",
            "name two versions, or two folders",
        )
    if folders:
        results = [read_result(folder) for folder in folders]
    else:
        records, remarks = _records(workspace, *(_model(side) for side in sides))
        results = [_measured(workspace, side, records) for side in sides]
    first, second = (one.made_by.weight_hash for one in results)
    if warning := unchanged_weights(first, second, sides[0].name, sides[1].name):
        remarks.append(warning)
    seed = workspace.recipe.seed
    rows = compare_results(results[0], results[1], metrics, seed=seed)
    unknown = set(metrics) - {row.metric for row in rows}
    if unknown:
        names = ", ".join(sorted({row.metric for row in rows if row.slice == WHOLE}))
        raise UnknownName(f"no metric {', '.join(sorted(unknown))}", f"some of {names}")
    return {
        "a": _side_facts(sides[0], results[0]),
        "b": _side_facts(sides[1], results[1]),
        "num_records": len(results[0].records),
        "data_digest": data_digest(results[0].records),
        "seed": seed,
        "remarks": remarks,
        "rows": [_row_facts(row) for row in rows],
        "examples": [
            {**asdict(one), "text": _text(results[0].records[one.place])}
            for one in most_different(results[0], results[1], num_examples)
        ],
    }


def _find(workspace: Workspace, name: str) -> _Side:
    folder = Path(name) if Path(name, RESULTS_FILE).is_file() else _task_results(workspace, name)
    if folder is not None:
        return _Side(name, folder=folder)
    registry, recipe = workspace.registry, workspace.recipe.name
    if name == "live":
        live = registry.live(TENANT, recipe)
        if live is None:
            raise UnknownName(f"{recipe!r} has no live model", "a trained one", "run: noria run")
        return _Side("live", read_artifact(workspace.root / live.artifact_path))
    if len(name) >= MIN_PREFIX:
        for artifact in workspace.store.all():
            weight_hash = str(artifact.facts.get("weight_hash", ""))
            is_model = (artifact.path / "model.safetensors").is_file()
            if is_model and (weight_hash.startswith(name) or artifact.key.startswith(name)):
                return _Side(f"{artifact.manifest.stage} {weight_hash[:12]}", artifact)
    raise UnknownName(
        f"nothing to compare is called {name!r}",
        f"live, {MIN_PREFIX} or more characters of a weight hash, TASK.WAY, or a folder of results",
        "noria trace lists the versions",
    )


def _task_results(workspace: Workspace, name: str) -> Path | None:
    """The newest results of a way to an application, named TASK.WAY; of what is served, of TASK."""
    task, _, way = name.partition(".")
    if task not in workspace.recipe.tasks:
        return None
    for artifact in reversed(workspace.store.all()):
        folder = artifact.path / "results" / (way or SERVED)
        if artifact.manifest.stage == f"{task}.model" and (folder / RESULTS_FILE).is_file():
            return folder
    return None


def _model(side: _Side) -> Artifact:
    assert side.artifact is not None  # both sides are versions here
    return side.artifact


def _records(workspace: Workspace, a: Artifact, b: Artifact) -> tuple[list[Record], list[str]]:
    """The held-out records of a's corpus, less those that b was trained on; and what to say."""
    corpora = [_corpus(workspace, *pair) for pair in ((a, b), (b, a))]
    if corpora[0] is None or corpora[1] is None:
        raise UsageError(
            f"{a.path.name} and {b.path.name} have no corpus behind them",
            "a version that was trained on the recipe's text",
            "run: noria run",
        )
    found = sampled_by_language(
        read_records(corpora[0].path / "held_out.jsonl"), max_records(workspace.recipe)
    )
    if corpora[0].key == corpora[1].key:
        return found, []
    trained = {_digest(record) for record in read_records(corpora[1].path / "train.jsonl")}
    kept = [record for record in found if _digest(record) not in trained]
    return kept, [
        f"the second model was trained on another corpus: {len(found) - len(kept)} of "
        f"{len(found)} records are in it and are left out; near-duplicates are not looked for"
    ]


def _corpus(workspace: Workspace, model: Artifact, other: Artifact) -> Artifact | None:
    """What the model was trained on; a base model was trained on none here: the other's then."""
    own = find_ancestor(workspace, model, "corpus")
    return own or find_ancestor(workspace, other, "corpus")


def _digest(record: Record) -> bytes:
    return hashlib.sha256("\0".join(record_texts(record)).encode("utf-8")).digest()


def _measured(workspace: Workspace, side: _Side, records: Sequence[Record]) -> Result:
    model = _model(side)
    found = likelihoods_of(workspace, model, records, side.name)
    made_by = Provenance(
        model.facts["weight_hash"],
        lock_digest(model.manifest.lock),
        workspace.recipe.seed,
        backend_name(),
        time.time(),
    )
    return Result(found, tuple(records), made_by)


def _side_facts(side: _Side, result: Result) -> dict[str, Any]:
    return {"name": side.name, **asdict(result.made_by)}


def _row_facts(row: Row) -> dict[str, Any]:
    found = row.difference
    return {
        "slice": row.slice,
        "metric": row.metric,
        "a": found.a,
        "b": found.b,
        "difference": found.difference.value,
        "low": _finite(found.difference.low),
        "high": _finite(found.difference.high),
        "p_value": found.p_value,
        "smallest_visible": _finite(found.smallest_visible),
        "num_records": found.num_examples,
        "a_is": row.verdict,
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _text(record: Record) -> str:
    text = " ".join("\n".join(record_texts(record)).split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
