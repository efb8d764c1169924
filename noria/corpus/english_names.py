"""Names of people and organisations in English text: a model of entities, and rules around it.

In: a text and what the model found. Out: where names stand. The model is small and trained on news:
it misses names of other countries, names in lists, signatures and headings of dialogues. Rules
find what it has once seen again, neighbours in a list, what stands behind "Mr." or "my name is",
and capitalised words that are no English words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from noria.corpus.identities import Span

MAX_PIECE = 100_000  # characters; spaCy refuses more than ten times as many
_BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")
KINDS = {"PERSON": "PERSON", "ORG": "ORGANIZATION", "PRODUCT": "ORGANIZATION"}
PLACES = ("GPE", "LOC", "FAC", "NORP", "LANGUAGE", "EVENT", "LAW", "WORK_OF_ART")

_PART = r"[^\W\da-z_][\w'’\-]{0,40}[^\W_]|[^\W\da-z_]\b\.?"
_NAME = rf"(?:{_PART})(?:\ (?:{_PART}|de|van|von|ten|ter|der|la|bin|ibn|al|da|dos|di)){{0,4}}"
_RUN = re.compile(rf"(?<![\w@#./]){_NAME}(?![\w@])", re.VERBOSE)
_TITLED = re.compile(
    rf"""(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Miss|Sir|Madam|Lady|Lord)\b\.?[ ]
      |\b(?i:my|his|her|their)\ (?i:maiden\ |last\ |first\ |full\ )?(?i:name\ is)[ ]
      |\b(?i:named\ (?:him|her)|call(?:ed)?\ me|signed(?:\ by)?|regards,?|sincerely,?|dear
        |directed\ by|user|name|attn|contact)\s?:?\s{{1,6}})(?P<name>{_NAME})""",
    re.VERBOSE,
)
_SPEAKER = re.compile(rf"^(?P<name>{_NAME})(?=:\s?[\"“A-Z])", re.VERBOSE | re.MULTILINE)
_FORMS = "|".join(
    (
        "Inc|LLC|Ltd|Limited|Corp|Corporation|GmbH|AG|PLC|Plc|Group|Company|Holdings|Partners",
        r"Associates|Technologies|Solutions|Bank|Institute|University|Foundation|and\ Sons|&\ Sons",
    )
)
_FIRM = re.compile(
    rf"(?:{_PART})(?:[\ ,]{{1,2}}(?:{_PART}|&|and|of)){{0,5}},?\ (?:{_FORMS})\b\.?", re.VERBOSE
)
# What only firms have: people who work there, a head, an office; or a line over an address.
_HEADS = (
    "CEO|CFO|CTO|COO|founder|chairman|chairwoman|director|manager|employee|owner|partner"
    "|subsidiary|shareholder|customer|client"
)
_EMPLOYER = re.compile(
    rf"""\b(?:(?i:works?|worked|working|employed|interned|hired)\ (?i:for|at|by)
      |(?i:{_HEADS})s?\ (?i:of|at)|(?i:years?|months?|job|internship|career)\ at
      |(?i:(?:address|headquarters|branch|subsidiary|website)\ of))\ (?P<name>{_NAME})""",
    re.VERBOSE,
)
_OVER_ADDRESS = re.compile(
    rf"""^[>?|\ ]*(?P<name>{_NAME})[,\ ]*\n{{1,2}}
    (?=[>?|\ ]*(?:\d{{2,6}}[ ,]+[^\W\d_]|(?i:unit|p\.?\ ?o\.?\ box)\ \d))""",
    re.VERBOSE | re.MULTILINE,
)
_SURNAMES = re.compile(rf"(?<![\w,])(?:{_PART}), (?:{_PART}),? and (?:{_PART})(?!\w)")
_NEXT = re.compile(rf"(?:,|,?\ and|\ &|\ or)\ (?P<name>{_NAME})", re.VERBOSE)
_BEFORE = re.compile(rf"(?P<name>{_NAME})(?:,|,?\ and|\ &|\ or)\ $", re.VERBOSE)
_FUNCTION_WORDS = frozenset(
    re.findall(
        "[a-z]+",
        """
a about above after again against all also am an and any are as at be because been before
being below between both but by can cannot could did do does doing down during each else ever
every few for from further had has have having he her here hers herself him himself his how
however i if in into is it its itself just let me might more most must my myself neither no
nor not of off on once one only or other our ours ourselves out over own per please same shall
she should since so some such than thanks that the their theirs them themselves then there
these they this those though through thus to too under until unto up upon us very via was we
were what when where whether which while who whom whose why will with within without would yes
yet you your yours yourself hello hi monday tuesday wednesday thursday friday saturday sunday
january february march april may june july august september october november december
everything everyone somebody someone something nobody nothing anybody anyone anything toward
towards among whoever whenever wherever unless although ok okay email url http https www pdf
faq id
""",
    )
)
_CONTRACTED = re.compile("(?:n['’]t|['’](?:s|m|re|ve|ll|d|mon))$")
_ENDINGS = (("ies", "y"), ("es", ""), ("es", "e"), ("s", ""), ("ed", ""), ("ed", "e"), ("ing", ""),
            ("ing", "e"), ("ly", ""), ("er", ""), ("er", "e"), ("est", ""), ("n", ""))  # fmt: skip


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """The ranges that the model reads one by one: paragraphs, not longer than it can take."""
    start = 0
    for match in _BLANK_LINE.finditer(text):
        yield from _parts(start, match.start())
        start = match.end()
    yield from _parts(start, len(text))


def _parts(start: int, end: int) -> Iterator[tuple[int, int]]:
    return ((a, min(a + MAX_PIECE, end)) for a in range(start, end, MAX_PIECE))


def introduced(text: str, words: Collection[str]) -> list[Span]:
    """People whom the words before them, or a colon behind them, make people."""
    return [
        Span(*match.span("name"), "PERSON")
        for pattern in (_TITLED, _SPEAKER)
        for match in pattern.finditer(text)
        if not _all_ordinary(match["name"], words)
    ]


def rules(text: str, entities: Sequence[Span], words: Collection[str]) -> Iterator[Span]:
    """Names beside those that the model found; its places and other entities are in `entities`."""
    for match in _FIRM.finditer(text):
        yield Span(*match.span(), "ORGANIZATION")
    for match in _SURNAMES.finditer(text):
        if _some_unknown(match[0].replace(",", ""), words):
            yield Span(*match.span(), "ORGANIZATION")
    for match in _OVER_ADDRESS.finditer(text):
        yield Span(*match.span("name"), "ORGANIZATION")
    for match in _EMPLOYER.finditer(text):  # also what the model takes for a place
        if _some_unknown(match["name"], words):
            yield Span(*match.span("name"), "ORGANIZATION")
    known = [one for one in entities if one.kind not in KINDS]
    for match in _RUN.finditer(text):
        inside = any(one.start < match.end() and match.start() < one.end for one in known)
        if not inside and _some_unknown(match[0], words):
            yield Span(*match.span(), "PERSON")


def neighbours(text: str, found: Sequence[Span], words: Collection[str]) -> Iterator[Span]:
    """Names that stand in a list with one that was found, and its words wherever they return."""
    for one in found:
        place, reached = one.end, _NEXT.match(text, one.end)
        while reached and not _all_ordinary(reached["name"], words):
            yield Span(*reached.span("name"), one.kind)
            place = reached.end()
            reached = _NEXT.match(text, place)
        before = _BEFORE.search(text, max(0, one.start - 60), one.start)
        if before and not _is_ordinary(before["name"].split()[0], words):
            yield Span(*before.span("name"), one.kind)
    again = {
        word: one.kind
        for one in found
        for word in (text[one.start : one.end], *text[one.start : one.end].split())
        if len(word) > 2 and word[0].isupper() and not _all_ordinary(word, words)
    }
    if again:
        alternatives = "|".join(sorted(map(re.escape, again), key=len, reverse=True))
        for match in re.finditer(rf"(?<!\w)(?:{alternatives})(?!\w)", text):
            yield Span(*match.span(), again[match[0]])


def _is_ordinary(word: str, words: Collection[str]) -> bool:
    lower = _CONTRACTED.sub("", word.lower().strip(".'’"))
    if lower in _FUNCTION_WORDS or lower in words or len(lower) < 2:
        return True
    return any(
        lower.endswith(end) and len(lower) > len(end) + 2 and lower[: -len(end)] + more in words
        for end, more in _ENDINGS
    ) or all(part in words or part in _FUNCTION_WORDS for part in lower.split("-"))


def _all_ordinary(name: str, words: Collection[str]) -> bool:
    return all(_is_ordinary(word, words) for word in name.split())


def _some_unknown(name: str, words: Collection[str]) -> bool:
    return any(
        not _is_ordinary(word, words) and not word.isupper() and len(word) > 2
        for word in name.split()
    )
