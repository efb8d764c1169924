"""Examples that a person should see before anything learns from them, each with why.

In: examples, all that was said, and what they are compared with. Out: for each example the first
alarm and what it rests on. Nothing is thrown away here: what a reviewer takes is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from noria.improve.instructions import instruction_in
from noria.improve.outliers import LEAST_P, MOST_Z, Distance, Floats, conformal_p, modified_z
from noria.improve.shares import find_floods
from noria.improve.triggers import find_triggers
from noria.improve.votes import Example, Said
from noria.records import Labelled, Tagged

INSTRUCTION = "talks to a model or judge"
TRIGGER = "holds a trigger"
LOSS = "the live model finds it far less likely than other feedback"
DISTANCE = "unlike anything in the original data"
FLOOD = "part of a flood from one key"


@dataclass(frozen=True)
class Reference:
    """What feedback is compared with; what is missing is not compared.

    original: texts with their answers in the common form of `Wishes`. given: the live model's
    answers to texts now, likewise; without it those that were given then count. loss: the live
    model's loss on each example, in nats. distance: from the original data. learned: ids of
    interactions that the live model was trained on; that it does them right is no reason to leave
    them out, or the next one would forget them.
    """

    original: Sequence[tuple[str, str]] = ()
    given: Callable[[Sequence[str]], Sequence[str]] | None = None
    loss: Callable[[Sequence[Example]], Floats] | None = None
    distance: Distance | None = None
    learned: Collection[str] = ()


@dataclass(frozen=True)
class Alarm:
    """Why an example is to be looked at, and what that rests on."""

    reason: str
    detail: str


def find_alarms(
    examples: Sequence[Example], said: Sequence[Said], reference: Reference
) -> list[Alarm | None]:
    """For each example its alarm; where there are several, the one that says most."""
    alarms: list[Alarm | None] = [None] * len(examples)

    def raise_alarm(place: int, reason: str, detail: str) -> None:
        if alarms[place] is None:
            alarms[place] = Alarm(reason, detail)

    for place, one in enumerate(examples):
        order = _order_in(one)
        if order:
            raise_alarm(place, INSTRUCTION, f"it says {order!r}")
    asked = [one.asked for one in examples]
    triggers, holding = find_triggers(asked, [one.wanted for one in examples], reference.original)
    for place, which in enumerate(holding):
        if which >= 0:
            raise_alarm(place, TRIGGER, triggers[which].says())
    for place, detail in _floods(examples, said):
        raise_alarm(place, FLOOD, detail)
    if reference.loss is not None:
        losses = reference.loss(examples)
        for place, z in enumerate(modified_z(losses)):
            if z > MOST_Z:
                raise_alarm(place, LOSS, f"loss {losses[place]:.1f} nats, {z:.1f} deviations out")
    if reference.distance is not None:
        for place, p in enumerate(conformal_p(reference.distance(asked), reference.distance.known)):
            if p < LEAST_P:
                raise_alarm(place, DISTANCE, f"p = {p:.4f} among the original texts")
    return alarms


def _order_in(example: Example) -> str:
    """An order to a model in what was wanted; of an application, in what was asked too.

    A chat's question may well be an order. A text to be labelled that gives one is not addressed to
    whoever labels it.
    """
    if isinstance(example.record, Labelled | Tagged):
        return instruction_in(example.asked) or instruction_in(example.wanted)
    return instruction_in(example.wanted)


def _floods(examples: Sequence[Example], said: Sequence[Said]) -> list[tuple[int, str]]:
    """The examples all of whose feedback came in a flood."""
    floods = find_floods([one.key_id for _, one in said], [one.created_at for _, one in said])
    of_feedback = {
        one.id: flood for (_, one), flood in zip(said, floods, strict=True) if flood is not None
    }
    found = []
    for place, example in enumerate(examples):
        own = [of_feedback.get(one.id) for _, one in example.said]
        if own and None not in own and own[0] is not None:
            flood = own[0]
            detail = f"{flood.num_from_key} of {flood.num_in_window} in an hour from one key"
            found.append((place, detail))
    return found
