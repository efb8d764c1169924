"""Everything that there is to see of a corpus, as plain values for a screen, a page or a program.

In: a corpus's folder, and of its tokens what is known: lengths and fertility. Out: one `Look`. This
module decides nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.corpus.deduplicate import Between
from noria.corpus.folder import read_report
from noria.corpus.losses import Step, copies_wanted, steps_of, with_copies
from noria.corpus.survey import Survey, TokenLengths, Watch, survey_corpus


@dataclass(frozen=True)
class Fertility:
    """What a tokenizer makes of the held-out text of one language, or script."""

    language: str
    tokens: int
    tokens_per_byte: float
    tokens_per_character: float
    tokens_per_word: float


@dataclass(frozen=True)
class Rebalanced:
    """A source's characters of training text before and after, and the mean copies of a record."""

    source: str
    characters_before: int
    characters: int
    copies: float


@dataclass(frozen=True)
class Look:
    """A corpus: what is in it, what its steps did, what repeats what, how it becomes tokens.

    `num_read` and `num_files`: what came in, 0 where the corpus has no report. `understood`: what
    the readers took the files for. `identities`: what was replaced, by kind.
    """

    folder: str
    num_files: int
    num_read: int
    understood: tuple[str, ...]
    survey: Survey
    steps: tuple[Step, ...]
    duplicates: tuple[Between, ...]
    identities: tuple[tuple[str, int], ...]
    rebalanced: tuple[Rebalanced, ...]
    fertility: tuple[Fertility, ...]

    @property
    def num_records(self) -> int:
        """Records in all splits of all shapes."""
        return sum(one.records for one in self.survey.shapes)

    @property
    def num_left_out(self) -> int:
        """Records that were read and are in no split."""
        return sum(step.count for step in self.steps if step.gone)


def look_at(
    folder: Path, tokens: TokenLengths, fertility: Mapping[str, Mapping[str, Any]], watch: Watch
) -> Look:
    """Look at a corpus. Raises InputError, FormatError as `survey_corpus` does.

    `fertility`: by language, the counts of `tokenizer.fertility.measure_fertility`.
    """
    report = read_report(folder)
    steps = steps_of(folder, report)
    survey, copies = survey_corpus(folder, tokens, watch, copies_wanted(steps))
    return Look(
        folder=str(folder),
        num_files=report.get("files", 0),
        num_read=sum(report.get("read", {}).values()),
        understood=tuple(
            f"{one['shape']}: {one['records']:,} of {_files(one['files'])}, {one['as']}"
            for one in report.get("understood", ())
        ),
        survey=survey,
        steps=with_copies(steps, copies),
        duplicates=tuple(Between(**one) for one in report.get("duplicates_between", ())),
        identities=tuple(report.get("identities", {}).items()),
        rebalanced=tuple(Rebalanced(**one) for one in report.get("balance", ())),
        fertility=tuple(_fertility(name, one) for name, one in fertility.items()),
    )


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"


def _fertility(language: str, found: Mapping[str, Any]) -> Fertility:
    return Fertility(
        language=language,
        tokens=found["tokens"],
        tokens_per_byte=found["tokens"] / max(1, found["bytes"]),
        tokens_per_character=found["tokens_per_character"],
        tokens_per_word=found["tokens_per_word"],
    )
