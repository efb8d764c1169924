"""The models that are live now: a thread follows the registry's pointers and swaps references.

In: a registry and the name of a model. Out: for each tenant the loaded model that answers, and the
one that is tried beside it, if there is one.
A new model is loaded beside the old one and then takes its place in one assignment; whoever holds
the old one keeps it. If loading fails, the old one stays and the error is kept for `/health`. What
a worker took with it when it ended is loaded again, in the next; a version that it ended of has to
wait, longer each time, so that it can't take what is live down for ever.
This module knows no HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from noria.errors import IntegrityError
from noria.registry import Registry, Trial, Version
from noria.serve.live_signals import LiveSignals
from noria.serve.worker.keeper import DiedLoading
from noria.serve.worker.messages import WorkerGone
from noria.serve.worker.models import LanguageHandle

POLL_S = 0.2
RETRY_S = 5.0
LONGEST_RETRY_S = 600.0
STOP_WITHIN_S = 5.0
_TIMES_LONGER = 4  # each time that a worker ended of the same version

log = logging.getLogger(__name__)


class Weights(Protocol):
    """A model that knows the hash of its weights, SHA-256 (hex), and whether it can be asked."""

    weight_hash: str

    @property
    def is_loaded(self) -> bool:
        """False once the process that had it has ended."""
        ...


ModelT = TypeVar("ModelT", bound=Weights)


@dataclass(frozen=True)
class Live(Generic[ModelT]):
    """A registered version and its loaded weights."""

    version: Version
    model: ModelT


LiveModel = Live[LanguageHandle]


@dataclass(frozen=True)
class Tried(Generic[ModelT]):
    """A trial, and its model unless that can't be loaded."""

    trial: Trial
    live: Live[ModelT] | None


class LiveModels(Generic[ModelT]):
    """Follows the live pointer of `name` for every tenant.

    `root` is the folder that the versions' artifact paths start from.
    """

    def __init__(
        self,
        registry: Registry,
        name: str,
        root: Path,
        load: Callable[[Path], ModelT],
        poll_s: float = POLL_S,
    ) -> None:
        self.name = name
        self._registry = registry
        self._root = root
        self._load = load
        self._poll_s = poll_s
        self.signals = LiveSignals(registry, name)
        self._live: dict[str, Live[ModelT]] = {}
        self._tried: dict[str, Tried[ModelT]] = {}
        self._errors: dict[str, str] = {}
        self._retry_at: dict[str, float] = {}  # by weight hash, as the next
        self._num_deaths: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self, tenant: str) -> Live[ModelT] | None:
        """The model that answers this tenant now, or None."""
        live = self._live.get(tenant)
        return live if live is not None and live.model.is_loaded else None

    def choose(self, tenant: str, person: str) -> Live[ModelT] | None:
        """The model that answers this person: the canary for its share of them, always or never.

        A canary that can't be loaded has failed these requests; the live model answers them.
        """
        tried = self._tried.get(tenant)
        if tried is not None and tried.trial.stage == "canary" and tried.trial.takes(person):
            if tried.live is None:
                self.signals.note(tenant, tried.trial.weight_hash, "", 0.0, failed=True)
            elif tried.live.model.is_loaded:
                return tried.live
        return self.get(tenant)

    def shadow(self, tenant: str, request_id: str) -> Live[ModelT] | None:
        """The model that answers a copy of this request in shadow, or None."""
        tried = self._tried.get(tenant)
        if tried is not None and tried.trial.stage == "shadow" and tried.trial.takes(request_id):
            if tried.live is None:
                self.signals.note(tenant, tried.trial.weight_hash, "", 0.0, failed=True, agreed=0.0)
            elif tried.live.model.is_loaded:
                return tried.live
        return None

    def error(self, tenant: str) -> str:
        """Why the tenant's live version can't be loaded; "" if it is."""
        return self._errors.get(tenant, "") or self._errors.get("", "")

    @property
    def state(self) -> str:
        """One of ok, degraded (a version can't be loaded), unavailable (nothing answers)."""
        loaded = [live.model.is_loaded for live in self._live.values()]
        if not any(loaded):
            return "unavailable"
        return "ok" if all(loaded) and not self._errors else "degraded"

    def begin_with(self, tenant: str, version: Version) -> None:
        """Load a version before anything is followed. Raises what is wrong with it."""
        self._live = {**self._live, tenant: Live(version, self._loaded(version))}

    def start(self) -> None:
        """Load what is live now, then follow in a thread."""
        self.follow_once()
        self._stop.clear()
        self._thread = threading.Thread(target=self._follow, name="noria-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is loaded stays. A load that takes for ever is not waited for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN_S)
            self._thread = None
        self.signals.flush(now=True)

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_s):
            self.follow_once()
            self.signals.flush()

    def follow_once(self) -> None:
        """Look at the pointers once and load what is new; never raises."""
        try:
            pointers = self._registry.live_by_tenant(self.name)
            trials = self._registry.trials.by_tenant(self.name)
        except Exception as error:  # the thread that follows must outlive any trouble
            log.warning("the live pointers can't be read: %s", error)
            self._errors = {**self._errors, "": f"{type(error).__name__}: {error}"}
            return
        for tenant, live in self._live.items():
            if not live.model.is_loaded:  # its worker has ended: it comes back before anything new
                self._swap(tenant, live.version)
        for tenant, version in pointers.items():
            if not self._answers(tenant, version):
                self._swap(tenant, version)
        self._errors = {
            tenant: error
            for tenant, error in self._errors.items()
            if tenant in pointers and not self._answers(tenant, pointers[tenant])
        }
        self._follow_trials(trials)

    def _answers(self, tenant: str, version: Version) -> bool:
        live = self.get(tenant)
        return live is not None and live.version.weight_hash == version.weight_hash

    def _follow_trials(self, trials: dict[str, Trial]) -> None:
        """Load what is tried; one that can't be loaded stays a trial, of requests that fail."""
        tried = {}
        for tenant, trial in trials.items():
            before = self._tried.get(tenant)
            if before is not None and before.trial == trial:
                tried[tenant] = before
                if before.live is None or before.live.model.is_loaded:
                    continue
            live = None
            try:
                version = self._registry.find_version(tenant, self.name, trial.weight_hash)
                live = Live(version, self._loaded(version))
            except Exception as error:  # what is live must go on answering
                if isinstance(error, WorkerGone) and not isinstance(error, DiedLoading):
                    continue  # nothing is wrong with it: later
                log.warning("trial %s can't be loaded: %s", trial.weight_hash[:12], error)
            tried[tenant] = Tried(trial, live)
        self._tried = tried

    def _swap(self, tenant: str, version: Version) -> None:
        weights = version.weight_hash
        if time.monotonic() < self._retry_at.get(weights, 0.0):
            return
        try:
            model = self._loaded(version)
        except Exception as error:  # whatever is wrong with it, the old one must go on answering
            if isinstance(error, WorkerGone) and not isinstance(error, DiedLoading):
                return  # nothing is wrong with it: at the next look
            log.warning("version %s can't be loaded: %s", weights[:12], error)
            self._num_deaths[weights] += isinstance(error, DiedLoading)
            wait_s = RETRY_S * _TIMES_LONGER ** max(0, self._num_deaths[weights] - 1)
            self._retry_at[weights] = time.monotonic() + min(wait_s, LONGEST_RETRY_S)
            self._errors = {**self._errors, tenant: f"{type(error).__name__}: {error}"}
            return
        self._retry_at.pop(weights, None)
        self._num_deaths.pop(weights, None)
        self._live = {**self._live, tenant: Live(version, model)}

    def _loaded(self, version: Version) -> ModelT:
        """The version's model, shared with tenants that have the same weights live."""
        tried = [one.live for one in self._tried.values() if one.live is not None]
        for live in [*self._live.values(), *tried]:
            if live.version.weight_hash == version.weight_hash and live.model.is_loaded:
                return live.model
        folder = self._root / version.artifact_path
        model = self._load(folder)
        if model.weight_hash != version.weight_hash:
            raise IntegrityError(
                f"{folder} holds weights {model.weight_hash[:12]}",
                version.weight_hash[:12],
                "restore the folder or promote another version",
            )
        return model
