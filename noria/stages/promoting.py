"""A promotion that nobody did by hand: it goes where the name may move, and says so where not."""

from __future__ import annotations

from noria.errors import Held
from noria.recipe import TENANT
from noria.workspace import Workspace


def promote_unless_held(
    workspace: Workspace,
    name: str,
    weight_hash: str,
    actor: str,
    reason: str,
    verdict_key: str = "",
) -> bool:
    """Make a version live; False, said to the watcher, if its name is pinned or frozen."""
    try:
        workspace.registry.promote(
            TENANT, name, weight_hash, actor, reason, verdict_key, automatic=True
        )
    except Held as error:
        workspace.watcher.say(str(error))
        return False
    return True
