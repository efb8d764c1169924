"""The stored measurement: it is there, it has a day, and it says what the toolkit promises."""

from __future__ import annotations

import datetime

from inserted_identities import STRUCTURED_EN, STRUCTURED_ZH

from noria.corpus.identities import KINDS
from noria.corpus.measured import read_measured

NAMES = {"PERSON": 0.9, "ORGANIZATION": 0.9, "ADDRESS": 0.8}


def test_the_stored_measurement_has_every_kind_in_both_languages_and_reaches_what_is_promised() -> (
    None
):
    measured = read_measured()
    datetime.date.fromisoformat(measured.made_on)
    found = {(row.texts, row.kind): row for row in measured.kinds}
    wanted = {("form, en", kind): 0.995 for kind in STRUCTURED_EN}
    wanted |= {("form, zh", kind): 0.995 for kind in STRUCTURED_ZH}
    wanted |= {(f"names, {one}", kind): NAMES[kind] for one in ("en", "zh") for kind in NAMES}
    for place, limit in wanted.items():
        assert found[place].there >= 50
        assert found[place].recall >= limit, place


def test_every_kind_that_has_a_detector_is_measured() -> None:
    assert set(KINDS) == {*STRUCTURED_EN, *STRUCTURED_ZH}
