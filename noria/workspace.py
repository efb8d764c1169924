"""A recipe and everything that was made from it: where things lie, opened once, passed on.

<recipe folder>/runs/<name>/artifacts/    the store
                           /checkpoints/  of training that has not ended
                           /registry.sqlite  /feedback.sqlite  /reviews.sqlite  /keys.sqlite
                           /master.key
                           /metrics.jsonl, /server.log, /report.html
<recipe>.lock                             choices made by measuring
"""

from __future__ import annotations

import fcntl
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from noria.artifacts import Artifact, Store
from noria.corpus.deidentify import deidentifier_of
from noria.errors import InputError, StorageError, UnknownName, UsageError
from noria.feedback.cipher import MasterKeys, master_keys_of, parse_master_keys
from noria.feedback.interactions import Feedback, Interaction
from noria.feedback.reviews import Review, ReviewStore
from noria.feedback.store import FeedbackStore
from noria.lock import Lock
from noria.recipe import TENANT, Recipe
from noria.recipe_file import load_recipe
from noria.registry import Registry, Version
from noria.runtime import cache_folder, database_url, master_key_text
from noria.serve.auth import KeyStore


class Watcher(Protocol):
    """Who looks on while stages run: a terminal, a log, or nobody."""

    def begin(self, stage: str) -> None:
        """A stage begins."""

    def progress(self, text: str, done: float, total: float) -> None:
        """So much of the stage is done; `text` says what and how fast."""

    def say(self, text: str) -> None:
        """A choice or a derived value worth knowing."""

    def end(self, stage: str, result: str, elapsed_s: float, reused: bool) -> None:
        """A stage ended, with one line of result."""


@dataclass(frozen=True)
class StageResult:
    """One line of the table of stages."""

    stage: str
    result: str
    elapsed_s: float
    peak_memory_bytes: int
    reused: bool


@dataclass
class Workspace:
    """One recipe's store, databases and lock, and the results of this run's stages."""

    recipe: Recipe
    recipe_path: Path
    root: Path
    watcher: Watcher
    tenant: str = TENANT  # whose feedback and live pointers the verbs of the loop mean
    results: list[StageResult] = field(default_factory=list)
    _closers: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(self.root)
        self.lock = Lock(self.recipe_path.with_suffix(".lock"))
        self.cache = cache_folder()
        self.registry = Registry(self.root / "registry.sqlite")
        self.feedback = FeedbackStore(
            database_url() or self.recipe.feedback.database or self.root / "feedback.sqlite",
            lambda: deidentifier_of(self.recipe.corpus, personal=True),
            master=self._master_keys(),
            keep_days=self.recipe.feedback.keep_days,
            name=self.recipe.name,
        )
        self.reviews = ReviewStore(self.root / "reviews.sqlite")
        self.keys = KeyStore(self.root / "keys.sqlite")
        self._closers = [
            self.registry.close,
            self.feedback.close,
            self.reviews.close,
            self.keys.close,
        ]

    def _master_keys(self) -> MasterKeys:
        given = master_key_text()
        return parse_master_keys(given) if given else master_keys_of(self.root / "master.key")

    @property
    def folder(self) -> Path:
        """The folder that the recipe's globs start from."""
        return self.recipe_path.parent

    @property
    def metrics_path(self) -> Path:
        """Where every training step is written as it happens."""
        return self.root / "metrics.jsonl"

    @property
    def recipe_argument(self) -> str:
        """The recipe's path as a shell reads it, for commands that are printed."""
        return shlex.quote(str(self.recipe_path))

    def version(self, prefix: str) -> Version:
        """The version whose weight hash begins so, or the live one for an empty prefix.

        Raises UnknownName if there is none.
        """
        name = self.recipe.name
        if prefix:
            return self.registry.find_version(self.tenant, name, prefix)
        live = self.registry.live(self.tenant, name)
        if live is None:
            raise UnknownName(
                f"{name!r} has no live model",
                "a trained one",
                f"run: noria run {self.recipe_argument}",
            )
        return live

    @property
    def taught_by(self) -> list[str]:
        """Tenants whose feedback a turn learns from: its own, or with `improve.share` all."""
        if not self.recipe.improve.share:
            return [self.tenant]
        return sorted({self.tenant, *self.feedback.tenants()})

    def said(self) -> list[tuple[Interaction, Feedback]]:
        """What was said by those whom a turn learns from, with what they said it of."""
        return [one for tenant in self.taught_by for one in self.feedback.said(tenant)]

    def interactions(self) -> list[Interaction]:
        """What those were answered whom a turn learns from."""
        return [one for tenant in self.taught_by for one in self.feedback.interactions(tenant)]

    def latest_reviews(self) -> dict[str, Review]:
        """The last decision about each piece of their feedback, by its id."""
        return {
            place: review
            for tenant in self.taught_by
            for place, review in self.reviews.latest(tenant).items()
        }

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training in this workspace meanwhile; a kill frees it.

        Raises UsageError if one does already.
        """
        with (self.root / "run.lock").open("w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another process is running or improving in {self.root}",
                    "one at a time",
                    "wait for it, or choose another folder with --store",
                ) from error
            yield

    def close(self) -> None:
        """Close the databases."""
        for close in self._closers:
            close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def note(self, stage: str, artifact: Artifact, result: str) -> None:
        """Put a stage that ended on the table and tell the watcher."""
        peak = int(artifact.facts.get("peak_memory_bytes", 0))
        elapsed_s = artifact.manifest.elapsed_s
        self.results.append(StageResult(stage, result, elapsed_s, peak, artifact.reused))
        self.watcher.end(stage, result, elapsed_s, artifact.reused)


def open_workspace(
    recipe_path: Path, root: Path | None, watcher: Watcher, tenant: str = TENANT
) -> Workspace:
    """Open (and make, if new) the workspace of a recipe. Raises RecipeError, InputError."""
    try:
        recipe_path = recipe_path.resolve()
        recipe = load_recipe(recipe_path)
    except (OSError, RuntimeError) as error:  # a name too long, a link to itself
        raise InputError(f"{recipe_path} can't be read ({error})", "a recipe") from error
    root = root or recipe_path.parent / "runs" / recipe.name
    try:
        root = root.resolve()
        root.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise StorageError(
            f"{root} can't be made ({error})", "a folder", "choose another with --store"
        ) from error
    return Workspace(recipe, recipe_path, root, watcher, tenant)
