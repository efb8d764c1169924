import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.corpus import segment
from noria.corpus.segment import split_sentences, split_words, stop_words
from noria.errors import MissingExtra


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            'Mr. Gray went to St. Mary\'s. He paid $3.50 for tea. "Really?" she asked.',
            ["Mr. Gray went to St. Mary's.", "He paid $3.50 for tea.", '"Really?" she asked.'],
        ),
        ("A line\nis a sentence", ["A line", "is a sentence"]),
        (
            "今天天气很好。我们去公园吧！你来不来？",
            ["今天天气很好。", "我们去公园吧！", "你来不来？"],
        ),
        ("“船晚点了吗？”他问。", ["“船晚点了吗？”", "他问。"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.lists(st.sampled_from(["灯。", "“好！”", " Dr. Gray", " said.", "？", " (No!)"])))
def test_no_sentence_loses_a_character(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Lamp, it's lit.", ["the", "lamp", "it", "s", "lit"]),
        ("我们用Python写程序。", ["我们", "用", "python", "写", "程序"]),
        ("北京大学2026年", ["北京大学", "2026", "年"]),
        ("…!", []),
    ],
)
def test_words_are_found_with_and_without_spaces(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_stop_words_say_little_in_both_languages() -> None:
    assert {"the", "and", "的", "了"} <= stop_words()
    assert not {"lamp", "灯塔", "broken"} & stop_words()


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("pysbd", lambda: split_sentences("A lamp.")),
        ("rjieba", lambda: split_words("灯塔")),
        ("stopwordsiso", stop_words),
    ],
)
def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, use: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for cached in (segment._sentence_rules, segment._cutter, segment.stop_words):
        cached.cache_clear()
    with pytest.raises(MissingExtra, match=r"noria\[data\]"):
        use()
