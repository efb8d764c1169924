"""How the registry knows a recipe's applications: RECIPE.NAME.

In: a recipe and the name of an application. Out: its name and its versions in the registry.
This module knows no model.
"""

from __future__ import annotations

from noria.errors import UnknownName
from noria.recipe import TENANT, Recipe
from noria.registry import Registry, Version


def task_name(recipe: Recipe, name: str) -> str:
    """The name under which the registry knows an application of the recipe."""
    return f"{recipe.name}.{name}"


def require_task(recipe: Recipe, name: str) -> None:
    """Raise UnknownName if the recipe has no application of that name."""
    if name not in recipe.tasks:
        known = ", ".join(recipe.tasks) or "none"
        raise UnknownName(f"no application is called {name!r}", f"one of the recipe's: {known}")


def task_version(
    registry: Registry, recipe: Recipe, name: str, prefix: str = "", tenant: str = TENANT
) -> Version:
    """The application's version of that weight hash, or the live one for an empty prefix.

    Raises UnknownName if the recipe has no such application, or it no such version.
    """
    require_task(recipe, name)
    if prefix:
        return registry.find_version(tenant, task_name(recipe, name), prefix)
    live = registry.live(tenant, task_name(recipe, name))
    if live is None:
        raise UnknownName(f"{name!r} has no live model", "one that was made", "run: noria run")
    return live
