"""What people said of an application's answers, as examples that a turn can learn from.

In: the feedback of a tenant. Out: curated examples. An application is made anew from its rows in
every turn, so an answer that somebody confirmed is an example as good as one that somebody
corrected, and what the live model has learned it must be shown again: nothing is left out for being
right already.
"""

from __future__ import annotations

from noria.improve.curate import Curated
from noria.recipe import TENANT
from noria.stages.curation import curated_feedback
from noria.workspace import Workspace


def curate_task(workspace: Workspace, name: str) -> Curated:
    """Everything that was said of an application's answers, made examples."""
    rated = {asked.id for asked, _ in workspace.feedback.said(TENANT)}
    return curated_feedback(workspace, name, learned=rated)
