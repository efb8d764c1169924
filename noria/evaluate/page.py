"""HTML by construction: a string is text and is escaped, only `Html` is markup.

In: texts and numbers. Out: markup for a page that needs no script and no outside request.
This module does not know what a report is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import final


@final
class Html(str):
    """Markup whose texts are escaped already; every other string is text."""

    __slots__ = ()


def join(*children: str) -> Html:
    """Put markup and texts one behind the other; texts are escaped."""
    return Html("".join(one if isinstance(one, Html) else escape(one) for one in children))


def element(name: str, *children: str, **attributes: str) -> Html:
    """An element of HTML or SVG; `class_` stands for class, `text_anchor` for text-anchor."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def figure(title: str, note: str, *drawings: Html) -> Html:
    """A picture, drawn once or for several widths, over its title and what to know of it."""
    caption = element("figcaption", element("strong", title), " ", note)
    return element("figure", caption, *drawings, class_="chart")


def section(anchor: str, title: str, lead: str, *children: str) -> Html:
    """A titled part of the page with one sentence that says what it shows."""
    heading = element("h2", title, id=f"{anchor}-title")
    intro = element("p", lead, class_="lead")
    return element(
        "section", heading, intro, *children, id=anchor, aria_labelledby=f"{anchor}-title"
    )


def table(label: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A table that scrolls sideways on a narrow screen.

    A column whose name begins with `#` holds numbers (`#seconds`) and is set to the right.
    """
    numeric = [column.startswith("#") for column in columns]
    classes = ["number" if one else "text" for one in numeric]
    head = [
        element("th", column.removeprefix("#"), scope="col", class_=kind)
        for column, kind in zip(columns, classes, strict=True)
    ]
    body = []
    for row in rows:
        cells = [element("td", cell, class_=kind) for cell, kind in zip(row, classes, strict=True)]
        body.append(element("tr", *cells))
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=label)


def short_hash(value: str) -> Html:
    """The first twelve characters of a hash; the whole of it on hover."""
    return element("code", value[:12], title=value, class_="hash") if value else Html("–")


def chip(text: str, kind: str) -> Html:
    """A word that carries a verdict, coloured by kind: good, bad or plain."""
    return element("span", text, class_=f"chip {kind}")


def document(title: str, *body: str) -> Html:
    """A whole page with its style inside; its policy forbids scripts and every request."""
    style = files("noria.evaluate").joinpath("report.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style>"
    )
    return Html(
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{join(*body)}</body></html>\n'
    )
