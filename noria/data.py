"""A recipe's corpora, looked at and compared.

In: a store, or the folder of a corpus. Out: what there is to see of it, or what changed between
two. This module makes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noria.artifacts import Artifact, Store, read_artifact
from noria.corpus.difference import Difference, compare
from noria.corpus.folder import corpus_files
from noria.corpus.ledger import read_ledger
from noria.corpus.look import Look, look_at
from noria.corpus.measured import read_measured
from noria.corpus.survey import TokenLengths, Watch
from noria.errors import InputError, UnknownName
from noria.evaluate.contents import IdentitiesSection
from noria.evaluate.data_page import render_data_page
from noria.tokenizer.pack import open_shard

MIN_PREFIX = 6


@dataclass(frozen=True)
class Corpus:
    """A corpus's folder; its artifact, and the tokens that were made of it, where there are any."""

    folder: Path
    artifact: Artifact | None
    tokens: Artifact | None

    @property
    def name(self) -> str:
        """What it is called on a screen."""
        return self.folder.name


def corpora(store: Store) -> list[Corpus]:
    """Every corpus of a store, oldest first."""
    every = store.all()
    tokens = {one.manifest.inputs.get("corpus"): one for one in every if _stage(one) == "tokens"}
    return [Corpus(one.path, one, tokens.get(one.key)) for one in every if _stage(one) == "corpus"]


def _stage(artifact: Artifact) -> str:
    return artifact.manifest.stage


def is_folder(name: str) -> bool:
    """Whether a corpus is named by its folder, so that no recipe is needed to find it."""
    return "/" in name or Path(name).is_dir()


def corpus_in(folder: Path) -> Corpus:
    """The corpus of a folder: an artifact's, or any that holds the files of one.

    Raises InputError for another folder, FormatError for a manifest that can't be read.
    """
    corpus_files(folder)
    folder = folder.resolve()
    if not (folder / "manifest.json").is_file():
        return Corpus(folder, None, None)
    key = read_artifact(folder).key
    beside = Store(folder.parent.parent)
    found = [one for one in corpora(beside) if one.artifact and one.artifact.key == key]
    return found[-1] if found else Corpus(folder, read_artifact(folder), None)


def newest_beside(store: Store, named: list[Corpus], count: int) -> list[Corpus]:
    """The named corpora and, behind them, the newest of the store, the older first.

    Raises InputError if there are not so many.
    """
    folders = {one.folder for one in named}
    others = [one for one in corpora(store) if one.folder not in folders]
    found = [*named, *others[len(others) - (count - len(named)) :]] if others else named
    if len(found) < count:
        there = len(others) + len(named)
        fix = "change the recipe and run it again" if there else "run: noria run"
        raise InputError(
            f"{store.root} holds {there} corp{'us' if there == 1 else 'ora'}",
            f"at least {count}",
            fix,
        )
    return found


def find_corpus(store: Store, name: str) -> Corpus:
    """A corpus by its folder, its artifact's name, or the first characters of its key.

    Raises UnknownName if there is none, or several.
    """
    if is_folder(name):
        return corpus_in(Path(name))
    prefix = name.removeprefix("corpus-")
    every = corpora(store)
    found = [one for one in every if one.artifact and one.artifact.key.startswith(prefix)]
    if len(prefix) < MIN_PREFIX or len(found) != 1:
        there = ", ".join(one.name for one in every) or "none; run: noria run"
        raise UnknownName(
            f"{len(found) if len(prefix) >= MIN_PREFIX else 'no'} corpora are called {name!r}",
            f"a folder, or {MIN_PREFIX} characters of one of: {there}",
        )
    return found[0]


def look(corpus: Corpus, watch: Watch) -> Look:
    """Look at a corpus, and at its tokens where there are any. Raises InputError, FormatError."""
    lengths: dict[str, Any] = {}
    fertility: Mapping[str, Any] = {}
    if corpus.tokens is not None:
        lengths = dict(_token_lengths(corpus.tokens))
        fertility = corpus.tokens.facts.get("fertility", {})
    return look_at(corpus.folder, lengths, fertility, watch)


def _token_lengths(tokens: Artifact) -> TokenLengths:
    """Tokens of each record of the splits that are encoded, in the order of the split."""
    found = {}
    for split in ("train", "held_out"):
        shard = open_shard(tokens.path / split)
        found[split] = np.diff(shard.starts, append=shard.num_tokens).astype(np.int64)
    return found


def write_page(found: Look, corpus: Corpus, title: str, path: Path) -> None:
    """Write the page of a corpus that was looked at."""
    render_data_page(found, title, _identities(corpus, found), path)


def _identities(corpus: Corpus, found: Look) -> IdentitiesSection | None:
    """What left the corpus, beside the stored measurement; None where all stays as it came."""
    settings = corpus.artifact.manifest.settings if corpus.artifact else {}
    if settings.get("identities", "replace") == "keep":
        return None
    replaced = settings.get("names") == "replace"
    measured = read_measured()
    return IdentitiesSection(
        found.identities,
        f"Names, organisations and addresses {'were looked for' if replaced else 'stay'}.",
        measured.made_on,
        measured.kinds,
    )


@dataclass(frozen=True)
class SettingChange:
    """A setting of a corpus before and after; None where it was not said, or left as it is."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Compared:
    """Two corpora: what they are called, the settings that made them, and what changed."""

    before: str
    after: str
    settings: tuple[SettingChange, ...]
    inputs: tuple[str, ...]
    difference: Difference


def compare_corpora(before: Corpus, after: Corpus, num_examples: int, watch: Watch) -> Compared:
    """Compare two corpora, the earlier first. Raises FormatError for one that can't be read."""
    one, other = (corpus.artifact for corpus in (before, after))
    settings: tuple[SettingChange, ...] = ()
    inputs: tuple[str, ...] = ()
    if one and other:
        settings = _changes(one.manifest.settings, other.manifest.settings)
        inputs = tuple(
            change.name for change in _changes(one.manifest.inputs, other.manifest.inputs)
        )
    ledgers = read_ledger(before.folder, watch), read_ledger(after.folder, watch)
    return Compared(
        str(before.folder), str(after.folder), settings, inputs, compare(*ledgers, num_examples)
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[SettingChange, ...]:
    one, other = _flat(before), _flat(after)
    return tuple(
        SettingChange(name, one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their whole names: `quality.judge`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
