import base64
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from noria.corpus.perplexity import CharacterModel
from noria.corpus.prepare import prepare_corpus, requests_of
from noria.corpus.quality import judge_documents, limits_in_force, measure_text
from noria.corpus.read import find_files
from noria.corpus.shingles import WordHasher
from noria.recipe_file import load_recipe
from noria.records import Document, Source, text_content
from noria.text_settings import CorpusSettings, QualitySettings

_WORDS = "harbour lamp keeper storm boat rope morning captain letter window stair winter"
NOUNS = _WORDS.split()
_VERBS = "watches carries follows mends paints remembers forgets lights sells counts"
VERBS = _VERBS.split()
CHINESE = ["守灯人", "船长", "孩子们", "邻居", "老师", "渔夫"]
DOES = ["修好了", "忘记了", "点亮了", "数过了", "卖掉了", "带走了"]
THINGS = ["那盏旧灯", "北边的窗户", "最后一封信", "港口的绳子", "冬天的衣服"]


def _story(seed: int) -> str:
    draw = random.Random(seed)
    lines = []
    for _ in range(12):
        words = draw.choice(NOUNS), draw.choice(VERBS), draw.choice(NOUNS), draw.randrange(90)
        lines.append("The {} {} the {} on day {} of the year.".format(*words))
    return " ".join(lines)


def _tale(seed: int) -> str:
    draw = random.Random(seed)
    pick = [
        draw.choice(CHINESE) + draw.choice(DOES) + draw.choice(THINGS) + str(draw.randrange(99))
        for _ in range(25)
    ]
    return "，".join(pick) + "。"


def _noise(seed: int) -> str:
    return base64.b64encode(random.Random(seed).randbytes(600)).decode()


GOOD = [_story(n) for n in range(100)] + [_tale(n) for n in range(130)]
BAD = {
    "repeated_lines": "Sign in to see more of the harbour.\n" * 20,
    "repeated_runs": "buy this boat now because it is the best boat there is " * 12,
    "symbols": "=-=-=- *** ### ~~~ |||| >>>> <<<< ==== ____ ab " * 8,
    "digits": "\n".join(f"{n * 7919} {n * 104729}" for n in range(1, 40)),
    "shortest_words": "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "longest_words": " ".join("".join(random.Random(n).sample(NOUNS, 4)) for n in range(30)),
    "bits_per_byte": _noise(1),
}


def _documents(texts: Sequence[str]) -> list[Document]:
    return [Document(text_content(text), Source(f"{n:03}.txt")) for n, text in enumerate(texts)]


@pytest.mark.parametrize("signal", BAD)
def test_each_limit_finds_what_it_is_for_and_no_ordinary_text(signal: str) -> None:
    judged = list(judge_documents(_documents([*GOOD, BAD[signal]]), QualitySettings()))
    assert not any(judged[:-1])
    assert signal in {one.signal for one in judged[-1]}


@pytest.mark.parametrize("signal", BAD)
def test_a_limit_of_zero_is_none(signal: str) -> None:
    limits = QualitySettings(**{signal: 0})
    assert signal not in limits_in_force(limits)
    (*_, found) = judge_documents(_documents([*GOOD, BAD[signal]]), limits)
    assert signal not in {one.signal for one in found}


def test_a_document_may_not_be_longer_than_asked() -> None:
    limits = QualitySettings(characters=len(GOOD[0]))
    (found,) = judge_documents(_documents([GOOD[0] + "."]), limits)
    assert [(one.signal, one.value) for one in found] == [("characters", len(GOOD[0]) + 1)]


def test_the_only_text_of_its_script_is_not_called_noise() -> None:
    russian = "Смотритель каждый вечер поднимал лампу по лестнице."
    judged = list(judge_documents(_documents([*GOOD, russian]), QualitySettings()))
    assert not any(judged)


def test_signals_are_the_shares_they_say() -> None:
    signals = measure_text("ab 1!\nab 1!\ncd 2?", WordHasher())
    assert signals["repeated_lines"] == pytest.approx(5 / 15)
    assert signals["symbols"] == signals["digits"] == pytest.approx(3 / 12)
    words = [f"w{n}" for n in range(30)]
    twice = measure_text(" ".join([*words, *words[:15]]), WordHasher())
    assert twice["repeated_runs"] == pytest.approx(15 / 45)


def _model(texts: list[str]) -> CharacterModel:
    model = CharacterModel()
    for text in texts:
        model.add(text)
    return model


def test_noise_surprises_and_text_of_either_language_does_not() -> None:
    texts = [*GOOD, _noise(1), _noise(2)]
    model = _model(texts)
    bits = [model.bits_per_byte(text) for text in texts]
    assert max(bits[:-2]) < 4 < 7 < min(bits[-2:])


def test_a_texts_own_counts_do_not_speak_for_it() -> None:
    alone = _model([_story(1)])
    beside_itself = _model([_story(1), _story(1)])
    assert alone.bits_per_byte(_story(1)) == pytest.approx(16, abs=0.01)  # nothing but uniform
    assert beside_itself.bits_per_byte(_story(1)) < 2


def test_surprise_does_not_depend_on_the_order_of_texts() -> None:
    forward, backward = _model(GOOD), _model(GOOD[::-1])
    assert [forward.bits_per_byte(t) for t in GOOD] == [backward.bits_per_byte(t) for t in GOOD]


def _prepare(folder: Path, judge: str) -> dict[str, Any]:
    for n, text in enumerate([*GOOD, *BAD.values()]):
        (folder / f"{n:03}.txt").write_text(text, encoding="utf-8")
    settings = CorpusSettings(
        near_duplicates=False, identities="keep", quality=QualitySettings(judge=judge)
    )
    files = find_files(["*.txt"], folder, {})
    return prepare_corpus(requests_of(files, [], []), settings, 1, folder / "out", lambda *_: None)


def test_what_is_cut_is_listed_with_signal_and_value_and_shown_on_the_report(
    tmp_path: Path,
) -> None:
    report = _prepare(tmp_path, "cut")
    lines = (tmp_path / "out" / "dropped.jsonl").read_text(encoding="utf-8").splitlines()
    cut = [drop for drop in map(json.loads, lines) if drop["reason"] == "quality"]
    files = [f"{n:03}.txt" for n in range(len(GOOD), len(GOOD) + len(BAD))]
    assert [drop["source"]["file"] for drop in cut] == files
    for signal, drop in zip(BAD, cut, strict=True):
        assert drop["signals"][signal] > 0
    quality = report["quality"]
    assert quality["documents"] == len(BAD)
    for signal in BAD:
        shown = quality["limits"][signal]
        num_cut = sum(signal in drop["signals"] for drop in cut)
        assert (shown["limit"], shown["documents"]) == (getattr(QualitySettings(), signal), num_cut)
        assert 1 <= len(shown["examples"]) <= 2
        assert shown["examples"][0]["text"]


def test_only_reported_documents_stay(tmp_path: Path) -> None:
    report = _prepare(tmp_path, "report")
    assert report["quality"]["documents"] == len(BAD)
    kept = sum(one["records"] for one in report["splits"].values())
    assert kept + report["contaminated"] == len(GOOD) + len(BAD)


def test_unasked_nothing_is_judged(tmp_path: Path) -> None:
    assert "quality" not in _prepare(tmp_path, "off")


def test_a_recipe_sets_limits_in_a_table_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "noria.toml"
    path.write_text('name = "a"\n[corpus]\ndocuments = ["*.txt"]\n[corpus.quality]\ndigits = 0.2\n')
    assert load_recipe(path).corpus.quality == QualitySettings(digits=0.2)
