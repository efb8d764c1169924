"""What people said of an application's answers, as examples that a turn can learn from.

In: the feedback of a tenant. Out: curated examples. An application is made anew from its rows in
every turn, so an answer that somebody confirmed is an example as good as one that somebody
corrected, and what the live model has learned it must be shown again: nothing is left out for being
right already. Suspects are looked for among corrections alone, as a reviewer sees them: beside
answers that were right already every correction would be an outlier.
"""

from __future__ import annotations

from dataclasses import replace

from noria.improve.curate import Curated, curate
from noria.improve.votes import QUARANTINED
from noria.stages.curation import curated_feedback, open_subject
from noria.workspace import Workspace


def curate_task(workspace: Workspace, name: str) -> Curated:
    """Everything that was said of an application's answers, made examples."""
    seen = curated_feedback(workspace, name)
    suspects = tuple(one for one in seen.decisions if one.status == QUARANTINED)
    left = {one.asked for one in suspects}
    said = [one for one in workspace.said() if one[0].prompt not in left]
    subject = open_subject(workspace, name, learned={asked.id for asked, _ in said})
    found = curate(
        said,
        workspace.recipe.improve.held_out,
        wishes=subject.wishes,
        reference=replace(subject.reference, given=None, loss=None, distance=None),
        reviews=workspace.latest_reviews(),
    )
    return replace(found, decisions=(*suspects, *found.decisions))
