"""Names and addresses, English and Chinese, with the models of the extra `pii`."""

from __future__ import annotations

import sys
import time

import pytest
from inserted_names import NAMES_EN, NAMES_ZH
from insertion import texts_with_identities
from leaks import Marked, Score, add_to
from own_sentences import OWN_EN, OWN_ZH

from noria.corpus import chinese_names, english_names, names
from noria.corpus.addresses import chinese_addresses, english_addresses
from noria.corpus.deidentify import Deidentifier
from noria.errors import IntegrityError, MissingExtra

MIXED = (
    "Anna Kowalczyk (anna@firma.de) wrote to 欧阳明 at 北京市海淀区中山路12号; Anna answered.",
    "我叫王晓明，电话13812345678，在杭州云岭科技有限公司工作。王晓明住在武侯区望江路88号。",
    "Dear Mr. Torvik,\nyour parcel for 12 Lamhurst Road, Oakmere is here.\nRegards,\nIlse Quinberg",
    "[PERSON] and Piotr Zelwick met [ORGANIZATION_2] at Torland Ltd.",
)


@pytest.fixture(scope="module")
def finder() -> Deidentifier:
    return Deidentifier(names=names.load_name_finder())


@pytest.mark.parametrize(
    ("sentences", "kinds", "gap"), [(OWN_EN, NAMES_EN, " "), (OWN_ZH, NAMES_ZH, "")]
)
def test_inserted_names_are_found_and_little_else(finder, sentences, kinds, gap) -> None:
    scores: dict[str, Score] = {}
    for text, inserted in texts_with_identities(sentences, kinds, 40, 3, gap):
        finds = [Marked(one.start, one.end, one.kind) for one in finder.find(text)]
        add_to(scores, text, inserted, finds)
    limits = {"PERSON": 0.9, "ORGANIZATION": 0.9, "ADDRESS": 0.8}
    for kind, limit in limits.items():
        assert scores[kind].recall >= limit, scores[kind].missed
    replaced = sum(score.replaced for score in scores.values())
    assert sum(score.right for score in scores.values()) >= 0.95 * replaced


@pytest.mark.parametrize("text", MIXED)
def test_replacing_names_again_changes_nothing(finder, text: str) -> None:
    once, counts = finder.replace(text)
    assert counts
    assert finder.replace(once) == (once, {})


def test_the_same_name_has_the_same_placeholder_and_no_value_stays(finder) -> None:
    text, counts = finder.replace(MIXED[1])
    assert text == ("我叫[PERSON]，电话[PHONE]，在[ORGANIZATION]工作。[PERSON]住在[ADDRESS]。")
    assert counts == {"PERSON": 2, "PHONE": 1, "ORGANIZATION": 1, "ADDRESS": 1}


@pytest.mark.parametrize(
    ("text", "firm"),
    [
        ("She has worked for Torvik since spring.", "Torvik"),
        ("He is the founder of Dramont.", "Dramont"),
        ("He spent three years at Sellbrix in the north.", "Sellbrix"),
        ("Harbour Works\n4411 Lamhurst Road\nOakmere", "Harbour Works"),
        ("The letter of Fenwitz, Gale and Torland came.", "Fenwitz, Gale and Torland"),
    ],
)
def test_a_firm_is_known_by_its_people_its_address_or_its_partners(finder, text, firm) -> None:
    assert firm not in finder.replace(text)[0]


@pytest.mark.parametrize("text", ["", "the harbour is quiet", "港口很安静。", "12 34 !?", "\n\n"])
def test_text_without_names_stays(finder, text: str) -> None:
    assert finder.replace(text) == (text, {})


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, names.CHINESE, None)
    with pytest.raises(MissingExtra, match=r"noria\[pii\]"):
        names.load_name_finder()


def test_another_model_than_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, files, _ = names.MODEL_DIGESTS[names.ENGLISH]
    monkeypatch.setitem(names.MODEL_DIGESTS, names.ENGLISH, (folder, files, "0" * 64))
    with pytest.raises(IntegrityError, match=names.ENGLISH):
        names.load_name_finder()


@pytest.mark.parametrize(
    "hostile",
    [
        "A b ",
        "12 Aa ",
        "Mr. ",
        "A, ",
        "路1号",
        "中山路",
        "王先生",
        "有限公司",
        "1 rue A ",
        "Aa\n",
        "a.",
    ],
)
def test_time_of_the_rules_grows_with_length_and_no_faster(hostile: str) -> None:
    def seconds(num_characters: int) -> float:
        text = hostile * (num_characters // len(hostile))
        times_s = []
        for _ in range(3):
            started_at = time.perf_counter()
            for rule in (english_addresses, chinese_addresses, chinese_names.rules):
                list(rule(text))
            list(english_names.rules(text, [], frozenset()))
            english_names.introduced(text, frozenset())
            times_s.append(time.perf_counter() - started_at)
        return min(times_s)

    assert seconds(16_000) < 12 * seconds(4_000) + 0.05  # quadratic: 16 times and more
