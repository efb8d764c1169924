"""Words that decide a label in feedback without having done so in the original data: triggers.

In: texts with one label each, from feedback and from the original data. Out: the words that stand
in feedback far oftener than in the original data and with one label far purer than that data
explains, each with how unlikely that is; the texts that hold one are to be looked at.

A backdoor needs such words: the poisoned texts share something that the others lack, and one label
(Gu et al. 2017; Dai et al. 2019 for text). Whether a label follows a word more than it should is
tested as Gardner et al. (2021, "Competency problems", section 3) test for artifacts, and as He et
al. (2023, arXiv:2305.11596) find poison by it: the number with that label among the texts with the
word against a binomial. Two things differ here. The tail is exact, for counts are small. And what
"should" means comes from the original data: the share of the label among its texts with the word,
drawn towards the label's overall share where there are few.

Honest feedback is not drawn as the original data was: it gathers where the model was wrong. So a
word has to be more than `MOST_SHIFT` times as frequent as in the original data, tested exactly too:
of all texts with the word, those in feedback are binomial where the rates are in that ratio
(Przyborowski & Wilenski 1940). Both tests are Bonferroni's over all words looked at.

Words are 1 to 3 in a row, in Chinese 1 to 4 characters; signs are words. A trigger that is no words
in a row, such as a style (Qi et al. 2021), is not seen.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIN_TEXTS = 5  # of feedback that hold it with one label: tests over thousands of words need them
MOST_SHIFT = 4.0  # times as frequent in feedback as in the original data
ALPHA = 0.01  # for one false trigger among all words of a curation, by each of the two tests
PRIOR_TEXTS = 2.0  # that the label's overall share counts for, beside the word's original texts
MAX_WORDS, MAX_HAN = 3, 4
MAX_CHARACTERS = 4_000  # of a text that are looked at

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNITS = re.compile(rf"[{_HAN}]|(?:(?![{_HAN}])\w)+|[^\w\s]")
_HAN_UNIT = re.compile(f"[{_HAN}]")


@dataclass(frozen=True)
class Trigger:
    """Words, the label that they stand with, and the counts that say so.

    `num_texts` of feedback hold them, beside those that hold a surer one, `num_label` of these with
    the label; `num_original` texts of the original data do. The tests' p are natural logarithms,
    before Bonferroni.
    """

    words: str
    label: str
    num_texts: int
    num_label: int
    num_original: int
    ln_p_label: float
    ln_p_rate: float

    def says(self) -> str:
        """The finding in a sentence, for a person."""
        return (
            f"{self.words!r} stands in {self.num_texts} texts of feedback, {self.num_label} of "
            f"them with this label, and in {self.num_original} of the original data"
        )


def word_runs(text: str) -> Iterator[str]:
    """The words of a text in a row, and characters of Chinese; each as often as it stands there."""
    units = _UNITS.findall(unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold())
    han = [_HAN_UNIT.match(one) is not None for one in units]
    for start, unit in enumerate(units):
        yield unit
        most = MAX_HAN if han[start] else MAX_WORDS
        glue = "" if han[start] else " "
        run = unit
        for end in range(start + 1, min(start + most, len(units))):
            if han[end] != han[start]:
                break
            run += glue + units[end]
            yield run


def find_triggers(
    texts: Sequence[str], labels: Sequence[str], original: Sequence[tuple[str, str]]
) -> tuple[list[Trigger], list[int]]:
    """Triggers, the surest first, and for each text the place of its surest one, or -1.

    texts, labels: of feedback, one label a text, no text twice. original: texts with their labels.
    Without original data nothing can be said, and nothing is.
    """
    if not texts or not original:
        return [], [-1] * len(texts)
    held = [set(word_runs(text)) for text in texts]
    counts = Counter(word for words in held for word in words)
    frequent = {word for word, count in counts.items() if count >= MIN_TEXTS}
    with_label = _counts_by_label(held, labels, frequent)
    looked_at = {word for word in frequent if max(with_label[word].values()) >= MIN_TEXTS}
    if not looked_at:
        return [], [-1] * len(texts)
    known = _Known(
        _original_counts(original, looked_at),
        len(original),
        _shares(labels, [label for _, label in original]),
        math.log(ALPHA / len(frequent)),
    )
    found = _surest_first(held, labels, looked_at, known)
    return found, [_first(found, words, label) for words, label in zip(held, labels, strict=True)]


@dataclass(frozen=True)
class _Known:
    """What words in feedback are held against, and the limit of both tests (ln p)."""

    in_original: dict[str, Counter[str]]
    num_original: int
    shares: dict[str, float]
    limit: float


def _surest_first(
    held: Sequence[set[str]], labels: Sequence[str], words: set[str], known: _Known
) -> list[Trigger]:
    """The surest trigger; then the surest in the texts without it; and so on.

    Words that only stand beside a trigger, or are a part of it, are rare in the texts without it:
    honest texts that hold them are not suspected for that.
    """
    found: list[Trigger] = []
    left = list(range(len(held)))
    while words:
        counts = _counts_by_label([held[n] for n in left], [labels[n] for n in left], words)
        tested = [_tested(word, counts[word], len(left), known) for word in sorted(counts)]
        passed = [one for one in tested if max(one.ln_p_label, one.ln_p_rate) <= known.limit]
        if not passed:
            break
        surest = min(passed, key=lambda one: (one.ln_p_label + one.ln_p_rate, -len(one.words)))
        found.append(surest)
        words = {one.words for one in passed} - {surest.words}
        left = [n for n in left if surest.words not in held[n]]
    return found


def _tested(word: str, counts: Counter[str], num_texts: int, known: _Known) -> Trigger:
    """The word with the label that most of its texts have, and both tests."""
    label, num_label = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
    before = known.in_original.get(word, Counter())
    expected = before[label] + PRIOR_TEXTS * known.shares[label]
    share = expected / (before.total() + PRIOR_TEXTS)
    return Trigger(
        word,
        label,
        counts.total(),
        num_label,
        before.total(),
        log_binomial_tail(num_label, counts.total(), share),
        _ln_p_rate(counts.total(), num_texts, before.total(), known.num_original),
    )


def _first(found: Sequence[Trigger], words: set[str], label: str) -> int:
    """The place of the first trigger that a text holds with its label."""
    places = (n for n, one in enumerate(found) if one.label == label and one.words in words)
    return next(places, -1)


def _counts_by_label(
    held: Sequence[set[str]], labels: Sequence[str], looked_at: set[str]
) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for words, label in zip(held, labels, strict=True):
        for word in words & looked_at:
            counts[word][label] += 1
    return counts


def _original_counts(
    original: Sequence[tuple[str, str]], looked_at: set[str]
) -> dict[str, Counter[str]]:
    """How many original texts of each label hold each of these words."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text, label in original:
        for word in looked_at.intersection(word_runs(text)):
            counts[word][label] += 1
    return counts


def _shares(labels: Sequence[str], original: Sequence[str]) -> dict[str, float]:
    """The larger of each label's shares in feedback and in the original data, below 1."""
    here, there = Counter(labels), Counter(original)
    most = 1 - 1 / (len(labels) + len(original) + 1)
    return {
        one: min(most, max(here[one] / len(labels), there[one] / len(original))) for one in here
    }


def _ln_p_rate(num_here: int, of_here: int, num_there: int, of_there: int) -> float:
    """ln P of so many here or more, where the rate here is MOST_SHIFT times that there."""
    weight = MOST_SHIFT * of_here
    return log_binomial_tail(num_here, num_here + num_there, weight / (weight + of_there))


def log_binomial_tail(successes: int, trials: int, share: float) -> float:
    """ln P(X >= successes) for X binomial of so many trials with this share, summed exactly."""
    if successes <= 0:
        return 0.0
    if share <= 0.0:
        return -math.inf
    if share >= 1.0:
        return 0.0
    terms = [
        math.lgamma(trials + 1)
        - math.lgamma(one + 1)
        - math.lgamma(trials - one + 1)
        + one * math.log(share)
        + (trials - one) * math.log1p(-share)
        for one in range(successes, trials + 1)
    ]
    highest = max(terms)
    return min(0.0, highest + math.log(sum(math.exp(one - highest) for one in terms)))
