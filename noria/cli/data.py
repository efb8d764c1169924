"""data show, data diff: what a corpus is, and what changed between two."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.errors import UsageError

if TYPE_CHECKING:
    from noria.data import Corpus
    from noria.workspace import Workspace

data = typer.Typer(help="Look at a corpus, and compare two.")
NUM_SHOWN = 5


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.add_typer(data, name="data")


@data.command("show")
def show_data(
    recipe: Path = RECIPE,
    corpus: str = typer.Option(
        "", "--corpus", help="An artifact's name or key, or a folder; default: the newest."
    ),
    page: Path | None = typer.Option(None, "--page", help="Write a page with everything there."),
    sample: int = typer.Option(0, "--sample", min=0, max=1000, help="Print so many records."),
    dropped: str | None = typer.Option(
        None, "--dropped", help="Print records left out for this reason; '' for any."
    ),
    quarantine: str | None = typer.Option(
        None, "--quarantine", help="Print what could not be read for this reason; '' for any."
    ),
    source: str = typer.Option("", "--source", help="Only from this source or file."),
    language: str = typer.Option("", "--language", help="Only records in this language."),
    split: str = typer.Option("", "--split", help="Only from train, held_out or test."),
    shape: str = typer.Option("", "--shape", help="Only records of this shape."),
    label: str = typer.Option("", "--label", help="Only records with this label or tag."),
    seed: int = typer.Option(0, "--seed", help="Another seed, other records."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Show what is in the newest corpus: counts, lengths, languages, losses; or some records."""
    from noria import data as corpora
    from noria.cli.data_text import look_text, lost_text, records_text
    from noria.corpus.choose import Selection, choose_in_quarantine, choose_left_out, choose_records

    wanted = Selection(shape, split, source, language, label)
    if dropped is not None and quarantine is not None:
        raise UsageError("--dropped with --quarantine", "one of them")
    value: dict[str, Any]
    with _Watched(recipe, store, [corpus], 1, as_json) as opened:
        (found,) = opened.corpora
        if dropped is not None or quarantine is not None:
            _refuse(shape=shape, split=split, language=language, label=label)
            choose = choose_left_out if dropped is not None else choose_in_quarantine
            reason = dropped or quarantine or ""
            lost = choose(found.folder, reason, source, sample or NUM_SHOWN, seed)
            value, text = {"records": [asdict(one) for one in lost]}, lost_text(lost)
        elif sample or any(vars(wanted).values()):
            some = choose_records(found.folder, wanted, sample or NUM_SHOWN, seed)
            value, text = {"records": [asdict(one) for one in some]}, records_text(some)
        else:
            looked = corpora.look(found, opened.watch)
            value, text = asdict(looked), look_text(looked)
            if page is not None:
                corpora.write_page(looked, found, opened.title(found), page)
                value, text = value | {"page": str(page)}, f"wrote {page}"
    show(value, as_json, text)


@data.command("diff")
def diff_data(
    before: str = typer.Argument("", help="An artifact's name or key, or a folder."),
    after: str = typer.Argument("", help="Likewise; what is not named is the newest of the rest."),
    recipe: Path = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe."),
    examples: int = typer.Option(2, "--examples", min=0, max=1000, help="Of each kind of change."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Say what changed between two corpora; ends with 1 if measured text is trained on now."""
    from noria.cli.diff_text import compared_text
    from noria.data import compare_corpora

    with _Watched(recipe, store, [before, after], 2, as_json) as opened:
        one, other = opened.corpora
        found = compare_corpora(one, other, examples, opened.watch)
    show(asdict(found), as_json, compared_text(found))
    if found.difference.leaked:
        raise typer.Exit(1)


def _refuse(**given: str) -> None:
    """Raise UsageError for a wish that what was left out can't fulfil."""
    for name, value in given.items():
        if value:
            raise UsageError(
                f"--{name} with --dropped or --quarantine",
                "--source alone beside them: of what was left out no more is stored",
            )


class _Watched:
    """So many corpora by name; a recipe's store is opened only where a folder does not name one."""

    def __init__(
        self, recipe: Path, store: Path | None, names: list[str], count: int, quiet: bool
    ) -> None:
        from noria.data import is_folder

        self._names = [name for name in names if name]
        self._count = count
        self._workspace: Workspace | None = None
        self._opened: Opened | None = None
        if len(self._names) < count or not all(map(is_folder, self._names)):
            self._opened = Opened(recipe, store, quiet)

    def __enter__(self) -> _Watched:
        from noria import data as every

        if self._opened is None:
            self.corpora = [every.corpus_in(Path(name)) for name in self._names]
            return self
        self._workspace = self._opened.__enter__()
        try:
            in_store = self._workspace.store
            named = [every.find_corpus(in_store, name) for name in self._names]
            self.corpora = every.newest_beside(in_store, named, self._count)
        except BaseException:
            self._opened.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._opened is not None:
            self._opened.__exit__(*error)

    def title(self, corpus: Corpus) -> str:
        """What a page about a corpus is called."""
        return self._workspace.recipe.name if self._workspace else corpus.name

    def watch(self, what: str, done: float, total: float) -> None:
        """Move the bar, where there is one."""
        if self._workspace is not None:
            self._workspace.watcher.progress(what, done, total)
