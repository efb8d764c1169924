"""Files and packages that a recipe names, and the records of those beside the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from noria.artifacts import value_digest
from noria.corpus.cleaning import Cleaner
from noria.corpus.packages import fetch_package
from noria.corpus.read import Quarantined, Request, SourceFile, Wanted, find_files, read_file
from noria.recipe import Recipe
from noria.records import Conversation, Document, Record
from noria.text_settings import SourceSettings
from noria.workspace import Workspace


def fetch_packages(workspace: Workspace, globs: Sequence[str]) -> dict[str, Path]:
    """The unpacked packages that these globs read from, fetched into the user's cache if new."""
    wanted = {glob.removeprefix("package:").split("/")[0] for glob in globs if ":" in glob}
    return {
        name: fetch_package(settings, workspace.cache)
        for name, settings in workspace.recipe.packages.items()
        if name in wanted
    }


def packages_here(workspace: Workspace) -> dict[str, Path]:
    """The recipe's packages that are in the user's cache; nothing is fetched."""
    folders = {
        name: workspace.cache / "packages" / settings.sha256
        for name, settings in workspace.recipe.packages.items()
    }
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def ways_of_reading(recipe: Recipe, name: str) -> list[Wanted]:
    """In which ways the recipe may have had a file read, the likeliest first: those that name it.

    `name`: of the file, as records have it.
    """
    ways = [(one.files, _wanted(one)) for one in recipe.sources.values()]
    ways += [
        (recipe.corpus.documents, Wanted(shape="document")),
        (recipe.corpus.tagged, Wanted(shape="document", format="tagged")),
        (recipe.corpus.conversations, Wanted(shape="conversation")),
        ((*recipe.corpus.synthetic, "*"), Wanted()),
    ]
    return [way for _, way in sorted(ways, key=lambda one: not _name_it(one[0], name))]


def _name_it(globs: Sequence[str], name: str) -> bool:
    """Whether one of the globs stands for the file, its folder, or the archive that it is in."""
    return any(
        fnmatchcase(name, one) or fnmatchcase(name, f"{one.rstrip('/')}/*")
        for glob in globs
        for one in (glob, glob.replace("**/", ""))
    )


def source_files(workspace: Workspace, globs: Sequence[str]) -> list[SourceFile]:
    """Every file that the globs name. Raises InputError for a glob that names none."""
    if not globs:
        return []
    packages = fetch_packages(workspace, globs)
    return find_files(globs, workspace.folder, packages, workspace.cache)


def files_digest(files: Sequence[SourceFile]) -> str:
    """SHA-256 (hex) over names and contents: changes when any file does."""
    return value_digest([[file.name, file.sha256] for file in files])


def records_beside(
    workspace: Workspace, files: Sequence[SourceFile], shape: str
) -> Iterator[Record]:
    """The records of files beside the corpus. Says how many places in them can't be read."""
    lost: list[Quarantined] = []
    for file in files:
        for found in read_file(file, Wanted(shape=shape), lambda shape, how: None):
            if isinstance(found, Quarantined):
                lost.append(found)
            else:
                yield found
    if lost:
        first = lost[0]
        workspace.watcher.say(
            f"{len(lost):,} in quarantine, the first {first.file}:{first.line}: {first.reason}"
        )


def source_requests(workspace: Workspace) -> list[Request]:
    """Every file of the recipe's `[sources]`, with what the recipe says of it."""
    return [
        Request(file, _wanted(one))
        for one in workspace.recipe.sources.values()
        for file in source_files(workspace, one.files)
    ]


def _wanted(source: SourceSettings) -> Wanted:
    return Wanted(source.shape, source.format, source.columns, source.encoding, source.group)


def clean_beside(
    workspace: Workspace, globs: Sequence[str], shape: str = ""
) -> tuple[list[Record], str]:
    """The records of these globs, cleaned and de-identified; the digest of their files.

    For text beside the corpus: what can't be read is said, only what is empty is left out, and
    nothing is split off.
    """
    files = source_files(workspace, globs)
    if not files:  # a cleaner loads what finds names
        return [], files_digest(files)
    cleaner = Cleaner(replace(workspace.recipe.corpus, min_characters=1))
    records = map(cleaner.clean, records_beside(workspace, files, shape))
    return [one for one in records if one is not None], files_digest(files)


def clean_documents(workspace: Workspace, globs: Sequence[str]) -> tuple[list[Document], str]:
    """The documents of these globs, likewise."""
    records, digest = clean_beside(workspace, globs, "document")
    return [one for one in records if isinstance(one, Document)], digest


def clean_chats(workspace: Workspace, globs: Sequence[str]) -> tuple[list[Conversation], str]:
    """The conversations of these globs, likewise."""
    records, digest = clean_beside(workspace, globs, "conversation")
    return [one for one in records if isinstance(one, Conversation)], digest
