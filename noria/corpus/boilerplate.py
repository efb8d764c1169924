"""Remove lines that stand in many documents of one source: menus, footers, notices.

In: documents and from which share of a source's documents on a line is boilerplate. Out: the
documents without those lines, and for each source which lines went and how often. What is counted
depends on the documents alone, not on their order. This module does not know markup.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from noria.corpus.sources import source_name
from noria.records import Document, content_text, text_content

MIN_DOCUMENTS = 5  # fewer may share a line by chance
MAX_LINE_CHARACTERS = 400  # a longer one is a passage, and a matter of near-duplicates


@dataclass(frozen=True)
class RemovedLine:
    """A line, in how many documents of its source it stood, and how many times it was removed."""

    line: str
    num_documents: int
    num_removed: int


def remove_boilerplate(
    documents: Sequence[Document], share: float
) -> tuple[list[Document], dict[str, list[RemovedLine]]]:
    """The documents without boilerplate, in their order, and what went by source, widest first.

    A document may be empty then. `share` 0 removes nothing.
    """
    if not share:
        return list(documents), {}
    lines = _boilerplate_lines(documents, share)
    removed: dict[str, Counter[str]] = defaultdict(Counter)
    kept = []
    for document in documents:
        name = source_name(document.source)
        text = content_text(document.content)
        rest = []
        for line in text.split("\n"):
            if line.strip() in lines[name]:
                removed[name][line.strip()] += 1
            else:
                rest.append(line)
        left = "\n".join(rest)
        kept.append(document if left == text else replace(document, content=text_content(left)))
    facts = {
        name: sorted(
            (RemovedLine(line, lines[name][line], count) for line, count in counts.items()),
            key=lambda one: (-one.num_documents, one.line),
        )
        for name, counts in sorted(removed.items())
    }
    return kept, facts


def _boilerplate_lines(documents: Sequence[Document], share: float) -> dict[str, dict[str, int]]:
    """By source: line -> in how many documents it stands; only those that are boilerplate."""
    num_documents: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        name = source_name(document.source)
        num_documents[name] += 1
        lines = {line.strip() for line in content_text(document.content).split("\n")}
        counts[name].update(line for line in lines if 0 < len(line) <= MAX_LINE_CHARACTERS)
    return {
        name: {
            line: count
            for line, count in found.items()
            if count >= max(MIN_DOCUMENTS, share * num_documents[name])
        }
        for name, found in counts.items()
    }
