"""Stand-ins: right in form, the same for the same value, left alone by a second pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from inserted_identities import STRUCTURED_EN, STRUCTURED_ZH
from inserted_names import NAMES_EN, NAMES_ZH
from insertion import texts_with_identities
from own_sentences import OWN_EN, OWN_ZH

from noria.corpus.checkdigits import iban_holds, luhn_holds, resident_id_holds
from noria.corpus.deidentify import Deidentifier
from noria.corpus.surrogates import SURROGATE, fingerprint, load_key, surrogate
from noria.errors import StorageError

KEY = bytes(range(32))
VALUES = {
    "EMAIL": "a@b.cn",
    "PHONE": "13812345678",
    "CARD": "4111111111111111",
    "IBAN": "DE89370400440532013000",
    "ID_NUMBER": "11010519491231002X",
    "SSN": "219-09-9999",
    "PASSPORT": "E12345678",
    "PLATE": "京A12345",
    "IP_ADDRESS": "8.8.8.8",
    "PERSON": "王晓明",
    "ORGANIZATION": "Torland Ltd",
    "ADDRESS": "12 Lamhurst Road",
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_stand_in_is_recognised_whole_and_depends_on_value_and_key(kind: str) -> None:
    drawn = [surrogate(KEY, kind, VALUES[kind], attempt) for attempt in range(30)]
    assert all(one and SURROGATE.fullmatch(one) for one in drawn)
    assert drawn[0] == surrogate(KEY, kind, VALUES[kind], 0)
    assert len(set(drawn)) > 10
    assert drawn != [surrogate(bytes(32), kind, VALUES[kind], attempt) for attempt in range(30)]


def test_check_digits_of_stand_ins_hold() -> None:
    for attempt in range(50):
        assert luhn_holds(str(surrogate(KEY, "CARD", "4", attempt)))
        assert iban_holds(str(surrogate(KEY, "IBAN", "DE", attempt)))
        assert resident_id_holds(str(surrogate(KEY, "ID_NUMBER", "1", attempt)))


def test_values_have_stand_ins_and_secrets_placeholders() -> None:
    text = "a@b.cn and A@B.cn, c@d.cn; AKIAIOSFODNN7EXAMPLE"
    replaced, counts = Deidentifier(key=KEY).replace(text)
    assert counts == {"EMAIL": 3, "API_KEY": 1}
    first, same, other = re.findall(r"[a-z.]+@example\.(?:com|org)", replaced)
    assert first == same != other
    assert replaced.endswith("; [API_KEY]")
    assert Deidentifier(key=KEY).replace("13812345678: c@d.cn")[0].endswith(other)


@pytest.mark.parametrize(
    ("sentences", "kinds", "gap"),
    [(OWN_EN, STRUCTURED_EN | NAMES_EN, " "), (OWN_ZH, STRUCTURED_ZH | NAMES_ZH, "")],
)
def test_replacing_again_changes_nothing(sentences, kinds, gap) -> None:
    deidentifier = Deidentifier(key=KEY)
    for text, _ in texts_with_identities(sentences, kinds, 30, 2, gap):
        once, _ = deidentifier.replace(text)
        assert deidentifier.replace(once) == (once, {})


@pytest.mark.parametrize(
    "text", ["13812345678" * 3, "a@b.cnx12 5551234567a@b.cn", "京A1234513812345678"]
)
def test_neighbours_that_spoil_a_stand_in_do_not_go_on_for_ever(text: str) -> None:
    once, _ = Deidentifier(key=KEY).replace(text)
    assert Deidentifier(key=KEY).replace(once) == (once, {})


def test_the_key_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "config" / "replacement.key"
    key = load_key(path)
    assert load_key(path) == key and len(key) == 32
    assert path.stat().st_mode & 0o077 == 0
    assert fingerprint(key) != fingerprint(KEY) and key.hex()[:8] not in fingerprint(key)
    path.write_bytes(b"short")
    with pytest.raises(StorageError, match="5 bytes"):
        load_key(path)
