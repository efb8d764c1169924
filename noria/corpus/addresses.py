"""Postal addresses, English and Chinese, by the way they are built.

In: a text. Out: where addresses stand. A place alone ("in London", "北京") is none: an address has
a number, a box, or the parts of a house. This module knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from noria.corpus.identities import Span

_WORD = r"[^\W\d_][\w'’.\-]{0,40}"
_UPPER = r"[^\W\da-z_ßà-öø-ÿ]"
_CAPITAL = rf"(?:{_UPPER}[\w'’.\-]{{0,40}}|(?:de|la|le|du|des|di|da|do|del|della|van|der|den|of)\b)"
_STREETS = "|".join(
    (
        "street|st|avenue|ave|road|rd|lane|ln|drive|boulevard|blvd|court|place|square|sq|terrace",
        "way|parkway|pkwy|highway|close|crescent|row|mews|gardens|grove|circle|trail|plaza|quay",
        "streets|squares|str|rue|via|viale|piazza|corso|calle|avenida|rua|praça|chemin|platz|weg",
        "allee|ul|ulica|utca|út|tér",
    )
)
_ENDS = "|".join(
    (
        r"stra(?:ß|ss)e|str\.|gasse|weg|platz|allee|gatan|gata|vägen|vej|gade|veien|vegen|gt\.|tie",
        "katu|kuja|polku|laan|straat|plein|steenweg",
    )
)
_GLUED = rf"[^\W\d_]{{2,40}}(?:{_ENDS})"
_BOX = (
    r"(?:(?:p\.?\ ?o\.?\ ?box|post(?:box|fach)|box)\ \#?\d{1,6}"
    r"|(?:psc|unit)\ \d{1,5}(?=,?\ box))"
)
_PART = r"(?:apt|apartment|suite|ste|unit|floor|flat|room|rm)\.?\ \#?(?=[\w\-]{0,5}\d)[\w\-]{1,6}"
# What may follow: further parts, a town, a region's letters, a postcode; commas and line ends.
_PIECE = rf"(?i:{_PART})|(?i:{_BOX})|\d[\d\-]{{0,9}}[A-Za-z]?\b\.?|{_CAPITAL}"
_MORE = rf"(?:[ ,]{{0,9}}(?:\n[\ ,>?]{{0,9}})?(?:{_PIECE})){{0,12}}"
_HOUSE = r"\d{1,6}[A-Za-z]?(?:[\-/]\d{1,4})?(?:,?\ \d{1,5})?,?"
_BUILT = re.compile(
    rf"""(?<![\w$€£.])(?:
        {_HOUSE}\ (?:{_WORD}\ ){{0,5}}?(?i:{_STREETS}|{_GLUED})\b\.?
          (?:\ {_CAPITAL}){{0,4}}(?:\ \d{{1,5}}\b)?
      | \d{{1,6}}[\ ,]+(?:{_CAPITAL}\ ){{1,4}}\d{{1,4}}\b
      | (?i:{_STREETS})\.?\ (?:{_CAPITAL}\ ){{1,5}}(?:n[°o.]\ ?)?\d{{1,5}}[A-Za-z]?\b
      | (?:{_CAPITAL}\ ){{0,3}}(?i:{_GLUED}|\b(?:{_STREETS})\b\.?)\ \d{{1,5}}[A-Za-z]?\b
      | (?i:{_BOX}) | (?i:{_PART}),?\ (?={_HOUSE}\ )
      | \d{{1,6}},?\ (?:{_CAPITAL}[\ ,\n]+){{1,5}}(?i:{_PART})
    ){_MORE}""",
    re.VERBOSE,
)
_CUE = re.compile(
    r"""(?i:\baddress(?:\ (?:of\ [\w\ ,&.'’\-]{1,40}\ )?(?:is|was|:)|:)|\blives?\ (?:at|on|in)
      |living\ at|located\ at|\boffices?\ (?:is|are)(?:\ located)?\ at|\bresid(?:es?|ing)\ at
      |\b(?:ship|deliver|sen[dt]|post)\w*(?:\ \w+){0,3}\ to|\bmoved\ to|\bmeet\ you\ at
      |\boff\ at|\breturn\ to|\btaxi\ to|\bis\ at)\s{1,3}""",
    re.VERBOSE,
)
_NUMBERED = re.compile(
    rf"""(?=[^\n.?!]{{0,50}}\d)(?:the\ corner\ of\ )?
    (?:\d[\w\-/]{{0,12}}|(?i:(?:{_STREETS})\b)|{_CAPITAL}){_MORE}
    (?:\ and\ {_CAPITAL}(?:\ {_CAPITAL}){{0,4}}(?:\ \d+)?)?""",
    re.VERBOSE,
)

_PROVINCE = "|".join(
    (
        "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南",
        "广东|海南|四川|贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门",
    )
)
_RANK = "省|市|自治区|壮族自治区|回族自治区|维吾尔自治区|特别行政区"
_HAN = "[\u4e00-\u9fff]"
_NUM = "[0-9０-９一二三四五六七八九十百零〇]{1,6}"
_DOOR = "号院|号楼|号|栋|幢|座|单元|楼|层|室|弄|巷|组|队|户|房"
_INSIDE = rf"(?:{_HAN}{{0,8}}?[A-Za-z]?{_NUM}(?:{_DOOR})|[A-Za-z]座)"
_AREA = rf"{_HAN}{{1,6}}?(?:自治州|地区|市|区|县|旗|街道|镇|乡|村|新区|开发区)"
_WAYS = "路|街|大道|巷|胡同|弄|里|苑|小区|花园|广场|大厦|公寓|新村|村"
_ROAD = rf"{_HAN}{{1,10}}?(?:{_WAYS})"
_DOORS = rf"{_INSIDE}(?:[，,\ ]?{_INSIDE}){{0,5}}"
_CHINESE = re.compile(
    rf"""(?:(?:{_PROVINCE})(?:{_RANK})?)?(?:{_AREA}){{0,4}}(?:{_ROAD}){{1,2}}(?:[东西南北中]段)?
      [，,\ ]?{_DOORS}
    | (?:{_PROVINCE})(?:{_RANK})?(?:{_AREA}){{1,4}}{_DOORS}""",
    re.VERBOSE,
)
_NOT_A_START = re.compile(
    r"^.*?(?:住在|位于|寄到|送到|寄往|发到|地址是|地址为|搬到|在|到|是|从|往|至|于|家)(?=.{5})"
)


def english_addresses(text: str) -> Iterator[Span]:
    """Addresses built like those of Europe and America, and what follows "lives at"."""
    for match in _BUILT.finditer(text):
        yield Span(match.start(), _trimmed(text, *match.span()), "ADDRESS")
    for cue in _CUE.finditer(text):
        house = _NUMBERED.match(text, cue.end())
        if house and any(c.isdigit() for c in house[0]):
            yield Span(house.start(), _trimmed(text, *house.span()), "ADDRESS")


def chinese_addresses(text: str) -> Iterator[Span]:
    """Addresses from the province, or the road, down to the door."""
    for match in _CHINESE.finditer(text):
        start = match.start()
        begun = _NOT_A_START.match(match[0])
        if begun:
            start += begun.end()
        yield Span(start, match.end(), "ADDRESS")


def _trimmed(text: str, start: int, end: int) -> int:
    """The end without the spaces and signs that trail."""
    return start + len(text[start:end].rstrip(" \n,>?"))
