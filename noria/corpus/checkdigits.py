"""Check digits: what tells an account, a card or an identity number from any other number.

In: a number as written, separators taken out. Out: whether its check digits are right.
"""

from __future__ import annotations

import ipaddress

# Lengths of the countries' account numbers: SWIFT, IBAN Registry, release 99.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FO FI GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "FR GR IT MC MR SM BI DJ",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def luhn_holds(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def luhn_digit(digits: str) -> str:
    """The digit that checks these."""
    return next(digit for digit in "0123456789" if luhn_holds(digits + digit))


def iban_digits(country: str, account: str) -> str:
    """The two digits that check an account of a country (ISO 13616)."""
    return f"{98 - int(''.join(str(int(c, 36)) for c in f'{account}{country}00')) % 97:02d}"


def iban_holds(account: str) -> bool:
    """Whether an account number has its country's length and remainder 1 (ISO 13616, mod 97)."""
    if IBAN_LENGTHS.get(account[:2]) != len(account):
        return False
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


def resident_id_holds(number: str) -> bool:
    """Whether the 18th character checks a Chinese identity number (GB 11643-1999, mod 11-2)."""
    return resident_id_digit(number[:17]) == number[17].upper()


def resident_id_digit(number: str) -> str:
    """The sign that checks the first 17 digits."""
    total = sum(w * int(d) for w, d in zip(_RESIDENT_WEIGHTS, number, strict=True))
    return "10X98765432"[total % 11]


def is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address of some host; `a::b` of a program is not taken for one."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    num_digits = sum(character.isalnum() for character in text)
    return num_digits >= 5 and any(c.isdigit() for c in text) and not address.is_loopback


def is_host_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address that some host can have."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or text == "255.255.255.255")
