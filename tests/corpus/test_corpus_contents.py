"""A change of text reaches every text of a record, and tags stay on their words."""

from __future__ import annotations

from noria.corpus.contents import map_texts
from noria.records import (
    Conversation,
    Message,
    Pair,
    Preference,
    Record,
    Source,
    Span,
    Tagged,
    content_text,
    record_texts,
    text_content,
)

HERE = Source("a.txt", 1)


def test_every_text_of_every_shape_is_changed() -> None:
    content = text_content("abc")
    records: list[Record] = [
        Pair(content, content, HERE),
        Preference(content, content, content, HERE),
        Conversation((Message("user", content), Message("assistant", content)), HERE),
    ]
    for record in records:
        assert set(record_texts(map_texts(record, str.upper))) == {"ABC"}


def test_spans_stay_on_their_words_when_lengths_change() -> None:
    text = "write to  ann@mill.example  in Delft today"
    spans = (Span(31, 36, "PLACE"), Span(10, 26, "MAIL"))
    record = Tagged(text_content(text), spans, HERE)
    changed = map_texts(record, lambda piece: piece.replace("ann@mill.example", "[EMAIL]"))
    assert isinstance(changed, Tagged)
    after = content_text(changed.content)
    assert after == "write to  [EMAIL]  in Delft today"
    assert [after[s.start : s.end] for s in changed.spans] == ["Delft", "[EMAIL]"]


def test_a_span_of_which_nothing_is_left_goes() -> None:
    record = Tagged(text_content("a bb c"), (Span(2, 4, "X"),), HERE)
    changed = map_texts(record, lambda piece: piece.replace("bb", ""))
    assert isinstance(changed, Tagged)
    assert changed.spans == ()
