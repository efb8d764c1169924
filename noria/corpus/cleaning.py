"""Records to clean ones: each text in its one form, what identifies people replaced.

In: records as they were read. Out: the records that are not too short then. What this does to a
text is for `clean` and `deidentify` to know.
"""

from __future__ import annotations

from collections.abc import Sequence

from noria.corpus.clean import choices_of, clean_text
from noria.corpus.contents import map_texts
from noria.corpus.deidentify import replace_identities
from noria.corpus.report import Progress, Tally
from noria.recipe import CorpusSettings
from noria.records import Document, Record, Tagged, content_text, record_texts


def clean_records(
    records: Sequence[Record], settings: CorpusSettings, tally: Tally, progress: Progress
) -> list[Record]:
    """Clean every text; left out is a short document, and what else has an empty text then."""
    kept = []
    for index, record in enumerate(records):
        found = map_texts(record, lambda text: _clean(text, settings, tally))
        least = settings.min_characters if isinstance(record, Document) else 1
        if min(map(len, record_texts(found))) < least or _has_identity(found, settings):
            tally.too_short += 1
            tally.drop("too short", record.source)
        else:
            kept.append(found)
        progress("clean", index + 1, len(records))
    return kept


def _clean(text: str, settings: CorpusSettings, tally: Tally) -> str:
    cleaned = clean_text(text, choices_of(settings))
    tally.changed += cleaned != text
    if settings.identities == "replace":
        cleaned, counts = replace_identities(cleaned)
        tally.identities.update(counts)
    return cleaned


def _has_identity(record: Record, settings: CorpusSettings) -> bool:
    """Whether an identity runs over the edge of a tag, where no piece showed it."""
    if settings.identities != "replace" or not isinstance(record, Tagged):
        return False
    return bool(replace_identities(content_text(record.content))[1])
