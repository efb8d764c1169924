"""E-mail addresses, IP addresses and phone numbers, as people spell them.

In: nothing. Out: their detectors, in the order in which they are tried.
"""

from __future__ import annotations

import re

from noria.corpus.checkdigits import is_host_ipv4, is_ipv6
from noria.corpus.detector import (
    LONG_NUMBER,
    NOT_AFTER,
    NOT_BEFORE,
    Detector,
    Match,
    Range,
    compiled,
    either,
    has_match,
    has_number,
    has_shape,
    has_word,
    secret,
)


def _ipv4(match: Match) -> Range | None:
    before = match.string[max(0, match.start() - 12) : match.start()]
    if _VERSION.search(before) or not is_host_ipv4(match[0]):
        return None
    return match.span()


def _ipv6(match: Match) -> Range | None:
    return match.span() if is_ipv6(match[0]) else None


def _phone(match: Match) -> Range | None:
    """Not an amount of money, and no round number such as a population."""
    before = match.string[max(0, match.start() - 4) : match.start()]
    after = match.string[match.end() : match.end() + 12]
    if match[0].startswith(("+", "(+")) or _EXTENSION.search(match[0]):
        return match.span()
    if _CURRENCY_BEFORE.search(before) or _CURRENCY_AFTER.match(after):
        return None
    return None if match[0].endswith("00000") else match.span()


def _spoken_of(match: Match) -> Range | None:
    """A number beside a word of telephoning, if it is no date, time or amount."""
    start, end = match.span("secret")
    after = match.string[end : end + 12]
    dated = _DATE.match(match["secret"]) is not None
    return None if dated or _CURRENCY_AFTER.match(after) else (start, end)


_VERSION = re.compile(r"(?i)(?:version|release|section|版本|§)[\s:：]{0,3}$")
_DATE = re.compile(
    r"(?:1[5-9]|20)[0-9]{2}[ .\-/](?:1[5-9]|20)?[0-9]{2}(?![0-9])"
    r"|[0-9]{1,2}(?:[ .\-/][0-9]{1,2})?[ .\-/](?:1[5-9]|20)[0-9]{2}$"
)
_CURRENCY_BEFORE = re.compile(r"(?:[$€£¥￥]|USD|EUR|RMB|CNY|US\$)\s?$")
_CURRENCY_AFTER = re.compile(
    r"(?i)\s?(?:[%$€£¥￥元円]|dollars?|cents|euros?|yuan|pounds|people|persons"
    r"|万|亿|千|美元|人民币|港币|块|[吨人个条次年])"
)
_SHORT_NUMBER = has_number(6)
_EXTENSION = re.compile("(?:x|ext|转|分机)")
_LETTER = "A-Za-z0-9\u00c0-\u024f\u0400-\u04ff"  # of addresses: also müller, but never Han
_AT = either(
    has_word("@", "(at)", "[at]", "{at}", "<at>", " dot "),
    has_match(rf"#[{_LETTER}][{_LETTER}\-]{{0,62}}\."),  # not every comment of a program
)
_ENDINGS = "(?i:com|net|org|edu|gov|info|biz|io|co|ai|eu|de|fr|uk|ch|at|es|nl|cn|hk|tw|jp|us|ca|au)"
_LABEL = r"""(?i:tel(?:ephone)?|phone|mobile|cell|fax|whatsapp|call|电话|手机|手机号|电话号码
    |联系方式|联系电话|传真|座机)"""
_TELEPHONING = r"""(?i:\b(?:phone|telephone|mobile|cell|cellphone|call(?:s|ed|ing)?|dial(?:ed)?
    |text|ring|sms|whatsapp|fax|answer(?:s|ed|ing)?|reach(?:ed)?|contact|number|messages?
    |voicemail|desk)\b)"""
_NATIONAL = r"\(?\+?[0-9]{2,5}\)?(?:[\ .\-/]{1,2}[0-9]{2,8}){1,4}"

CONTACTS: tuple[Detector, ...] = (
    Detector(
        "EMAIL",
        _AT,
        compiled(
            rf"""(?<![{_LETTER}._%+\-])[{_LETTER}_](?:[{_LETTER}._%+\-']{{0,62}}[{_LETTER}_+\-])?
            (?:
              (?:\ ?[(\[{{<](?i:at)[)\]}}>]\ ?|@)
              (?:[{_LETTER}](?:[{_LETTER}\-]{{0,61}}[{_LETTER}])?
                (?:\ ?[(\[{{<](?i:dot)[)\]}}>]\ ?|\.|\ (?i:dot)\ )){{1,8}}[A-Za-z]{{2,24}}
              # Without brackets only before the well-known endings: "met at Acme dot in" is prose.
            | (?:\ (?i:at)\ )(?:[{_LETTER}\-]{{1,63}}\ (?i:dot)\ ){{1,4}}{_ENDINGS}
            | (?:\#|\ @\ )(?:[{_LETTER}](?:[{_LETTER}\-]{{0,61}}[{_LETTER}])?\.){{1,4}}{_ENDINGS}
            )(?![A-Za-z0-9])"""
        ),
    ),
    Detector(
        "IP_ADDRESS",
        has_shape(b"0.0.0", b"0.00.0", b"0.000.0"),
        compiled(
            r"(?<![A-Za-z0-9])(?<![0-9]\.)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])"
        ),
        _ipv4,
    ),
    Detector(
        "IP_ADDRESS",
        has_match(r":(?<=[0-9A-Fa-f]:)[0-9A-Fa-f]{0,4}:"),
        compiled(
            r"(?<![0-9A-Za-z:])(?<![0-9]\.)(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}"
            r"(?![0-9A-Za-z:]|\.[0-9])"
        ),
        _ipv6,
    ),
    Detector(
        "PHONE",
        LONG_NUMBER,
        compiled(
            rf"""(?:
                # International
                (?:\((?:\+|00)[1-9][0-9]{{0,2}}\)\ ?[0-9]|(?<![A-Za-z])\+[1-9]
                  |(?<![0-9A-Za-z])(?<![0-9]\ ){NOT_AFTER}00[1-9])
                  (?:[\ .\-/()]{{0,2}}[0-9]){{6,14}}
              | (?<![0-9A-Za-z]){NOT_AFTER}(?:
                # Chinese: mobile, landline
                (?:\(?86\)?[\ \-]?)?1[3-9][0-9](?P<z>[\ \-.]?)\d{{4}}(?P=z)\d{{4}}
              | (?:86[\ \-])?\(?0[1-9]\d{{1,2}}\)?[\ \-]?\d{{3,4}}[\ \-]?\d{{4}}
                (?:(?:-|转|分机)\d{{1,5}})?
              | [48]00-\d{{3,4}}-\d{{3,4}} | 400\d{{7}} | 400\ \d{{3}}\ \d{{4}}
                # North America
              | (?:1[\ .\-])?(?:\([2-9]\d{{2}}\)\ ?|[2-9]\d{{2}}[.\-])[2-9]\d{{2}}[.\-]\d{{4}}
              | (?<![0-9]\ )(?:1\ )?[2-9]\d{{2}}\ [2-9]\d{{2}}[\ \-]\d{{4}}
                # Elsewhere, within a country
              | 0[1-9]\d{{1,3}}[\ /\-]\d{{3,4}}[\ \-]?\d{{3,5}}
              | 0[1-9](?P<f>[\ .\-])\d{{2}}(?:(?P=f)\d{{2}}){{3}}
              | 0[1-9]\d{{1,2}}\ \d{{3}}\ \d{{2}}\ \d{{2}})
            )(?:\ ?(?:x|ext\.?\ ?)\d{{1,6}})?(?![0-9A-Za-z]){NOT_BEFORE}"""
        ),
        _phone,
    ),
    Detector(
        "PHONE",
        LONG_NUMBER,
        compiled(
            rf"""{_LABEL}
            (?i:\ ?(?:number|no\.?|nr\.?|号码?)|\ is|\ at|\ me\ at|是|为|[:：.\s\#]){{0,4}}
            (?P<secret>\+?\(?[0-9](?:[\ .\-/()]{{0,2}}[0-9]){{6,14}})(?![0-9]){NOT_BEFORE}"""
        ),
        secret,
    ),
    Detector(
        "PHONE",
        _SHORT_NUMBER,
        compiled(
            rf"""{_TELEPHONING}(?:[^0-9\n\[\]]{{1,40}}?|:\n)(?<![0-9A-Za-z$€£\-])(?<![0-9][.,])
            (?P<secret>{_NATIONAL}|(?<![0-9A-Za-z])[0-9]{{7,12}})(?![0-9A-Za-z%]){NOT_BEFORE}"""
        ),
        _spoken_of,
    ),
    Detector(
        "PHONE",
        _SHORT_NUMBER,
        compiled(
            rf"""(?<![0-9A-Za-z$€£\-])(?<![0-9][.,])(?P<secret>{_NATIONAL}|[0-9]{{7,12}})
            (?:\ ?-\ ?|\ )(?i:office|fax|mobile|cell|home|desk)\b"""
        ),
        _spoken_of,
    ),
)
