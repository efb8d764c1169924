import random
from hashlib import blake2b

import numpy as np
import pytest

from noria.corpus.decontaminate import Decontaminated, MeasuredSet, drop_contaminated
from noria.corpus.deduplicate import drop_duplicates
from noria.corpus.shingles import WordHasher, ngrams
from noria.corpus.split import split_of, split_records
from noria.errors import InputError
from noria.records import Document, Source, content_text, text_content
from noria.text_settings import CorpusSettings

VOCABULARY = (
    "harbour lamp keeper storm north boat rope night morning rain captain letter window stair "
    "book winter fish market child bridge river mountain paper silver garden music train"
)
WORDS = VOCABULARY.split()


def _document(text: str, number: int, file: str = "a.txt") -> Document:
    source = Source(file, number + 1, number, number + 1)
    return Document(text_content(text), source, group=file)


def _story(seed: int, num_words: int = 200) -> list[str]:
    draw = random.Random(seed)
    return [draw.choice(WORDS) + str(draw.randrange(50)) for _ in range(num_words)]


def test_equal_texts_are_dropped_whatever_their_spaces_and_capitals() -> None:
    texts = ["The lamp is lit.", "the  lamp\nis LIT.", "The lamp is out."]
    result = drop_duplicates([_document(t, n) for n, t in enumerate(texts)], near_duplicates=False)
    assert [content_text(document.content) for document in result.kept] == [texts[0], texts[2]]
    (drop,) = result.exact
    assert (drop.source.byte_start, drop.duplicate_of.byte_start) == (1, 0)


def test_first_source_stays_when_files_are_read_in_any_order() -> None:
    documents = [
        _document("The lamp is lit.", 5, "b.txt"),
        _document("The lamp is lit.", 9, "a.txt"),
    ]
    result = drop_duplicates(documents, near_duplicates=True)
    assert [document.source.file for document in result.kept] == ["a.txt"]


def test_near_duplicates_above_the_threshold_go_and_below_it_stay() -> None:
    story = _story(1)
    near, far = story.copy(), story.copy()
    near[100] = "changed"  # 5 of 196 shingles: similarity 191 / 201 = 0.95
    for place in range(0, 200, 8):
        far[place] = f"other{place}"
    documents = [_document(" ".join(words), n) for n, words in enumerate([story, near, far])]
    result = drop_duplicates(documents, near_duplicates=True)
    (drop,) = result.near
    assert drop.source.byte_start == 1
    assert drop.similarity == pytest.approx(191 / 201)
    assert len(drop_duplicates(documents, near_duplicates=False).kept) == 3


def test_chinese_near_duplicates_are_found_without_spaces() -> None:
    draw = random.Random(2)
    text = "".join(chr(0x4E00 + draw.randrange(3000)) for _ in range(300))
    documents = [_document(text, 0), _document(text[:150] + "改" + text[151:], 1)]
    assert len(drop_duplicates(documents, near_duplicates=True).near) == 1


def test_recall_at_the_threshold_is_that_of_the_bands() -> None:
    pairs = 60
    documents = []
    for seed in range(pairs):
        story = _story(100 + seed)
        changed = story.copy()
        for place in (20, 70, 120, 170):  # 176 / 216 = 0.815
            changed[place] = "changed"
        documents += [
            _document(" ".join(story), 2 * seed),
            _document(" ".join(changed), 2 * seed + 1),
        ]
    assert len(drop_duplicates(documents, near_duplicates=True).near) == pairs


def test_texts_without_words_are_no_near_duplicates() -> None:
    result = drop_duplicates([_document("…!", 0), _document("?? --", 1)], near_duplicates=True)
    assert len(result.kept) == 2


def test_word_hashes_are_the_same_in_every_run() -> None:
    words = WordHasher().words("Lamp 灯 lamp")
    assert words[0] == words[2] != words[1]
    assert words[0] == np.frombuffer(blake2b(b"lamp", digest_size=8).digest(), "<u8")[0]
    assert len(ngrams(words, 2)) == 2
    assert len(ngrams(words, 4)) == 0


def test_split_shares_are_what_was_asked() -> None:
    splits = [split_of(f"file{n}", 1, 0.06, 0.04) for n in range(20_000)]
    assert splits.count("held_out") / 20_000 == pytest.approx(0.06, abs=0.006)
    assert splits.count("test") / 20_000 == pytest.approx(0.04, abs=0.006)


def test_groups_stay_together_and_where_they_are_when_data_is_added() -> None:
    settings = CorpusSettings(held_out=0.2, test=0.2)
    records = [_document(f"{g} {n} lamp", n, f"file{g}") for g in range(30) for n in range(5)]
    splits = split_records(records, settings, seed=1)
    groups = {name: {record.group for record in kept} for name, kept in splits.items()}
    assert sum(map(len, groups.values())) == 30
    more = [*records, *(_document("new", n, f"new{n}") for n in range(20))]
    for name, kept in split_records(more, settings, seed=1).items():
        assert groups[name] <= {record.group for record in kept}
    assert split_records(records, settings, seed=2) != splits


@pytest.mark.parametrize("num_records", [3, 4, 10, 300])
def test_one_file_is_split_by_records_and_no_split_is_empty(num_records: int) -> None:
    records = [_document(f"text {n}", n) for n in range(num_records)]
    splits = split_records(records, CorpusSettings(), seed=1)
    assert all(splits.values())
    assert len(splits["train"]) >= num_records / 3
    dealt = sorted((record for kept in splits.values() for record in kept), key=records.index)
    assert dealt == records


def test_too_few_records_to_split_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3"):
        split_records([_document("a", 0), _document("b", 1)], CorpusSettings(), seed=1)


def test_a_shared_run_of_thirteen_words_contaminates_and_twelve_do_not() -> None:
    held_out = _document(" ".join(_story(1)), 0)
    shared = _story(1)[50:63]
    train = [
        _document(" ".join([*_story(2), *shared, *_story(3)]), 1),
        _document(" ".join([*_story(4), *shared[:12], *_story(5)]), 2),
    ]
    result = drop_contaminated(train, [MeasuredSet("held_out", [held_out])])
    assert result.clean == [train[1]]
    (dropped,) = result.dropped
    assert (dropped.record, dropped.name, dropped.measured) == (
        train[0],
        "held_out",
        held_out.source,
    )
    assert dropped.passage == " ".join(shared)


def test_a_shared_chinese_passage_of_26_characters_contaminates() -> None:
    draw = random.Random(3)
    text = "".join(chr(0x4E00 + draw.randrange(3000)) for _ in range(200))
    train = [
        _document("今天" + text[20:46] + "明天", 1),
        _document("今天" + text[20:45] + "明天", 2),
    ]
    result = drop_contaminated(train, [MeasuredSet("test", [_document(text, 0)])])
    assert result.clean == [train[1]]
    assert [(one.record, one.passage) for one in result.dropped] == [(train[0], text[20:46])]


def test_nothing_is_contaminated_by_nothing() -> None:
    train = [_document("text", 0)]
    assert drop_contaminated(train, []) == Decontaminated(train, [], {})


def test_short_texts_of_an_evaluation_set_are_looked_for_whole() -> None:
    question = "which boat does the keeper of the north light row home"  # 11 words
    chinese = "守灯人每天晚上什么时候点亮北边的那盏灯"  # 19 characters
    train = [
        _document(f"He asked: {question.title()}? And nobody knew what to say to him.", 1),
        _document(f"他问：{chinese}？没有人知道应该怎么回答这个问题才好。", 2),
        _document("Which boat does the keeper of the south light row home, he asked.", 3),
    ]
    short = [_document(question, 4), _document(chinese, 5), _document("Which boat?", 6)]
    result = drop_contaminated(train, [MeasuredSet("quiz", short, short_too=True)])
    assert result.clean == [train[2]]
    assert [one.passage for one in result.dropped] == [question, chinese]
    assert result.too_short == {"quiz": 1}
    assert drop_contaminated(train, [MeasuredSet("held_out", short)]).clean == train
