"""The settings of an application: its labelled text, which models are tried, and how sure it is.

A part of the recipe (`recipe.py`), which is read from TOML by `recipe_file.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from noria.text_settings import FORMATS
from noria.toml_tables import setting

BASELINE = "classical"
# Kind -> its ways to a model, the cheapest to ask first.
TASK_WAYS = {
    "classify": (BASELINE, "vectors", "scratch", "tuned", "joined"),
    "tag": ("hmm", BASELINE, "dictionary", "scratch", "tuned", "joined"),
}
TASK_SHAPES = {"classify": "labelled", "tag": "tagged"}  # kind -> the shape of its records
WAYS_OVER_BASE = ("vectors", "tuned")
RANDOM_WAYS = ("scratch", "tuned")  # another seed gives other weights


@dataclass(frozen=True)
class TaskSettings:
    """An application: `noria run` makes a model of it, `noria task NAME "…"` asks it."""

    kind: str = setting(
        doc="Labels for a text, or spans with tags inside it.", choices=("classify", "tag")
    )
    files: tuple[str, ...] = setting(
        doc="Globs of labelled (or tagged) text, relative to the recipe, or `package:NAME/glob`."
    )
    test: tuple[str, ...] = setting(
        (),
        "Globs of text that is only measured on; what `files` share with it is not trained on. "
        "Without it a part of `files` is kept for that.",
    )
    held_out: tuple[str, ...] = setting(
        (),
        "Globs of text that models are calibrated and chosen on, and that the gate reads in every "
        "turn; frozen before anyone gives feedback. Without it a part of `files` is kept for that.",
    )
    columns: Mapping[str, str] = setting(
        dict,
        'Which column means what: `{text = "评论", labels = "2"}`, or tokens and tags; by number '
        'in a table without a header. Of text files: `{labels = "@file"}`, a text a line, or '
        '`{labels = "@folder"}`, a text a file.',
    )
    names: Mapping[str, str] = setting(
        dict,
        'Which labels or tags count, and what they are called: `{nr = "person"}`; empty: all, as '
        "they are.",
    )
    format: str = setting(
        "",
        "The format, where the ending of the name does not say it.",
        choices=("", *FORMATS),
    )
    encoding: str = setting("", "Such as `gb18030`, where it is not to be guessed.")
    group: str = setting(
        "", "The column that names what must stay on one side of the split: an author, a thread."
    )
    unlabelled: tuple[str, ...] = setting(
        (), "Globs of more text of the same kind, without labels: the small encoder reads it first."
    )
    base: str = setting(
        "",
        "An encoder to start from: `all-minilm-l6-v2`, or a folder in Hugging Face's layout; "
        "empty: none.",
    )
    ways: tuple[str, ...] = setting(
        (),
        "Which models are tried; empty: all that this kind, the base and the extras allow.",
        choices=tuple(dict.fromkeys(way for ways in TASK_WAYS.values() for way in ways)),
    )
    minutes: float = setting(
        2.0, "Time for the training of all ways together.", low=0.05, high=10_000.0
    )
    seeds: int = setting(
        1,
        "Trainings of each way whose start is random, each with `minutes` of its own. The first is "
        "served; the report's values are means over all, their intervals count what the start "
        "changes.",
        low=1,
        high=100,
    )
    out_of_scope: str = setting(
        "",
        "The label that means none of the classes; its texts teach when to abstain. Of classify.",
    )
    answered_right: float = setting(
        0.0,
        "Share of the answered texts that should be right; below it the model abstains. 0: it "
        "always answers. Of classify, one label a text.",
        low=0.0,
        high=0.999,
    )
