"""What identifies people and accounts: a pattern for each kind, and a check where one exists.

In: nothing. Out: the table of detectors, in the order in which they are tried. What has check
digits is checked, so that years, amounts and article numbers stay.

Patterns use ASCII classes and their own boundaries: a Chinese character is a letter to `\\w` and
`\\b`, but no part of an address that it stands before. Every repetition has an upper bound, so the
time grows with the text's length and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from noria.corpus.checkdigits import (
    IBAN_LENGTHS,
    iban_holds,
    is_host_ipv4,
    is_ipv6,
    luhn_holds,
    resident_id_holds,
)

_Match = re.Match[str]
_Range = tuple[int, int]


def _whole(match: _Match) -> _Range | None:
    return match.span()


@dataclass(frozen=True)
class Detector:
    """A kind of identity: a cheap search that must hit first, its pattern, and what to replace.

    `judge` returns the range to replace, None if the match is something else after all.
    """

    kind: str
    gate: re.Pattern[str]
    pattern: re.Pattern[str]
    judge: Callable[[_Match], _Range | None] = _whole


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.VERBOSE)


def _group(match: _Match) -> _Range:
    return match.span("secret")


def _key(match: _Match) -> _Range | None:
    text = match[0]
    is_random = any(c.isdigit() for c in text) or text.startswith("-----")
    return match.span() if is_random else None


def _iban(match: _Match) -> _Range | None:
    length = IBAN_LENGTHS.get(match[0][:2], 0)
    taken = ""
    for place, character in enumerate(match[0]):
        taken += character if character.isalnum() else ""
        if len(taken) == length:
            end = match.start() + place + 1
            follows = match.string[end : end + 1]
            torn = follows.isascii() and follows.isalnum()
            return (match.start(), end) if iban_holds(taken) and not torn else None
    return None


def _card(match: _Match) -> _Range | None:
    digits = re.sub(r"\D", "", match[0])
    return match.span() if luhn_holds(digits) and len(set(digits)) > 1 else None


def _resident_id(match: _Match) -> _Range | None:
    return match.span() if resident_id_holds(match[0]) else None


def _ipv4(match: _Match) -> _Range | None:
    before = match.string[max(0, match.start() - 12) : match.start()]
    if _VERSION.search(before) or not is_host_ipv4(match[0]):
        return None
    return match.span()


def _ipv6(match: _Match) -> _Range | None:
    return match.span() if is_ipv6(match[0]) else None


def _phone(match: _Match) -> _Range | None:
    """Not an amount of money, and no round number such as a population."""
    before = match.string[max(0, match.start() - 4) : match.start()]
    after = match.string[match.end() : match.end() + 12]
    if _CURRENCY_BEFORE.search(before) or _CURRENCY_AFTER.match(after):
        return None
    return None if match[0].endswith("00000") else match.span()


_VERSION = re.compile(r"(?i)(?:version|release|section|版本|§)[\s:：]{0,3}$")
_CURRENCY_BEFORE = re.compile(r"(?:[$€£¥￥]|USD|EUR|RMB|CNY|US\$)\s?$")
_CURRENCY_AFTER = re.compile(
    r"(?i)\s?(?:[%$€£¥￥元円]|dollars?|cents|euros?|yuan|pounds|people|persons"
    r"|万|亿|千|美元|人民币|港币|块|[吨人个条次年])"
)
_AT = re.compile("@|[(\\[]at[)\\]]", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6}")
# A number may stand in a list ("…,…" or "…/…"), but is no part of a decimal or of "1,234,567".
_NOT_AFTER = r"(?<![0-9][.\-])"
_NOT_BEFORE = r"(?![.\-][0-9]|,[0-9]{3}(?![0-9]))"
_LETTER = "A-Za-z0-9\u00c0-\u024f\u0400-\u04ff"  # of addresses: also müller, but never Han
_LABEL = r"""(?i:tel(?:ephone)?|phone|mobile|cell|fax|whatsapp|call|电话|手机|手机号|电话号码
    |联系方式|联系电话|传真|座机)"""

DETECTORS: tuple[Detector, ...] = (
    Detector(
        "PRIVATE_KEY",
        re.compile("-----BEGIN"),
        _compile(
            r"-----BEGIN\ [A-Z ]{0,30}PRIVATE\ KEY-----[^-]{1,16000}-----END\ [A-Z ]{1,40}-----"
        ),
    ),
    Detector(
        "CREDENTIALS",
        re.compile("://"),
        _compile(
            r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://(?P<secret>[^\s/@:\[\]]{1,200}:[^\s/@\[\]]{1,200})@"
        ),
        _group,
    ),
    Detector(
        "CREDENTIALS",
        re.compile("[?&][A-Za-z_]{3,20}="),
        _compile(
            r"""[?&](?i:access_token|auth_token|token|api_?key|apikey|key|password|passwd|pwd|secret
            |client_secret|signature|sig)=(?P<secret>[^&\s\#\[\]"'<>]{4,2000})"""
        ),
        _group,
    ),
    Detector(
        "API_KEY",
        re.compile(
            r"sk-|nk-|gh[pousr]_|github_pat_|glpat-|A[KS]IA|AIza|xox|hf_|npm_|pypi-|[spr]k_|eyJ|LTAI|AKID|SG\."
        ),
        _compile(
            r"""(?<![A-Za-z0-9_\-])(?:
                [sn]k-[A-Za-z0-9_\-]{20,200} | gh[pousr]_[A-Za-z0-9]{30,255}
              | github_pat_[A-Za-z0-9_]{22,255} | glpat-[A-Za-z0-9_\-]{20,100}
              | A[KS]IA[0-9A-Z]{16} | AIza[A-Za-z0-9_\-]{35} | xox[abeoprs]-[A-Za-z0-9\-]{10,250}
              | hf_[A-Za-z0-9]{30,100} | npm_[A-Za-z0-9]{36} | pypi-[A-Za-z0-9_\-]{16,500}
              | [spr]k_(?:live|test)_[A-Za-z0-9]{16,200}
              | eyJ[A-Za-z0-9_\-]{8,4000}\.eyJ[A-Za-z0-9_\-]{8,8000}\.[A-Za-z0-9_\-]{8,4000}
              | LTAI[A-Za-z0-9]{12,26} | AKID[A-Za-z0-9]{13,40}
              | SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}
            )(?![A-Za-z0-9_])"""
        ),
        _key,
    ),
    Detector(
        "EMAIL",
        _AT,
        _compile(
            rf"""(?<![{_LETTER}._%+\-])[{_LETTER}_](?:[{_LETTER}._%+\-']{{0,62}}[{_LETTER}_+\-])?
            (?:\ ?[(\[](?i:at)[)\]]\ ?|@)
            (?:[{_LETTER}](?:[{_LETTER}\-]{{0,61}}[{_LETTER}])?
              (?:\ ?[(\[](?i:dot)[)\]]\ ?|\.)){{1,8}}[A-Za-z]{{2,24}}"""
        ),
    ),
    Detector(
        "IBAN",
        re.compile(r"[A-Z]{2}[0-9]{2}"),
        _compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[\ \-]?[A-Z0-9]){11,30}"),
        _iban,
    ),
    Detector(
        "ID_NUMBER",
        re.compile(r"[0-9]{17}"),
        _compile(
            r"""(?<![0-9A-Za-z])[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])
            (?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx](?![0-9A-Za-z])"""
        ),
        _resident_id,
    ),
    Detector(
        "CARD",
        _LONG_NUMBER,
        _compile(
            rf"""(?<![0-9]){_NOT_AFTER}(?:
                (?:4\d{{3}}|5[1-5]\d{{2}}|2[2-7]\d{{2}}|6\d{{3}}|35\d{{2}}|9\d{{3}})
                  (?P<a>[\ \-]?)\d{{4}}(?P=a)\d{{4}}(?P=a)\d{{4}}(?:(?P=a)\d{{1,3}})?
              | 3[47]\d{{2}}(?P<b>[\ \-]?)\d{{6}}(?P=b)\d{{5}}
              | 3[068]\d{{2}}(?P<c>[\ \-]?)\d{{6}}(?P=c)\d{{4}}
              | 4\d{{12}} | (?:2131|1800)\d{{11}} | (?:5018|5020|5038|6304)\d{{8,15}}
              | 62\d{{4}}(?P<d>[\ \-]?)\d{{13}}
            )(?![0-9]){_NOT_BEFORE}"""
        ),
        _card,
    ),
    Detector(
        "SSN",
        re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]"),
        _compile(
            rf"(?<![0-9A-Za-z]){_NOT_AFTER}(?!000|666|9)\d{{3}}-(?!00)\d{{2}}-(?!0000)\d{{4}}"
            rf"(?![0-9A-Za-z]){_NOT_BEFORE}"
        ),
    ),
    Detector(
        "IP_ADDRESS",
        re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]"),
        _compile(
            r"(?<![A-Za-z0-9])(?<![0-9]\.)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])"
        ),
        _ipv4,
    ),
    Detector(
        "IP_ADDRESS",
        re.compile(r"[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:"),
        _compile(
            r"(?<![0-9A-Za-z:])(?<![0-9]\.)(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}"
            r"(?![0-9A-Za-z:]|\.[0-9])"
        ),
        _ipv6,
    ),
    Detector(
        "PHONE",
        _LONG_NUMBER,
        _compile(
            rf"""(?:
                # International
                (?:(?<![A-Za-z])\+|(?<![0-9A-Za-z])(?<![0-9]\ ){_NOT_AFTER}00)
                  [1-9](?:[\ .\-/()]{{0,2}}[0-9]){{6,14}}
              | (?<![0-9A-Za-z]){_NOT_AFTER}(?:
                # Chinese: mobile, landline
                (?:86[\ \-]?)?1[3-9][0-9](?P<z>[\ \-]?)\d{{4}}(?P=z)\d{{4}}
              | \(?0[1-9]\d{{1,2}}\)?[\ \-]?\d{{7,8}}(?:-\d{{1,5}})?
              | [48]00-\d{{3,4}}-\d{{3,4}}
                # North America
              | (?:1[\ .\-])?(?:\([2-9]\d{{2}}\)\ ?|[2-9]\d{{2}}[.\-])[2-9]\d{{2}}[.\-]\d{{4}}
              | (?:1\ )?[2-9]\d{{2}}\ [2-9]\d{{2}}[\ \-]\d{{4}}
                # Elsewhere, within a country
              | 0[1-9]\d{{1,3}}[\ /\-]\d{{3,4}}[\ \-]?\d{{3,5}}
              | 0[1-9](?P<f>[\ .\-])\d{{2}}(?:(?P=f)\d{{2}}){{3}}
              | 0[1-9]\d{{1,2}}\ \d{{3}}\ \d{{2}}\ \d{{2}})
            )(?:\ ?(?:x|ext\.?\ ?)\d{{1,6}})?(?![0-9A-Za-z]){_NOT_BEFORE}"""
        ),
        _phone,
    ),
    Detector(
        "PHONE",
        _LONG_NUMBER,
        _compile(
            rf"""{_LABEL}
            (?i:\ ?(?:number|no\.?|nr\.?|号码?)|\ is|\ at|\ me\ at|是|为|[:：.\s\#]){{0,4}}
            (?P<secret>\+?\(?[0-9](?:[\ .\-/()]{{0,2}}[0-9]){{6,14}})(?![0-9]){_NOT_BEFORE}"""
        ),
        _group,
    ),
)
