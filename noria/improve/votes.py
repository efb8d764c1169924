"""What everyone said of the same question, made one example: votes counted, contradictions settled.

In: feedback with its interactions, and what reviewers decided. Out: an example for each question
that has an answer, and a decision about everything that became none.

One person has one vote a question, and the last one counts; who is not named votes as the key that
the feedback came through, and all who are known by neither are one person. What a reviewer left is
no vote; what a reviewer took needs no majority. As many votes for one answer as for another settle
nothing: that is left for a person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from noria.feedback.agreement import voter_of
from noria.feedback.interactions import Feedback, Interaction
from noria.feedback.reviews import LEAVE, TAKE, Review
from noria.improve.wishes import WISH_KINDS, CuratedRecord, NoWish, Wishes, asked_text

TAKEN, LEFT, QUARANTINED = "taken", "left", "quarantined"
DISAGREE = "people disagree, and no answer has most votes"

Said = tuple[Interaction, Feedback]


@dataclass(frozen=True)
class Example:
    """What should have been answered to a question, and who says so.

    `id` is that of the first feedback that says it, and stays when more people say it too; `said`
    is all that says it, of whichever interaction with this question. `voters` and `keys` are those
    for it; `num_against` voted for another answer. `confirmed`: the live model gives that answer.
    """

    id: str
    interaction: Interaction
    wanted: str
    record: CuratedRecord
    said: tuple[Said, ...]
    voters: tuple[str, ...]
    keys: tuple[str, ...]
    said_at: float
    num_against: int = 0
    reviewed: Review | None = None
    confirmed: bool = False

    @property
    def asked(self) -> str:
        """What a person wrote."""
        return asked_text(self.interaction)


@dataclass(frozen=True)
class Decision:
    """What became of one example, or of one piece of feedback that became none, and why.

    `reason` is one of a few that are counted; `detail` is what a person wants to know of this one.
    said: the ids of the feedback that it is about, each with its interaction's before it. held_out:
    it is taken for the gate, and nothing trains on it.
    """

    id: str
    interaction_id: str
    status: str
    reason: str
    detail: str = ""
    asked: str = ""
    answer: str = ""
    wanted: str = ""
    num_for: int = 1
    num_against: int = 0
    said: tuple[tuple[str, str], ...] = ()
    held_out: bool = False


def ids_of(said: Sequence[Said]) -> tuple[tuple[str, str], ...]:
    """The id of each feedback, that of its interaction before it."""
    return tuple((interaction.id, one.id) for interaction, one in said)


@dataclass
class Counted:
    """Examples, and what was left before there were any."""

    examples: list[Example] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


def decided(example: Example, status: str, reason: str, detail: str = "") -> Decision:
    """The decision about an example."""
    return Decision(
        example.id,
        example.interaction.id,
        status,
        reason,
        detail,
        example.asked,
        example.interaction.answer,
        example.wanted,
        len(example.voters),
        example.num_against,
        ids_of(example.said),
    )


@dataclass(frozen=True)
class _Vote:
    interaction: Interaction
    said: Feedback
    wanted: str


def count_votes(said: Sequence[Said], wishes: Wishes, reviews: Mapping[str, Review]) -> Counted:
    """Examples by majority; `reviews` are reviewers' decisions by the id of a feedback."""
    counted = Counted()
    questions: dict[tuple[str, str], list[_Vote]] = defaultdict(list)
    for interaction, one in said:  # as stored: a clock may have jumped
        if one.kind not in WISH_KINDS or not wishes.speaks_of(interaction):
            continue
        try:
            wanted = wishes.wanted(interaction, one)
        except NoWish as no_wish:
            counted.decisions.append(_left(interaction, one, no_wish.reason))
            continue
        vote = _Vote(interaction, one, wanted)
        questions[interaction.kind, interaction.prompt].append(vote)
    for votes in questions.values():
        _settle(votes, wishes, reviews, counted)
    return counted


def _left(interaction: Interaction, said: Feedback, reason: str, detail: str = "") -> Decision:
    asked = asked_text(interaction)
    return Decision(
        said.id,
        interaction.id,
        LEFT,
        reason,
        detail,
        asked,
        interaction.answer,
        said.value,
        said=ids_of([(interaction, said)]),
    )


def _settle(
    votes: Sequence[_Vote], wishes: Wishes, reviews: Mapping[str, Review], counted: Counted
) -> None:
    """One question: the latest vote of each voter, what reviewers say, the majority."""
    review_of = _reviewed_answers(votes, reviews)
    latest: dict[str, _Vote] = {}
    for vote in votes:
        before = latest.get(voter_of(vote.said))
        latest[voter_of(vote.said)] = vote
        if before is not None:
            repeats = before.wanted == vote.wanted
            reason = "said again" if repeats else "replaced by what the same person said later"
            counted.decisions.append(_left(before.interaction, before.said, reason))
    by_answer: dict[str, list[_Vote]] = defaultdict(list)
    for vote in latest.values():
        by_answer[vote.wanted].append(vote)
    for wanted, review in review_of.items():
        if review.action == LEAVE:
            for vote in by_answer.pop(wanted, ()):
                detail = f"{review.actor}: {review.note}" if review.note else review.actor
                counted.decisions.append(
                    _left(vote.interaction, vote.said, "a reviewer left it", detail)
                )
        else:  # what a reviewer took counts even where its voter said something else since
            by_answer.setdefault(wanted, [one for one in votes if one.wanted == wanted][-1:])
    if by_answer:
        winner = _winner(by_answer, review_of)
        _count_losers(by_answer, winner, counted)
        if winner is not None:
            same = [one for one in votes if one.wanted == winner]
            others = sum(map(len, by_answer.values())) - len(by_answer[winner])
            example = _example(by_answer[winner], same, wishes, others, review_of.get(winner))
            counted.examples.append(example)


def _reviewed_answers(votes: Sequence[_Vote], reviews: Mapping[str, Review]) -> dict[str, Review]:
    """The last review of each answer, whoever's feedback it was made of."""
    found: dict[str, Review] = {}
    for vote in votes:
        review = reviews.get(vote.said.id)
        if review is not None:
            known = found.get(vote.wanted)
            if known is None or known.position < review.position:
                found[vote.wanted] = review
    return found


def _winner(
    by_answer: Mapping[str, Sequence[_Vote]], review_of: Mapping[str, Review]
) -> str | None:
    """The answer that a reviewer took last, else the one that most want, else none."""
    took = [(review_of[one].position, one) for one in by_answer if one in review_of]
    took = [(position, one) for position, one in took if review_of[one].action == TAKE]
    if took:
        return max(took)[1]
    most = max(map(len, by_answer.values()))
    best = [one for one, votes in by_answer.items() if len(votes) == most]
    return best[0] if len(best) == 1 else None


def _count_losers(
    by_answer: Mapping[str, Sequence[_Vote]], winner: str | None, counted: Counted
) -> None:
    tally = ", ".join(str(len(votes)) for votes in by_answer.values())
    reason = DISAGREE if winner is None else "outvoted"
    for wanted, votes in by_answer.items():
        if wanted != winner:
            counted.decisions += [
                _left(one.interaction, one.said, reason, f"votes: {tally}") for one in votes
            ]


def _example(
    votes: Sequence[_Vote],
    same: Sequence[_Vote],
    wishes: Wishes,
    num_against: int,
    review: Review | None,
) -> Example:
    first, last = same[0], votes[-1]
    return Example(
        id=first.said.id,
        interaction=last.interaction,
        wanted=first.wanted,
        record=wishes.record(last.interaction, first.wanted),
        said=tuple((one.interaction, one.said) for one in same),
        voters=tuple(voter_of(one.said) for one in votes),
        keys=tuple(dict.fromkeys(one.said.key_id for one in votes)),
        said_at=max(one.said.created_at for one in votes),
        num_against=num_against,
        reviewed=review,
    )
