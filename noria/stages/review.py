"""Whether a person's review is still missing before a promotion, and how the card shows it.

In: a workspace and the name of a model. Out: what is missing, a promotion by hand, sentences.
"""

from __future__ import annotations

import time

from noria.registry import Version
from noria.registry.reviews import read_reviews, require_review, sign_command
from noria.workspace import Workspace


def unsigned_review(workspace: Workspace, model: str) -> str:
    """What is missing before this model may be promoted by the loop; "" if nothing is."""
    if not workspace.recipe.gate.review or read_reviews(workspace.root, model):
        return ""
    how = sign_command(model, workspace.recipe_path.name)
    return f"the gate said yes, and nobody has signed a review yet; {how}, then noria improve again"


def promote_reviewed(
    workspace: Workspace, tenant: str, model: str, weight_hash: str, actor: str, reason: str
) -> Version:
    """Promote what a person asks for. Raises UsageError where a review is due and missing."""
    if workspace.recipe.gate.review:
        recipe = workspace.recipe_path.name
        require_review(workspace.root, workspace.registry, tenant, model, weight_hash, recipe)
    return workspace.registry.promote(tenant, model, weight_hash, actor, reason)


def review_sentences(workspace: Workspace, model: str) -> tuple[str, ...]:
    """The last review of a model as the card shows it; nothing where nobody signed one."""
    return tuple(
        f"{one.model}: signed by {one.signed_by} on "
        f"{time.strftime('%Y-%m-%d', time.gmtime(one.at))} over weights "
        f"{one.weight_hash[:12] or '(none)'}. Meant for: {one.intended_use} Misuse: {one.misuse} "
        f"Affected: {one.affected}"
        for one in read_reviews(workspace.root, model)[-1:]
    )
