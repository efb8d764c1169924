"""The page of a corpus: one self-contained HTML file, in the clothes of the report.

In: what there is to see of a corpus. Out: a file that needs no script and makes no request. This
module counts nothing.
"""

from __future__ import annotations

from pathlib import Path

from noria.artifacts import atomic_write
from noria.corpus.look import Look
from noria.evaluate.contents import IdentitiesSection
from noria.evaluate.data_sections import (
    amounts_part,
    balance_part,
    duplicates_part,
    lengths_part,
    samples_part,
    steps_part,
    tokens_part,
)
from noria.evaluate.identities import identities_part
from noria.evaluate.page import Html, document, element
from noria.evaluate.sections import size


def render_data_page(
    found: Look, title: str, identities: IdentitiesSection | None, path: Path
) -> None:
    """Write the page, whole or not at all."""
    parts = (
        amounts_part(found),
        lengths_part(found),
        balance_part(found),
        tokens_part(found),
        duplicates_part(found),
        steps_part(found),
        identities_part(identities),
        samples_part(found),
    )
    page = document(
        f"{title}: what the corpus is",
        _header(found, title),
        element("main", *parts),
        element("footer", "Written by Noria. This page holds everything: no script, no request."),
    )
    atomic_write(path, page.encode("utf-8"))


def _header(found: Look, title: str) -> Html:
    survey = found.survey
    files = f" from {found.num_files:,} files" if found.num_files else ""
    sources = f"{len(survey.sources):,} source{'s' if len(survey.sources) != 1 else ''}"
    said = f"{found.num_records:,} records of {sources}{files}."
    num_tokens = sum(row.tokens for row in survey.shapes)
    facts = [
        ("text", size(sum(row.bytes for row in survey.shapes))),
        *([("tokens", f"{num_tokens:,}")] if num_tokens else []),
        ("languages", f"{len(survey.languages):,}"),
        ("left out", f"{found.num_left_out:,}"),
        ("identities replaced", f"{sum(count for _, count in found.identities):,}"),
    ]
    pairs = (element("div", element("dt", name), element("dd", fact)) for name, fact in facts)
    words = element(
        "div",
        element("p", "Noria · what the corpus is", class_="eyebrow"),
        element("h1", title),
        element("p", said, class_="headline"),
        element("p", element("code", Path(found.folder).name), class_="quiet"),
        element("dl", *pairs, class_="tiles"),
    )
    return element("header", words, class_="plain")
