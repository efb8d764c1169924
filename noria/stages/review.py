"""The review that a person signs before the loop promotes a model for the first time.

In: what the model is meant for, how it could be misused, whom it touches, and who says so. Out: a
line in `reviews.jsonl` of the store, which is only ever added to; the model card shows the last one
of each model. The rule: what `noria run` makes live first stands under the name of whoever ran it;
from then on a model changes by what people say of it, and before that happens for the first time a
person has to have thought about it. One signature is enough for all later turns of that model.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from noria.errors import FormatError, UsageError
from noria.workspace import Workspace

REVIEWS_FILE = "reviews.jsonl"
REVIEW_FORMAT = 1
MIN_CHARACTERS = 10  # of each answer: a word says nothing


@dataclass(frozen=True)
class Review:
    """Who signed what, of which model, which weights were live then, and when (seconds of 1970)."""

    model: str
    signed_by: str
    intended_use: str
    misuse: str
    affected: str
    weight_hash: str
    at: float


def sign_review(workspace: Workspace, review: Review) -> None:
    """Add a review, on disk before this returns. Raises UsageError for one that says nothing."""
    if not review.signed_by.strip():
        raise UsageError("a review without a name", "who signs it", "add --sign NAME")
    for what in ("intended_use", "misuse", "affected"):
        said = getattr(review, what).strip()
        if len(said) < MIN_CHARACTERS:
            option = "--" + what.replace("_", "-")
            raise UsageError(
                f"{what.replace('_', ' ')}: {said!r}", "a sentence", f'say it: {option} "…"'
            )
    line = json.dumps({"format": REVIEW_FORMAT, **asdict(review)}, ensure_ascii=False) + "\n"
    with (workspace.root / REVIEWS_FILE).open("a", encoding="utf-8") as out:
        out.write(line)
        out.flush()
        os.fsync(out.fileno())


def read_reviews(root: Path, model: str) -> list[Review]:
    """The reviews of a model, oldest first. Raises FormatError for a line that can't be read."""
    path = root / REVIEWS_FILE
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            value = json.loads(line)
            if value.pop("format") != REVIEW_FORMAT:
                raise ValueError("another format")
            found.append(Review(**value))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{path}:{number} can't be read ({error})",
                "a signed review",
                "restore the file, or sign again: noria review",
            ) from error
    return [one for one in found if one.model == model]


def unsigned_review(workspace: Workspace, model: str, task: str = "") -> str:
    """What is missing before this model may be promoted by the loop; "" if nothing is."""
    if not workspace.recipe.gate.review or read_reviews(workspace.root, model):
        return ""
    option = f" --task {task}" if task else ""
    return (
        "the gate said yes, and nobody has signed a review yet: noria review "
        f"{workspace.recipe_path.name}{option} --sign NAME …, then noria improve again"
    )


def review_sentences(workspace: Workspace, model: str) -> tuple[str, ...]:
    """The last review of a model as the card shows it; nothing where nobody signed one."""
    return tuple(
        f"{one.model}: signed by {one.signed_by} on "
        f"{time.strftime('%Y-%m-%d', time.gmtime(one.at))} over weights "
        f"{one.weight_hash[:12] or '(none)'}. Meant for: {one.intended_use} Misuse: {one.misuse} "
        f"Affected: {one.affected}"
        for one in read_reviews(workspace.root, model)[-1:]
    )
