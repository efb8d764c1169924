"""What became of all feedback in a turn, kept so that an answer can be followed to what it taught.

In: what was curated for a turn. Out: an artifact with a line for each feedback of each example or
decision, in the order of the interactions' ids, so that one of a million is found at once. It holds
ids and reasons, no text: what was said stays in the feedback store, where it can be erased.
"""

from __future__ import annotations

import json
import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact, value_digest
from noria.improve.curate import Curated
from noria.stages.stage import Facts, run_stage
from noria.workspace import Workspace

STAGE = "curation"
DECISIONS_FILE = "decisions.jsonl"
_FIELDS = ("interaction", "feedback", "example", "status", "held_out", "reason")


def keep_decisions(
    workspace: Workspace, champion: Artifact, curated: Curated, task: str = ""
) -> Artifact:
    """Store what a turn from this champion takes and leaves of the feedback, and why."""
    rows = sorted(
        (interaction_id, feedback_id, one.id, one.status, one.held_out, one.reason)
        for one in curated.decisions
        for interaction_id, feedback_id in one.said
    )

    def make(folder: Path) -> Facts:
        with (folder / DECISIONS_FILE).open("w", encoding="utf-8") as file:
            for row in rows:
                line = json.dumps(dict(zip(_FIELDS, row, strict=True)), ensure_ascii=False)
                file.write(line + "\n")
        return {
            "feedback": curated.digest,
            "num_examples": dict(Counter(one.status for one in curated.decisions)),
        }

    return run_stage(
        workspace,
        f"{task}.{STAGE}" if task else STAGE,
        make,
        inputs={"champion": champion.key, "decisions": value_digest(rows)},
        result=lambda facts: ", ".join(
            f"{count:,} {status}" for status, count in sorted(facts["num_examples"].items())
        ),
    )


def decisions_about(workspace: Workspace, interaction_id: str) -> list[dict[str, Any]]:
    """What each turn made of the feedback on an answer, in the order of the turns.

    Each with the turn's challenger and verdict, if it came to one.
    """
    artifacts = workspace.store.all()
    gates = [one for one in artifacts if one.manifest.stage.split(".")[-1] == "gate"]
    found = []
    for one in artifacts:
        if one.manifest.stage.split(".")[-1] == STAGE:
            for row in rows_about(one.path / DECISIONS_FILE, interaction_id):
                found.append({"curation": one.key, **row, **_verdict(one, gates)})
    return found


def _verdict(curation: Artifact, gates: list[Artifact]) -> dict[str, Any]:
    """The challenger that learned from this, and what the gate said of it."""
    champion, feedback = curation.manifest.inputs["champion"], curation.facts["feedback"]
    for gate in reversed(gates):
        inputs = gate.manifest.inputs
        if (inputs["champion"], inputs["feedback"]) == (champion, feedback):
            hashes = gate.facts["weight_hashes"]
            return {"challenger": hashes["challenger"], "verdict": gate.facts.get("decision", "")}
    return {}


def rows_about(path: Path, interaction_id: str) -> Iterator[dict[str, Any]]:
    """The lines about an interaction of a file of decisions, by halving."""
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        low, high = 0, len(lines)  # the first line wanted begins in [low, high]
        while low < high:
            start = lines.rfind(b"\n", 0, (low + high) // 2) + 1
            end = lines.find(b"\n", start) + 1
            if json.loads(lines[start:end])["interaction"] < interaction_id:
                low = end
            else:
                high = start
        lines.seek(low)
        for line in iter(lines.readline, b""):
            row = json.loads(line)
            if row.pop("interaction") != interaction_id:
                return
            yield row
