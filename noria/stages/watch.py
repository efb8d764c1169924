"""`noria improve --watch`: requests are done, canaries judged, limits kept, turns begun; for ever.

In: a workspace. Out: changes of the registry, and turns in a process of their own, with the lowest
priority. What it knows lies in the registry, so a watch that was killed goes on where it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from noria.errors import Held, NoriaError, UnknownName
from noria.improve.canary import judge_canary
from noria.improve.limits import crossed_limits
from noria.recipe import TENANT
from noria.registry import AuditEntry, Request, Trial, Version
from noria.registry.trail import MOVES
from noria.stages.live_evidence import trial_arms, watched_of
from noria.stages.promotion import next_stage
from noria.stages.review import promote_reviewed
from noria.stages.said import SaidByTenant
from noria.stages.task_names import task_name
from noria.stages.turn_process import TurnProcess
from noria.workspace import Workspace

ACTOR = "noria improve --watch"
TICK_S = 0.5


class Watch:
    """Looks at one workspace again and again; `turn` runs `noria improve`."""

    def __init__(self, workspace: Workspace, turn: TurnProcess) -> None:
        self._workspace = workspace
        self._registry = workspace.registry
        self._turn = turn
        self._asked_by: Request | None = None
        self._turning: tuple[str, str, int] | None = None  # tenant, name, how much feedback it had
        self._said = SaidByTenant(workspace.feedback)
        self._turned_at: dict[tuple[str, str], float] = {}

    def run(self, stop: threading.Event) -> None:
        """Look until somebody says stop; a turn that is going on is stopped and can go on later."""
        try:
            while not stop.is_set():
                self.once()
                stop.wait(TICK_S)
        finally:
            self._turn.stop()

    def once(self) -> None:
        """Look at everything once; what goes wrong with one name is told and stops no other."""
        lives = [
            live for name in self._names() for live in self._registry.live_by_tenant(name).values()
        ]
        self._said.look(one.tenant for one in lives)
        self._end_turn()
        for request in self._registry.open_requests():
            self._do(request)
        for live in self._in_turn(lives):
            history = self._registry.history(live.tenant, live.name)
            try:
                self._judge_trial(live)
                self._keep_limits(live, history)
                self._begin_turn(live, history)
            except NoriaError as error:
                self._say(f"{_called(live.tenant, live.name)}: {error}")

    def _in_turn(self, lives: Sequence[Version]) -> list[Version]:
        """All of them, who turned last comes last: one process trains, and nobody starves."""
        return sorted(lives, key=lambda one: self._turned_at.get((one.tenant, one.name), 0.0))

    def _names(self) -> list[str]:
        recipe = self._workspace.recipe
        own = [recipe.name] if recipe.has_text or not recipe.tasks else []
        return own + [task_name(recipe, name) for name in recipe.tasks]

    def _say(self, text: str) -> None:
        self._workspace.watcher.say(text)

    # Requests

    def _do(self, request: Request) -> None:
        """Do what somebody asked for on a page, and note what became of it."""
        known = request.name in self._names()
        if request.action == "improve" and known:
            if self._asked_by is None and not self._turn.is_running:
                self._asked_by = request
                self._start(request.tenant, request.name, request.actor, "asked for")
            return
        try:
            if not known:
                names = ", ".join(self._names())
                raise UnknownName(f"no model is called {request.name!r}", f"one of {names}")
            outcome = self._done(request)
        except NoriaError as error:
            outcome = str(error)
        self._registry.close_request(request.id, outcome)
        self._say(f"request {request.id} of {request.actor}: {request.action}: {outcome}")

    def _done(self, request: Request) -> str:
        where, reason = (request.tenant, request.name), f"request {request.id}"
        if request.action == "promote":
            promote_reviewed(self._workspace, *where, request.weight_hash, request.actor, reason)
        elif request.action == "rollback":
            self._registry.rollback(*where, request.actor, reason)
        else:
            self._registry.hold(*where, request.action, request.actor, reason)
        return "done"

    # Trials

    def _judge_trial(self, live: Version) -> None:
        """Withdraw what is tried, promote it, take it to its next stage, or wait."""
        where = (live.tenant, live.name)
        trial = self._registry.trials.of(*where)
        if trial is None:
            return
        thumbs = self._said.thumbs(live.tenant)
        arms = trial_arms(self._workspace, trial, live, thumbs)
        decision = judge_canary(*arms, trial.num_requests)
        if decision.outcome == "wait":
            return
        numbers = {**decision.numbers, **self._agreement(trial)}
        self._say(
            f"{_called(*where)}: {trial.stage} of {trial.weight_hash[:12]}: {decision.reason}"
        )
        if decision.outcome == "withdraw":
            self._registry.trials.withdraw(trial, ACTOR, decision.reason, {"numbers": numbers})
            return
        stage = next_stage(self._workspace, trial.stage)
        if stage is not None:
            self._registry.trials.begin(
                live.tenant,
                live.name,
                trial.weight_hash,
                *stage,
                ACTOR,
                trial.verdict_key,
                after=trial,
                numbers=numbers,
            )
            return
        reason = f"{trial.stage}: {decision.reason}"
        self._registry.promote(
            *where,
            trial.weight_hash,
            ACTOR,
            reason,
            trial.verdict_key,
            automatic=True,
            trial=trial,
            numbers=numbers,
        )

    def _agreement(self, trial: Trial) -> dict[str, float]:
        """How far answers in shadow were those that were shown, and how long 95% took at most."""
        if trial.stage != "shadow":
            return {}
        counts = self._registry.signals.total(
            trial.tenant, trial.name, trial.weight_hash, "shadow", trial.signals_after
        )
        mean = counts.agreement / max(1, counts.num_requests - counts.num_errors)
        return {"agreement": mean, "latency_s": counts.latency_s(0.95)}

    # Limits

    def _keep_limits(self, live: Version, history: Sequence[AuditEntry]) -> None:
        """Roll back a promotion that crosses limits; report it where that may not be."""
        move, since = _last_move(history)
        if any(entry.action == "alarm" for entry in since):
            return
        limits = self._workspace.recipe.rollback
        after = int(move.detail.get("signals_after", 0))
        thumbs = self._said.thumbs(live.tenant)
        seen = watched_of(self._workspace, live, after, limits.requests, thumbs)
        crossed = crossed_limits(limits, seen)
        if not crossed.reasons:
            return
        reason = "; ".join(crossed.reasons)
        where = (live.tenant, live.name)
        try:
            if move.action == "rollback":
                raise Held("a rollback is followed by no other: it may not be the weights")
            self._registry.rollback(
                *where,
                ACTOR,
                reason,
                automatic=True,
                only=live.weight_hash,
                numbers=crossed.numbers,
            )
            self._say(f"{_called(*where)}: rolled back: {reason}")
        except NoriaError as error:  # pinned, frozen, or the first version
            if self._registry.live(*where) != live:
                return  # somebody moved it meanwhile
            told = f"{reason} (reported only: {error})"
            self._registry.note(live, "alarm", ACTOR, told, {"numbers": crossed.numbers})
            self._say(f"{_called(*where)}: {told}")

    # Turns

    def _begin_turn(self, live: Version, history: Sequence[AuditEntry]) -> None:
        """Begin a turn if enough feedback came, time went by, inputs drifted, or one broke off."""
        where = (live.tenant, live.name)
        if self._turn.is_running or self._registry.trials.of(*where) is not None:
            return
        if "freeze" in self._registry.holds(*where):
            return
        why = self._why(live, history)
        if why:
            self._start(*where, ACTOR, why)

    def _why(self, live: Version, history: Sequence[AuditEntry]) -> str:
        settings = self._workspace.recipe.improve
        turns = [entry for entry in history if entry.action == "turn"]
        if turns and not turns[-1].detail["ended"]:
            return "the last turn was interrupted"
        before = turns[-1].detail["num_feedback"] if turns else 0
        fresh = self._said.num(live.tenant, live.name) - before
        if settings.after_feedback and fresh >= settings.after_feedback:
            return f"{fresh} new pieces of feedback"
        waited_s = time.time() - (turns[-1].at if turns else history[0].at)
        # A clock that was set back must not keep the next turn waiting.
        if settings.every_hours and not 0 <= waited_s < settings.every_hours * 3600:
            return f"{settings.every_hours:g} hours"
        move, since = _last_move(history)
        drifted = any(entry.action == "turn" and "drift" in entry.reason for entry in since)
        if settings.after_drift and not drifted:
            num_requests = self._workspace.recipe.rollback.requests
            after = int(move.detail.get("signals_after", 0))
            seen = watched_of(self._workspace, live, after, num_requests, ())
            if seen.arm.num_requests >= num_requests and seen.distance > settings.after_drift:
                return f"drift: inputs are {seen.distance:.3f} from those that were evaluated"
        return ""

    def _start(self, tenant: str, name: str, actor: str, why: str) -> None:
        """Begin a turn, with an entry that says why: the next one counts from here."""
        live = self._registry.live(tenant, name)
        if live is not None:
            self._turning = (tenant, name, self._said.num(tenant, name))
            detail = {"num_feedback": self._turning[2], "ended": False}
            self._registry.note(live, "turn", actor, why, detail)
        self._turned_at[tenant, name] = time.monotonic()
        self._turn.start(self._task_of(name), tenant)
        self._say(f"{_called(tenant, name)}: a turn begins: {why}")

    def _task_of(self, name: str) -> str:
        """What --task is called with; alone, a language model needs no name."""
        prefix = f"{self._workspace.recipe.name}."
        if name.startswith(prefix):
            return name.removeprefix(prefix)
        return name if self._workspace.recipe.tasks else ""

    def _end_turn(self) -> None:
        outcome = self._turn.outcome()
        if outcome is None:
            return
        self._say(f"the turn ended: {outcome}")
        if self._turning is not None:
            tenant, name, num_feedback = self._turning
            live = self._registry.live(tenant, name)
            if live is not None:
                detail = {"num_feedback": num_feedback, "ended": True}
                self._registry.note(live, "turn", ACTOR, outcome, detail)
            self._turning = None
        if self._asked_by is not None:
            self._registry.close_request(self._asked_by.id, outcome)
            self._asked_by = None


def _called(tenant: str, name: str) -> str:
    """A name as a person reads it; the recipe's own tenant goes without saying."""
    return name if tenant == TENANT else f"{name} of {tenant}"


def _last_move(history: Sequence[AuditEntry]) -> tuple[AuditEntry, list[AuditEntry]]:
    """The last promotion or rollback, and what came after it."""
    at = max(i for i, entry in enumerate(history) if entry.action in MOVES)
    return history[at], list(history[at + 1 :])
