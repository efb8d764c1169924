"""Numbers on papers: accounts, cards, identity cards, passports, licence plates.

In: nothing. Out: their detectors, in the order in which they are tried. What has check digits is
checked, so that years, amounts and article numbers stay; what has none and looks like any other
number is found only beside a word that says what it is.
"""

from __future__ import annotations

import re

from noria.corpus.checkdigits import IBAN_LENGTHS, iban_holds, luhn_holds, resident_id_holds
from noria.corpus.detector import (
    LONG_NUMBER,
    NOT_AFTER,
    NOT_BEFORE,
    Detector,
    Match,
    Range,
    compiled,
    has_shape,
    has_word,
    secret,
)


def _iban(match: Match) -> Range | None:
    length = IBAN_LENGTHS.get(match[0][:2].upper(), 0)
    taken = ""
    for place, character in enumerate(match[0]):
        taken += character.upper() if character.isalnum() else ""
        if len(taken) == length:
            end = match.start() + place + 1
            follows = match.string[end : end + 1]
            torn = follows.isascii() and follows.isalnum()
            return (match.start(), end) if iban_holds(taken) and not torn else None
    return None


def _card(match: Match) -> Range | None:
    digits = re.sub(r"\D", "", match[0])
    return match.span() if luhn_holds(digits) and len(set(digits)) > 1 else None


def _labelled_card(match: Match) -> Range | None:
    digits = re.sub(r"\D", "", match["secret"])
    return match.span("secret") if luhn_holds(digits) and len(set(digits)) > 1 else None


def _resident_id(match: Match) -> Range | None:
    taken = re.sub(r"[ \-]", "", match[0])
    return match.span() if resident_id_holds(taken) else None


def _mixed(match: Match) -> Range | None:
    return match.span("secret") if any(c.isdigit() for c in match["secret"]) else None


# What stands before the number of a vehicle in China: a province, or an office.
_PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新使"
_PLATE_WORDS = has_word(
    *("e plate", "r plate", "plate n", "registration n", "registration p"),
    *("kennzeichen", "immatricul", "车牌", "号牌"),
)
_GERMAN_PLATE = r"[A-ZÄÖÜ]{1,3}[\ \-][A-Z]{1,2}[\ \-]?[1-9][0-9]{0,3}[EH]?"

PAPERS: tuple[Detector, ...] = (
    Detector(
        "IBAN",
        has_shape(b"AA00", b"aa00"),
        compiled(
            r"(?<![A-Za-z0-9])(?:[A-Z]{2}[0-9]{2}(?:[\ \-]?[A-Z0-9]){11,30}"
            r"|[a-z]{2}[0-9]{2}(?:\ ?[a-z0-9]){11,30})"
        ),
        _iban,
    ),
    Detector(
        "ID_NUMBER",
        has_shape(b"0" * 10, b"000000 0000", b"000000-0000"),
        compiled(
            r"""(?<![0-9A-Za-z])[1-9][0-9]{5}[\ \-]?(?:18|19|20)[0-9]{2}[\ ]?(?:0[1-9]|1[0-2])
            (?:0[1-9]|[12][0-9]|3[01])[\ \-]?[0-9]{3}[0-9Xx](?![0-9A-Za-z])"""
        ),
        _resident_id,
    ),
    Detector(
        "CARD",
        LONG_NUMBER,
        compiled(
            rf"""(?<![0-9]){NOT_AFTER}(?:
                (?:4\d{{3}}|5[1-5]\d{{2}}|2[2-7]\d{{2}}|6\d{{3}}|35\d{{2}}|9\d{{3}})
                  (?P<a>[\ \-]?)\d{{4}}(?P=a)\d{{4}}(?P=a)\d{{4}}(?:(?P=a)\d{{1,3}})?
              | 3[47]\d{{2}}(?P<b>[\ \-]?)\d{{6}}(?P=b)\d{{5}}
              | 3[068]\d{{2}}(?P<c>[\ \-]?)\d{{6}}(?P=c)\d{{4}}
              | 4\d{{12}} | (?:2131|1800)\d{{11}} | (?:5018|5020|5038|6304)\d{{8,15}}
              | 62\d{{4}}(?P<d>[\ \-]?)\d{{13}}
            )(?![0-9]){NOT_BEFORE}"""
        ),
        _card,
    ),
    Detector(
        "CARD",
        LONG_NUMBER,
        compiled(
            r"""(?i:\bcards?\b|\bcc\b|visa|mastercard|maestro|卡号|银行卡|信用卡|账号|帐号)
            [^0-9\n\[\]]{1,30}(?P<secret>[0-9](?:[\ \-]?[0-9]){11,18})(?![0-9])"""
        ),
        _labelled_card,
    ),
    Detector(
        "SSN",
        has_shape(b"000-00-0000"),
        compiled(
            rf"(?<![0-9A-Za-z]){NOT_AFTER}(?!000|666|9)\d{{3}}-(?!00)\d{{2}}-(?!0000)\d{{4}}"
            rf"(?![0-9A-Za-z]){NOT_BEFORE}"
        ),
    ),
    Detector(
        "SSN",
        has_word("ssn", "social security"),
        compiled(
            r"""(?i:\bssn\b|social\ security(?:\ (?:number|no\.?|nr\.?))?)[^0-9\n\[\]]{0,12}
            (?P<secret>(?!000|666|9)\d{3}[\ \-]?\d{2}[\ \-]?\d{4})(?![0-9])"""
        ),
        secret,
    ),
    Detector(
        "PASSPORT",
        has_word("passport", "reisepass", "passeport", "护照", "通行证"),
        compiled(
            r"""(?i:passport|reisepass|passeport|护照|通行证)(?:[^0-9\n\[\]A-Z]|[A-Z](?![A-Z0-9]))
            {0,24}(?P<secret>[A-Z]{0,3}\ ?[0-9][A-Z0-9]{5,9})(?![A-Za-z0-9])"""
        ),
        _mixed,
    ),
    Detector(
        "PASSPORT",
        has_shape(b"A00000000", b"AA0000000"),
        compiled(r"(?<![A-Za-z0-9_\-/.])(?:[GDSPH][0-9]|E[0-9A-HJ-NP-Z])[0-9]{7}(?![A-Za-z0-9_])"),
    ),
    Detector(
        "PLATE",
        has_shape(b"?A"),
        compiled(
            rf"""[{_PROVINCES}][A-Z][\ ·•.\-]?(?:
                (?=[A-Z0-9]{{0,5}}[0-9])[A-HJ-NP-Z0-9]{{5,6}}
              | (?=[A-Z0-9]{{0,3}}[0-9])[A-HJ-NP-Z0-9]{{4}}[警学挂港澳领]
            )(?![A-Za-z0-9])"""
        ),
    ),
    Detector(
        "PLATE",
        has_shape(b"AA00 AAA", b"AA-000-AA"),
        compiled(
            r"""(?<![A-Za-z0-9\-])(?:[A-Z]{2}[0-9]{2}\ [A-Z]{3}|[A-Z]{2}-[0-9]{3}-[A-Z]{2})
            (?![A-Za-z0-9\-])"""
        ),
    ),
    Detector(
        "PLATE",
        _PLATE_WORDS,
        compiled(
            rf"""(?i:(?:licen[cs]e|number|registration)\ plate(?:\ (?:number|no\.?))?
              |\bplate\ (?:number|no\.?)|registration\ (?:number|no\.?)|kennzeichen|immatriculation
              |车牌号?码?|号牌)
            (?:[^0-9\n\[\]A-ZÄÖÜ]|\b[A-Z](?=[a-z])){{0,24}}
            (?P<secret>{_GERMAN_PLATE}|[A-Z0-9]{{1,4}}(?:[\ ·\-][A-Z0-9]{{1,5}}){{1,2}}
              |(?=[A-Z]{{0,7}}[0-9])[A-Z0-9]{{5,8}})(?![A-Za-z0-9])"""
        ),
        _mixed,
    ),
)
