import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.artifacts import file_digest
from noria.corpus.clean import Choices, clean_text
from noria.corpus.deduplicate import drop_duplicates
from noria.corpus.deidentify import replace_identities
from noria.corpus.read import SourceFile, Wanted, read_file
from noria.corpus.split import SPLITS, split_of, split_rule
from noria.records import Document, Source, content_text, text_content
from noria.text_settings import CorpusSettings

SPELLED = (
    "a@b.cn|13812345678|+49 30 901820|4111111111111111|DE89370400440532013000|8.8.8.8|219-09-9999"
    "|11010519491231002X|联系|电话|\u200b|e\u0301| |\n|\n\n|\r\n|\u3000|,|.|-|/|12|A|::|１３|。"
    "|Mr. X. |fe80::1|[|https://a:b@c.de|?token=abcd|06 12 34 56 78|(at)"
)
PIECES = st.sampled_from(SPELLED.split("|"))
MIXED = st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=30).map("".join)


@given(MIXED)
def test_cleaning_again_changes_nothing(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once


BROKEN = "Ã©|Ã|©|â€|â€œ|å¥½|æ|\x92|\xa0|Â|ï»¿|Ａ|１|．|％|，|ﾗ|ﾟ|燈|灯|後|后|面|裡|里|於|乾|国|の|é"
CHOICES = [
    Choices(mojibake, width, chinese)
    for mojibake in ("keep", "repair")
    for width in ("keep", "plain")
    for chinese in ("keep", "simplified", "traditional")
]


@pytest.mark.parametrize("choices", CHOICES, ids=str)
@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.sampled_from(BROKEN.split("|")), MIXED), max_size=20).map("".join))
def test_cleaning_again_changes_nothing_whatever_was_chosen(choices: Choices, text: str) -> None:
    once = clean_text(text, choices)
    assert clean_text(once, choices) == once


@given(MIXED)
def test_replacing_again_changes_nothing(text: str) -> None:
    once, _ = replace_identities(text)
    assert replace_identities(once) == (once, {})


@given(st.text("0123456789 .,年月日元章条", max_size=60))
def test_replacing_keeps_every_chinese_character(text: str) -> None:
    replaced, _ = replace_identities(text)
    assert [c for c in replaced if c > "\u4e00"] == [c for c in text if c > "\u4e00"]


def _documents(path: Path) -> list[Document]:
    file = SourceFile("a.txt", path, file_digest(path))
    found = read_file(file, Wanted(shape="document", encoding="utf-8"), lambda shape, how: None)
    return [one for one in found if isinstance(one, Document)]


@settings(deadline=None, max_examples=50)
@given(MIXED, st.integers(1, 300))
def test_every_document_is_its_bytes_and_nothing_but_space_is_lost(text: str, times: int) -> None:
    whole = ("好" + text) * times
    data = whole.encode("utf-8", "ignore").replace(b"\0", b"")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.txt")
        path.write_bytes(data)
        documents = _documents(path)
    for document in documents:
        source = document.source
        assert data[source.byte_start : source.byte_end].decode() == content_text(document.content)
    joined = "".join(content_text(document.content) for document in documents)
    assert "".join(joined.split()) == "".join(data.decode().split())


@given(st.text(max_size=20), st.integers(0, 9), st.floats(0.01, 0.4), st.floats(0.01, 0.4))
def test_a_larger_share_moves_groups_out_of_training_only(
    group: str, seed: int, held_out: float, test: float
) -> None:
    group = group.encode("utf-8", "ignore").decode()
    before, after = (
        split_of(group, seed, held_out, test),
        split_of(group, seed, held_out + 0.1, test),
    )
    assert before == after or (before, after) == ("train", "held_out")


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(8)))
def test_which_copy_stays_does_not_depend_on_the_order(order: list[int]) -> None:
    texts = ["The wind turned to the north and the boats came home before the rain."] * 3
    texts += [texts[0] + " " + f"And number {n} came last of all." for n in range(3)]
    texts += ["春天来了，河边的柳树都绿了。", "Something else entirely is written here."]
    documents = [
        Document(text_content(text), Source("a.txt", 1, n, n + 1)) for n, text in enumerate(texts)
    ]
    straight = drop_duplicates(documents, near_duplicates=True)
    shuffled = drop_duplicates([documents[n] for n in order], near_duplicates=True)
    assert (shuffled.exact, shuffled.near) == (straight.exact, straight.near)
    assert shuffled.kept == [documents[n] for n in order if documents[n] in straight.kept]
    assert {drop.source.byte_start for drop in straight.exact} == {1, 2}


LINES = st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 30))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(LINES, min_size=1, max_size=25, unique=True),
    st.lists(LINES, max_size=25, unique=True),
    st.sampled_from(["group", "record"]),
    st.randoms(use_true_random=False),
)
def test_what_was_measured_on_is_never_trained_on_after_adding_and_shuffling(
    first: list[tuple[str, int]], more: list[tuple[str, int]], how: str, draw: random.Random
) -> None:
    corpus = CorpusSettings(split=how, held_out=0.3, test=0.2)
    rule = split_rule(corpus, 1)
    assert rule is not None

    def splits(lines: list[tuple[str, int]]) -> dict[str, set[str]]:
        records = [
            Document(text_content(f"line number {n} of a few words"), Source(f"{g}.txt", n, n), g)
            for g, n in lines
        ]
        kept = drop_duplicates(records, True, rank=lambda one: -SPLITS.index(rule(one))).kept
        found: dict[str, set[str]] = {name: set() for name in SPLITS}
        for record in kept:
            found[rule(record)].add(content_text(record.content))
        return found

    before = splits(first)
    everything = list(dict.fromkeys([*first, *more]))
    after = splits(everything)
    shuffled = list(everything)
    draw.shuffle(shuffled)
    assert splits(shuffled) == after
    assert not (before["held_out"] | before["test"]) & after["train"]
