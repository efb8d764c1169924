"""The review that a person signs before a live model is replaced for the first time.

In: what the model is meant for, how it could be misused, whom it touches, and who says so. Out: a
line in `reviews.jsonl` of the store, which is only ever added to; the model card shows the last one
of each model. The rule: what `noria run` makes live first stands under the name of whoever ran it;
before another takes its place for the first time, by the loop, by hand or from the page, a person
has to have thought about it. One signature is enough for all later promotions of that model, and
what was live before may always come back.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from noria.errors import FormatError, UsageError
from noria.registry.pointers import Registry

REVIEWS_FILE = "reviews.jsonl"
REVIEW_FORMAT = 1
ANSWERS = ("intended_use", "misuse", "affected")
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


def sign_review(root: Path, review: Review) -> None:
    """Add a review, on disk before this returns. Raises UsageError for one that says nothing."""
    if not review.signed_by.strip():
        raise UsageError("a review without a name", "who signs it", "add --sign NAME")
    answers = {what: getattr(review, what).strip() for what in ANSWERS}
    short = {what: said for what, said in answers.items() if len(said) < MIN_CHARACTERS}
    if short:
        options = " ".join(f'--{what.replace("_", "-")} "…"' for what in short)
        raise UsageError(
            ", ".join(f"{what.replace('_', ' ')} {said!r}" for what, said in short.items()),
            f"a sentence for each, of {MIN_CHARACTERS} characters or more",
            f"say it: {options}",
        )
    line = json.dumps({"format": REVIEW_FORMAT, **asdict(review)}, ensure_ascii=False) + "\n"
    with (root / REVIEWS_FILE).open("a", encoding="utf-8") as out:
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


def require_review(
    root: Path, registry: Registry, tenant: str, model: str, weight_hash: str, recipe: str
) -> None:
    """Refuse to put a version that never was live over one that is, before anybody signed.

    `recipe`: the name of its file, for the command to sign with. Raises UsageError.
    """
    live = registry.live(tenant, model)
    if live is None or registry.was_ever_live(tenant, model, weight_hash):
        return
    if not read_reviews(root, model):
        raise UsageError(
            f"the first promotion of {model!r} over {live.weight_hash[:12]}, and no signed review",
            "a person who says what it is for, how it could be misused and whom it touches",
            sign_command(model, recipe),
        )


def sign_command(model: str, recipe: str) -> str:
    """How to sign the review of a language model or of an application."""
    task = model.partition(".")[2]
    option = f" --task {task}" if task else ""
    return f"sign it: noria review {shlex.quote(recipe)}{option} --sign NAME …"
