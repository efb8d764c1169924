"""Records to clean ones: each text in its one form, what identifies people replaced.

In: records as they were read. Out: clean ones, but those that are too short then, and counts. What
this does to a text is for `clean` and `deidentify` to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from noria.corpus.clean import choices_of, clean_text
from noria.corpus.contents import map_texts
from noria.corpus.deidentify import deidentifier_of, replace_identities
from noria.records import Document, Labelled, Record, Tagged, content_text, record_texts
from noria.text_settings import CorpusSettings


@final
class Cleaner:
    """Cleans records as a recipe says, and counts what it changed."""

    def __init__(self, settings: CorpusSettings) -> None:
        self._choices = choices_of(settings)
        self._min_characters = settings.min_characters
        replaces = settings.identities == "replace"
        self._hider = deidentifier_of(settings, personal=False) if replaces else None
        self.changed = 0  # texts that cleaning changed
        self.identities: Counter[str] = Counter()

    def clean(self, record: Record) -> Record | None:
        """The clean record; None for a short document, and for what else has an empty text then.

        The same value has the same placeholder in all of its texts. A tagged text is cleaned piece
        by piece, between its tags.
        """
        if isinstance(record, Tagged):
            found = map_texts(record, lambda text: self._clean([text])[0])
        else:
            cleaned = iter(self._clean(record_texts(record)))
            found = map_texts(record, lambda text: next(cleaned))
        if isinstance(found, Labelled):
            found = replace(found, labels=tuple(map(self._hide_form, found.labels)))
        document = isinstance(record, Document) and not record.synthetic
        least = self._min_characters if document else 1
        short = min(map(len, record_texts(found))) < least
        return None if short or self._has_identity(found) else found

    def _hide_form(self, label: str) -> str:
        """A label without identities that have a form; a name may well be a class."""
        if self._hider is None:
            return label
        hidden, counts = replace_identities(label)
        self.identities.update(counts)
        return hidden

    def hide(self, text: str) -> str:
        """A text that is no record's, without identities."""
        return text if self._hider is None else self._hider.replace(text)[0]

    def _clean(self, texts: Sequence[str]) -> list[str]:
        cleaned = [clean_text(text, self._choices) for text in texts]
        self.changed += sum(map(str.__ne__, texts, cleaned))
        if self._hider is not None:
            cleaned, counts = self._hider.replace_together(cleaned)
            self.identities.update(counts)
        return cleaned

    def _has_identity(self, record: Record) -> bool:
        """Whether an identity runs over the edge of a tag, where no piece showed it."""
        if self._hider is None or not isinstance(record, Tagged):
            return False
        return bool(self._hider.find(content_text(record.content)))
