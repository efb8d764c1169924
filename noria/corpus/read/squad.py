"""Paragraphs with questions and answers in SQuAD's JSON to rows.

In: {"data": [{"paragraphs": [{"context", "qas": [{"question", "answers": [{"text"}]}]}]}]}. Out: a
row a question, with context, question and the first answer; a paragraph is a group, so that no two
of its questions are on different sides of a split. The row's line is the question's number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from noria.corpus.read.files import SourceFile
from noria.corpus.read.quarantine import Quarantined, quarantined
from noria.corpus.read.shapes import Row
from noria.records import Source


def is_squad(value: Any) -> bool:
    """Whether a JSON value has the outer shape of SQuAD."""
    data = value.get("data") if isinstance(value, dict) else None
    return isinstance(data, list) and any(isinstance(d, dict) and "paragraphs" in d for d in data)


def squad_rows(file: SourceFile, value: dict[str, Any]) -> Iterator[Row | Quarantined]:
    """A row for each question; one without context, text or answer is quarantined."""
    number = 0
    for index, paragraph in enumerate(_paragraphs(value)):
        context = paragraph.get("context") if isinstance(paragraph, dict) else None
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(context, str) or not isinstance(questions, list):
            yield quarantined(file.name, number, paragraph, "a paragraph without context and qas")
            continue
        for item in questions:
            number += 1
            asked = item.get("question") if isinstance(item, dict) else None
            answer = _answer(item) if isinstance(item, dict) else None
            if not isinstance(asked, str) or answer is None:
                yield quarantined(file.name, number, item, "a question without an answer's text")
                continue
            values = {
                "instruction": f"{context}\n\n{asked}",
                "output": answer,
            }
            yield Row(values, Source(file.name, number), f"{file.name}#{index}")


def _paragraphs(value: dict[str, Any]) -> Iterator[Any]:
    for article in value["data"]:
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        yield from paragraphs if isinstance(paragraphs, list) else [article]


def _answer(item: dict[str, Any]) -> str | None:
    answers = item.get("answers")
    first = answers[0] if isinstance(answers, list) and answers else None
    text = first.get("text") if isinstance(first, dict) else None
    return text if isinstance(text, str) and text.strip() else None
