"""The loop as the page shows it: what is live, what the gate said, what people said of answers.

In: the registry, the feedback store, the workspace's folder. Out: JSON of `GET /v1/loop`, the cards
of `GET /v1/loop/cards`; and what a person with the right asks for (`POST /v1/loop/requests`).
Nothing is measured or trained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from noria.errors import FormatError, InputError, UnknownName
from noria.evaluate.scores import Score, read_scores, score_to_json
from noria.feedback.counting import Count
from noria.feedback.interactions import IMPLICIT_KINDS
from noria.feedback.store import FeedbackStore
from noria.registry import AuditEntry, Registry, Request, Version
from noria.registry.reviews import require_review
from noria.serve.rights import Promoter, Reader

NUM_HISTORY = 30
MAX_CARD_BYTES = 1 << 20


class LoopRequest(BaseModel):
    """POST /v1/loop/requests; only a promotion names weights.

    A promotion or a rollback is done at once, as `noria promote` does it. A turn of the loop trains
    and is only asked for: `noria improve --watch` takes it up.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    action: Literal["promote", "rollback", "improve"]
    weight_hash: str = Field("", max_length=64)
    reason: str = Field(min_length=1, max_length=500)  # the trail of a change keeps it


@dataclass(frozen=True)
class Loop:
    """What the page may see of the loops of `names`; `owner` is the tenant of the recipe itself.

    `root` is the workspace's folder: its cards are the owner's alone. `reviewed_recipe`: the file
    name of a recipe that asks for a signed review; empty where none is asked for.
    """

    registry: Registry
    feedback: FeedbackStore
    root: Path
    owner: str
    names: Sequence[str]
    reviewed_recipe: str = ""

    def state(self, tenant: str) -> dict[str, Any]:
        """Every loop of a tenant."""
        histories = {name: self.registry.history(tenant, name) for name in self.names}
        gates = {name: _last_gate(history) for name, history in histories.items()}
        judged_at = {name: gate.at for name, gate in gates.items() if gate is not None}
        counts = self.feedback.counts(tenant, judged_at)
        loops = []
        for name, history in histories.items():
            # What people said, not what they did.
            said = {
                kind: one
                for (model, kind), one in counts.items()
                if model == name and kind not in IMPLICIT_KINDS
            }
            loops.append(self._loop(tenant, name, history, gates[name], said))
        return {"object": "list", "loops": loops}

    def _loop(
        self,
        tenant: str,
        name: str,
        history: Sequence[AuditEntry],
        gate: AuditEntry | None,
        said: Mapping[str, Count],
    ) -> dict[str, Any]:
        versions = {one.weight_hash: one for one in self.registry.versions(tenant, name)}
        live = self.registry.live(tenant, name)
        waiting = {kind: one.fresh for kind, one in said.items() if one.fresh}
        moves = [one for one in history if one.action in ("promote", "rollback")]
        return {
            "name": name,
            "live": _told(live, live_since=moves[-1].at) if live is not None and moves else None,
            "previous": _told(self.registry.previous(tenant, name)),
            "challenger": _told(versions.get(gate.weight_hash)) if gate is not None else None,
            "verdict": _verdict(gate) if gate is not None else None,
            "scores": self._scores(gate, versions) if gate is not None else [],
            "feedback": {"total": sum(one.total for one in said.values()), "waiting": waiting},
            "history": [_entry(one) for one in reversed(history[-NUM_HISTORY:])],
            "holds": sorted(self.registry.holds(tenant, name)),
            "requests": [_asked(one) for one in self.registry.requests(tenant, name)],
        }

    def _scores(self, gate: AuditEntry, versions: Mapping[str, Version]) -> list[dict[str, Any]]:
        """What the gate compared: a row for each metric, with champion, challenger and control."""
        folder = f"*gate-{gate.detail['verdict_key'][:16]}"  # an application's has its name before
        path = next((self.root / "artifacts").glob(folder), self.root) / "scores.json"
        try:
            scores = read_scores(path)
        except FormatError:  # tidied away, or of another kind: the verdict itself is in the trail
            return []
        challenger = versions[gate.weight_hash]
        roles = {challenger.parent: "champion", challenger.weight_hash: "challenger"}
        rows: dict[str, dict[str, Any]] = {}
        for score in scores:
            if score.metric.startswith("speed."):  # its limits stand in the verdict
                continue
            role = roles.get(score.weight_hash, "control")
            rows.setdefault(score.metric, {"metric": score.metric})[role] = _interval(score)
        return list(rows.values())

    def cards(self, tenant: str) -> dict[str, str | None]:
        """The model card and the data card, as Markdown; None where there is none."""
        if tenant != self.owner:
            return {"model": None, "data": None}
        return {"model": self._read("model_card.md"), "data": self._read("data_card.md")}

    def _read(self, name: str) -> str | None:
        path = self.root / name
        try:
            if path.stat().st_size > MAX_CARD_BYTES:
                raise InputError(f"{path} is larger than {MAX_CARD_BYTES} bytes", "a smaller card")
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def act(self, tenant: str, asked: LoopRequest, actor: str) -> dict[str, Any]:
        """Do what a person asks for. Raises UnknownName, UsageError, IntegrityError."""
        if asked.name not in self.names:
            raise UnknownName("no such loop", f"one of {', '.join(self.names)}")
        if asked.action == "improve":
            number = self.registry.request(tenant, asked.name, "improve", "", actor)
            return {"object": "request", "id": number}
        if asked.action == "promote":
            if self.reviewed_recipe:
                require_review(
                    self.root,
                    self.registry,
                    tenant,
                    asked.name,
                    asked.weight_hash,
                    self.reviewed_recipe,
                )
            version = self.registry.promote(
                tenant, asked.name, asked.weight_hash, actor, asked.reason
            )
        else:
            version = self.registry.rollback(tenant, asked.name, actor, asked.reason)
        return {"object": "version", **(_told(version) or {})}


def _last_gate(history: Sequence[AuditEntry]) -> AuditEntry | None:
    return next((one for one in reversed(history) if one.action == "gate"), None)


def _told(version: Version | None, **more: Any) -> dict[str, Any] | None:
    """A version without its folder, which is nobody's business on a page."""
    if version is None:
        return None
    shown = asdict(version)
    del shown["artifact_path"], shown["tenant"]
    return {**shown, **more}


def _asked(request: Request) -> dict[str, Any]:
    names = ("id", "action", "weight_hash", "at", "outcome", "closed_at")
    return {name: getattr(request, name) for name in names}


def _verdict(gate: AuditEntry) -> dict[str, Any]:
    return {**gate.detail["verdict"], "at": gate.at, "weight_hash": gate.weight_hash}


def _interval(score: Score) -> dict[str, Any]:
    plain = score_to_json(score)
    return {name: plain[name] for name in ("value", "low", "high", "num_records")}


def _entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        name: getattr(entry, name) for name in ("at", "action", "weight_hash", "actor", "reason")
    }


def add_loop(app: FastAPI, loop: Loop) -> None:
    """Put the routes on the application."""

    @app.get("/v1/loop")
    def loop_now(reader: Reader) -> Response:
        return JSONResponse(loop.state(reader.tenant))

    @app.get("/v1/loop/cards")
    def cards(reader: Reader) -> Response:
        return JSONResponse(loop.cards(reader.tenant))

    @app.post("/v1/loop/requests")
    def ask_for(body: LoopRequest, promoter: Promoter) -> Response:
        return JSONResponse(loop.act(promoter.tenant, body, f"key {promoter.key_id}"))
