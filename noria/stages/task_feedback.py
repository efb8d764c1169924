"""What people said of an application's answers, as examples that a turn can learn from.

In: the feedback of a tenant and the application's data. Out: curated examples. An application is
made anew from its rows in every turn, so an answer that somebody confirmed is an example as good as
one that somebody corrected; it is not left out for being right.
"""

from __future__ import annotations

import json

from noria.artifacts import Artifact
from noria.improve.curate import Curated, curate
from noria.improve.quarantine import Reference
from noria.improve.wishes import LabelWishes, SpanWishes, Wishes
from noria.recipe import TENANT
from noria.records import Labelled, record_texts
from noria.stages.task_data import Example, examples_of
from noria.stages.task_release import task_name
from noria.tasks.tag import TAG
from noria.workspace import Workspace


def curate_task(workspace: Workspace, name: str, data: Artifact) -> Curated:
    """Everything that was said of an application's answers, made examples."""
    wishes = _wishes(workspace, name, data)
    said = workspace.feedback.said(TENANT)
    original = [(record_texts(one)[0], _wanted(one)) for one in examples_of(data, "train")]
    confirmed = {asked.id for asked, one in said if (one.kind, one.value) == ("thumb", "up")}
    return curate(
        said,
        workspace.recipe.improve.held_out,
        wishes=wishes,
        reference=Reference(original=original, learned=confirmed),
    )


def _wishes(workspace: Workspace, name: str, data: Artifact) -> Wishes:
    """How this application's answers are read."""
    task, known = workspace.recipe.tasks[name], task_name(workspace.recipe, name)
    if task.kind == TAG.kind:
        return SpanWishes(known, tuple(data.facts["labels"]))
    many = data.facts["many"]
    return LabelWishes(known, tuple(data.facts["labels"]), many, task.out_of_scope)


def _wanted(one: Example) -> str:
    """What stands in the original data, in the form in which wishes are compared."""
    if isinstance(one, Labelled):
        return json.dumps(sorted(set(one.labels)), ensure_ascii=False)
    rows = [{"start": s.start, "end": s.end, "tag": s.tag} for s in one.spans]
    return json.dumps(rows, ensure_ascii=False)
