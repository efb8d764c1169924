"""From an artifact that was judged to the registry: made known, made live, if it may be.

Live at once, or by the shadow and canary that the recipe asks for. In: artifacts of a turn. Out:
entries of the registry. Nothing is measured here. What nobody does by hand stops before a name that
is pinned or frozen, and says so.
"""

from __future__ import annotations

from noria.artifacts import Artifact
from noria.errors import Held, UnknownName
from noria.recipe import SHARE_PATTERN, TENANT
from noria.registry import Version
from noria.registry.trials import STAGES
from noria.workspace import Workspace


def register_as(
    workspace: Workspace, name: str, artifact: Artifact, origin: str, parent: str = ""
) -> None:
    """Make a folder known, once, under the name of the language model or of an application."""
    path = str(artifact.path.relative_to(workspace.root))
    workspace.registry.register(
        workspace.tenant, name, artifact.facts["weight_hash"], path, origin, parent
    )


def version_for(workspace: Workspace, name: str, prefix: str) -> Version:
    """The version of that weight hash; one of the recipe's own becomes known to another tenant.

    Raises UnknownName.
    """
    registry, tenant = workspace.registry, workspace.tenant
    try:
        return registry.find_version(tenant, name, prefix)
    except UnknownName:
        if tenant == TENANT:
            raise
    own = registry.find_version(TENANT, name, prefix)
    origin = f"the recipe's own ({own.origin})"
    return registry.register(tenant, name, own.weight_hash, own.artifact_path, origin)


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
            workspace.tenant, name, weight_hash, actor, reason, verdict_key, automatic=True
        )
    except Held as error:
        workspace.watcher.say(str(error))
        return False
    return True


def share_of(text: str) -> tuple[float, int] | None:
    """`10% for 500 requests` as 0.1 and 500; None for no such text."""
    found = SHARE_PATTERN.fullmatch(text)
    return (float(found["percent"]) / 100, int(found["requests"])) if found and text else None


def next_stage(workspace: Workspace, after: str = "") -> tuple[str, float, int] | None:
    """The trial that the recipe asks for after a stage ("": after the gate), or None."""
    settings = workspace.recipe.improve
    wanted = {"shadow": settings.shadow, "canary": settings.canary}
    for stage in STAGES[STAGES.index(after) + 1 if after else 0 :]:
        found = share_of(wanted[stage])
        if found is not None:
            return stage, *found
    return None


def try_or_promote(
    workspace: Workspace, name: str, weight_hash: str, actor: str, verdict_key: str
) -> str:
    """Begin what the recipe asks for after the gate, or promote; says which, "" if it is held."""
    stage = next_stage(workspace)
    if stage is None:
        reason = "the gate said yes"
        done = promote_unless_held(workspace, name, weight_hash, actor, reason, verdict_key)
        return "promoted" if done else ""
    try:
        trial = workspace.registry.trials.begin(
            workspace.tenant, name, weight_hash, *stage, actor, verdict_key
        )
    except Held as error:
        workspace.watcher.say(str(error))
        return ""
    return trial.stage


def go_live(
    workspace: Workspace, name: str, challenger: Artifact, judged: Artifact, actor: str
) -> bool:
    """Make a challenger live that earned it, unless it once was; True if it is live now."""
    weight_hash = challenger.facts["weight_hash"]
    if not workspace.registry.was_ever_live(workspace.tenant, name, weight_hash):
        reason = "the gate said yes"
        promote_unless_held(workspace, name, weight_hash, actor, reason, judged.key)
    return _is_live(workspace, name, weight_hash)


def release(
    workspace: Workspace, name: str, challenger: Artifact, judged: Artifact, actor: str
) -> str:
    """What becomes of a challenger that earned it: promoted, shadow, canary, "" for nothing.

    What was live once and is not any more was taken back by somebody: it does not come back so.
    """
    weight_hash = challenger.facts["weight_hash"]
    if _is_live(workspace, name, weight_hash):
        return "promoted"
    if workspace.registry.was_ever_live(workspace.tenant, name, weight_hash):
        return ""
    return try_or_promote(workspace, name, weight_hash, actor, judged.key)


def _is_live(workspace: Workspace, name: str, weight_hash: str) -> bool:
    live = workspace.registry.live(workspace.tenant, name)
    return live is not None and live.weight_hash == weight_hash
