"""Records to clean ones: each text in its one form, what identifies people replaced.

In: records as they were read. Out: the records that are not too short then. What this does to a
text is for `clean` and `deidentify` to know.
"""

from __future__ import annotations

from collections.abc import Sequence

from noria.corpus.clean import choices_of, clean_text
from noria.corpus.contents import map_texts
from noria.corpus.deidentify import Deidentifier, deidentifier_of
from noria.corpus.report import Progress, Tally
from noria.records import Document, Record, Tagged, content_text, record_texts
from noria.text_settings import CorpusSettings


def clean_records(
    records: Sequence[Record], settings: CorpusSettings, tally: Tally, progress: Progress
) -> list[Record]:
    """Clean every text; left out is a short document, and what else has an empty text then."""
    replaces = settings.identities == "replace"
    hider = deidentifier_of(settings, personal=False) if replaces else None
    kept = []
    for index, record in enumerate(records):
        found = _clean_record(record, settings, hider, tally)
        least = settings.min_characters if isinstance(record, Document) else 1
        if min(map(len, record_texts(found))) < least or _has_identity(found, hider):
            tally.too_short += 1
            tally.drop("too short", record.source)
        else:
            kept.append(found)
        progress("clean", index + 1, len(records))
    return kept


def _clean_record(
    record: Record, settings: CorpusSettings, hider: Deidentifier | None, tally: Tally
) -> Record:
    """The record with clean texts; the same value has the same placeholder in all of them.

    A tagged text is cleaned piece by piece, between its tags.
    """
    if isinstance(record, Tagged):
        return map_texts(record, lambda text: _clean([text], settings, hider, tally)[0])
    cleaned = iter(_clean(record_texts(record), settings, hider, tally))
    return map_texts(record, lambda text: next(cleaned))


def _clean(
    texts: Sequence[str], settings: CorpusSettings, hider: Deidentifier | None, tally: Tally
) -> list[str]:
    cleaned = [clean_text(text, choices_of(settings)) for text in texts]
    tally.changed += sum(map(str.__ne__, texts, cleaned))
    if hider is not None:
        cleaned, counts = hider.replace_together(cleaned)
        tally.identities.update(counts)
    return cleaned


def _has_identity(record: Record, hider: Deidentifier | None) -> bool:
    """Whether an identity runs over the edge of a tag, where no piece showed it."""
    if hider is None or not isinstance(record, Tagged):
        return False
    return bool(hider.find(content_text(record.content)))
