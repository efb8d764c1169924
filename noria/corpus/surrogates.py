"""Realistic stand-ins for identities: right in form, nobody's, the same for the same value.

In: a key, a kind and a value. Out: a value of that kind, drawn by HMAC-SHA-256 under the key, so
that nobody without the key can tell which value a stand-in stands for by trying values. Every form
can be told from real values, so that a second pass leaves what the first one wrote: ranges kept for
examples where there are any, and where there are none a form of our own, said beside it. Keys,
credentials and tokens have no stand-ins: a model should not learn to write any.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

from noria.corpus.checkdigits import iban_digits, luhn_digit, resident_id_digit
from noria.errors import StorageError

KEY_BYTES = 32
_GIVEN = re.findall(
    "[A-Z][a-z]+",
    """
    Aldis Brenna Corwin Delphie Edrik Fayelle Gowen Halina Ivarr Jorund Kelda Lorvin
    Maelle Nerys Orrin Pavla Quillan Rowena Sorrel Tamsin Ulric Venna Wystan Yorrick Zelma
    Averil Bastien Cerys
    """,
)
_SURNAMES = re.findall(
    "[A-Z][a-z]+",
    """
    Merrowick Tessaray Oldacre Fennimoor Garrowby Hestleton Ivorsby Jellicott Kestermain
    Lanthorpe Mossgrave Northwaite Ombersly Pennistow Quarlesby Ravenshaw Stellabrook
    Thistlemere Underlund Vantrice Wexcombe Yarrowden Zephryn Applegarrow Brindlecote
    Cravensley Dunmarrow Elderquay
    """,
)
_SURNAMES_ZH = "闻墨青蓝霜澄"
_GIVEN_ZH = ("知秋", "如初", "听澜", "望舒", "既明", "怀瑾", "若谷", "景行")
_PLACES_ZH = ("云溪", "松月", "白鹭", "竹影", "青禾", "晴川")
_PROVINCES = "京沪粤苏浙川鲁豫"
_CHINESE_MOBILE = re.compile(r"(?:\(?(?:\+|00)?86\)?[ \-]?)?1[3-9]\d[ \-.]?\d{4}[ \-.]?\d{4}$")
_HAN = re.compile("[\u4e00-\u9fff]")


def _digits(rng: random.Random, count: int) -> str:
    return f"{rng.randrange(10**count):0{count}d}"


def _phone(rng: random.Random, value: str) -> str:
    # 555-0100 to 0199 is kept for fiction (ATIS-0300115). China keeps no range: four zeros in the
    # middle are our own form.
    if _CHINESE_MOBILE.match(value):
        return f"1{rng.randint(3, 9)}{rng.randint(0, 9)}0000{_digits(rng, 4)}"
    return f"({rng.randint(2, 9)}{_digits(rng, 2)}) 555-01{_digits(rng, 2)}"


def _card(rng: random.Random, _: str) -> str:
    # ISO/IEC 7812-1: 9 begins a country's own numbers, and no country has the code 999.
    body = f"9999{_digits(rng, 11)}"
    return body + luhn_digit(body)


def _iban(rng: random.Random, _: str) -> str:
    # A German account at the bank 00000000, which there is not.
    account = f"00000000{_digits(rng, 10)}"
    return f"DE{iban_digits('DE', account)}{account}"


def _resident_id(rng: random.Random, _: str) -> str:
    # No region has the code 999999 (GB/T 2260).
    born = f"{rng.randint(1950, 2005)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    body = f"999999{born}{_digits(rng, 3)}"
    return body + resident_id_digit(body)


def _ip_address(rng: random.Random, value: str) -> str:
    if ":" in value:  # RFC 3849
        return f"2001:db8::{rng.randint(1, 65535):x}:{rng.randint(1, 65535):x}"
    network = rng.choice(["192.0.2", "198.51.100", "203.0.113"])  # RFC 5737
    return f"{network}.{rng.randint(1, 254)}"


def _plate(rng: random.Random, value: str) -> str:
    # Britain has not used "00" for a year; three zeros in China are our own form.
    letters = "ABCDEFGHJKLMNPRSTUVWXY"
    if _HAN.search(value):
        return f"{rng.choice(_PROVINCES)}{rng.choice('ABCDEF')}·000{_digits(rng, 2)}"
    return f"{''.join(rng.choices(letters, k=2))}00 {''.join(rng.choices(letters, k=3))}"


def _person(rng: random.Random, value: str) -> str:
    if _HAN.search(value):
        return rng.choice(_SURNAMES_ZH) + rng.choice(_GIVEN_ZH)
    given = rng.choice(_GIVEN)
    return f"{given} {rng.choice(_SURNAMES)}" if " " in value.strip() else given


def _organization(rng: random.Random, value: str) -> str:
    if _HAN.search(value):
        return f"{rng.choice(_PLACES_ZH)}{rng.choice(_PLACES_ZH)}有限公司"
    return f"{rng.choice(_SURNAMES)} {rng.choice(_SURNAMES)} Ltd"


def _address(rng: random.Random, value: str) -> str:
    if _HAN.search(value):
        return f"{rng.choice(_PLACES_ZH)}区{rng.choice(_PLACES_ZH)}路{rng.randint(1, 999)}号"
    return f"{rng.randint(1, 999)} {rng.choice(_SURNAMES)} Road, {rng.choice(_SURNAMES)}"


_MAKE: dict[str, Callable[[random.Random, str], str]] = {
    "EMAIL": lambda rng, _: (  # RFC 2606
        f"{rng.choice(_GIVEN)}.{rng.choice(_SURNAMES)}@example.{rng.choice(['com', 'org'])}".lower()
    ),
    "PHONE": _phone,
    "CARD": _card,
    "IBAN": _iban,
    "ID_NUMBER": _resident_id,
    # The United States issue no number from 900 on, and none of the tax office has a group 1x.
    "SSN": lambda rng, _: f"9{_digits(rng, 2)}-1{_digits(rng, 1)}-{_digits(rng, 4)}",
    "PASSPORT": lambda rng, _: f"E0000{_digits(rng, 4)}",  # our own form
    "PLATE": _plate,
    "IP_ADDRESS": _ip_address,
    "PERSON": _person,
    "ORGANIZATION": _organization,
    "ADDRESS": _address,
}
_ANY_GIVEN, _ANY_SURNAME = "|".join(_GIVEN), "|".join(_SURNAMES)
_PLACE_ZH = f"(?:{'|'.join(_PLACES_ZH)})"
SURROGATE = re.compile(
    "|".join(
        [
            rf"(?<![\w.])(?i:(?:{_ANY_GIVEN})\.(?:{_ANY_SURNAME}))@example\.(?:com|org)(?![\w-]|\.\w)",
            r"(?<!\d)\([2-9]\d\d\) 555-01\d\d(?!\d)|(?<!\d)1[3-9]\d0000\d{4}(?!\d)",
            r"(?<!\w)(?:9999\d{12}|DE\d{2}00000000\d{10}|999999(?:19|20)\d{9}[\dX])(?![A-Za-z0-9])",
            r"(?<!\w)(?:9\d\d-1\d-\d{4}|E0000\d{4}|[A-Z]{2}00 [A-Z]{3})(?![A-Za-z0-9])",
            rf"[{_PROVINCES}][A-F]·000\d\d(?![A-Za-z0-9])",
            r"(?<![\d.])(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}(?![\d.]*\d)",
            r"(?<![\w:])2001:db8::[0-9a-f]{1,4}:[0-9a-f]{1,4}(?![\w:])",
            rf"\b\d{{1,3}} (?:{_ANY_SURNAME}) Road, (?:{_ANY_SURNAME})\b",
            rf"\b(?:{_ANY_SURNAME}) (?:{_ANY_SURNAME}) Ltd\b",
            rf"\b(?:{_ANY_GIVEN})(?: (?:{_ANY_SURNAME}))?\b",
            rf"{_PLACE_ZH}区{_PLACE_ZH}路\d{{1,3}}号|{_PLACE_ZH}{_PLACE_ZH}有限公司",
            rf"[{_SURNAMES_ZH}](?:{'|'.join(_GIVEN_ZH)})",
        ]
    ),
    re.ASCII,
)


def same_value(value: str) -> str:
    """What spellings of a value have in common: spaces, signs and capitals make no other of it."""
    return "".join(filter(str.isalnum, value.casefold())) or value


def surrogate(key: bytes, kind: str, value: str, attempt: int) -> str | None:
    """A stand-in for a value; another one for every attempt; None for kinds that have none."""
    make = _MAKE.get(kind)
    if make is None:
        return None
    message = f"{kind}\0{same_value(value)}\0{attempt}".encode()
    return make(random.Random(hmac.digest(key, message, "sha256")), value)


def fingerprint(key: bytes) -> str:
    """What tells keys apart and says nothing about them: 16 hexadecimal digits."""
    return hmac.new(key, b"noria replacement key", hashlib.sha256).hexdigest()[:16]


def load_key(path: Path) -> bytes:
    """The key of this user, made at first use, readable by nobody else. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
        key = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"the key of the replacements, {path}, can't be read or made ({error.strerror})",
            "a file that this user may read",
        ) from error
    if len(key) != KEY_BYTES:
        raise StorageError(
            f"{path} has {len(key)} bytes",
            f"a key of {KEY_BYTES}",
            "remove it to have a new one made: stand-ins will change",
        )
    return key
