"""The two models behind names: what their makers' own code finds, whatever is read beside it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from inserted_names import NAMES_EN, NAMES_ZH
from insertion import texts_with_identities
from own_sentences import OWN_EN, OWN_ZH

from noria.corpus import chinese_names, names
from noria.corpus.chinese_model import NameTagger
from noria.corpus.english_model import EntityModel
from noria.corpus.identities import Span

ENGLISH = [text for text, _ in texts_with_identities(OWN_EN, NAMES_EN, 30, 5, " ")]
CHINESE = [text for text, _ in texts_with_identities(OWN_ZH, NAMES_ZH, 30, 5, "")]
ODD = ["", " ", "\n\n", "A", "Anna", " \n Anna Kowalczyk\n ", "Acme Ltd. " * 300]
ODD_ZH = ["王", "。", "他", "ＡＢＣ公司１２３", "龘𠮷 王晓明", "张三去北京。" * 60]


@pytest.fixture(scope="module")
def english() -> EntityModel:
    return EntityModel(_spacy())


@pytest.fixture(scope="module")
def chinese() -> NameTagger:
    return NameTagger(_lac_folder(), chinese_names.KINDS)


def _spacy():
    unused = ["parser", "tagger", "attribute_ruler", "senter", "lemmatizer", "tok2vec"]
    return importlib.import_module(names.ENGLISH).load(exclude=unused)


def _lac_folder() -> Path:
    return Path(str(importlib.import_module(names.CHINESE).__file__)).parent


def test_entities_are_those_that_spacy_finds(english: EntityModel) -> None:
    texts = [*ENGLISH, *ODD, " ".join(ENGLISH)]
    expected = [
        [Span(one.start_char, one.end_char, one.label_) for one in doc.ents]
        for doc in map(_spacy(), texts)
    ]
    assert sum(map(len, expected)) > 100
    assert english.entities(texts) == expected


def test_chinese_names_are_those_of_the_package_itself(chinese: NameTagger) -> None:
    texts = [*CHINESE, *ODD_ZH]
    own = importlib.import_module(names.CHINESE).LAC()
    expected = []
    for text in texts:
        found, place = [], 0
        for word, tag in own.run(text):
            if tag in chinese_names.KINDS:
                found.append(Span(place, place + len(word), tag))
            place += len(word)
        expected.append(found)
    assert sum(map(len, expected)) > 50
    assert chinese.names(texts) == expected


def _beside_others(read: Callable[[Sequence[str]], list[list[Span]]], texts: list[str]) -> None:
    alone = [read([text])[0] for text in texts]
    assert read(texts) == alone
    assert read(texts[::-1]) == alone[::-1]
    assert [one for some in (texts[:7], texts[7:]) for one in read(some)] == alone


def test_what_is_found_does_not_depend_on_what_is_read_beside_it(
    english: EntityModel, chinese: NameTagger
) -> None:
    _beside_others(english.entities, [*ENGLISH[:40], *ODD])
    _beside_others(chinese.names, [*CHINESE[:40], *ODD_ZH])


def test_the_numbers_behind_are_equal_to_the_last_bit(
    english: EntityModel, chinese: NameTagger
) -> None:
    docs = [english._language.make_doc(text) for text in ENGLISH[:30]]
    together = english._vectors.predict(docs)
    place = 0
    for doc in docs:
        alone = english._vectors.predict([doc])
        assert (together[place : place + len(doc)] == alone).all()
        place += len(doc)
    same_length = [text[:20] for text in CHINESE[:30] if len(text) >= 20]
    paths = chinese._paths(same_length)
    for one, path in zip(same_length, paths, strict=True):
        assert (chinese._paths([one])[0] == path).all()


def test_a_text_has_the_same_names_after_any_other_text_and_with_nothing_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"{a}\n\n{b}" for a, b in zip(ENGLISH[:20], CHINESE[:20], strict=True)]
    finder = names.load_name_finder()
    forwards = [finder.find(text) for text in texts]
    assert [finder.find(text) for text in reversed(texts)] == forwards[::-1]
    monkeypatch.setattr(names, "REMEMBERED_CHARACTERS", 0)
    fresh = names.load_name_finder()
    assert [fresh.find(text) for text in texts] == forwards


def test_one_thread_is_used(chinese: NameTagger) -> None:
    options = chinese._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
