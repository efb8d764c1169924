"""backup, store: what is kept of users, copied, moved, rotated, erased."""

from __future__ import annotations

from pathlib import Path

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.errors import UnknownName
from noria.recipe import TENANT

store_verbs = typer.Typer(help="What users asked and said: export, import, erase, delete, rotate.")

OF_TENANT = typer.Option(TENANT, "--tenant", help="Whose.")
OF_RECIPE = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe.")


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.command()(backup)
    app.add_typer(store_verbs, name="store")


def backup(
    folder: Path = typer.Argument(..., help="Where backups lie; each gets a folder in it."),
    recipe: Path = OF_RECIPE,
    check: bool = typer.Option(False, "--check", help="Check the newest one there, make none."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Copy feedback, registry and keys while servers run; the master key is not in the copy."""
    from noria.backup import check_backup, make_backup, newest_backup

    with Opened(recipe, store, quiet=True) as workspace:
        made = newest_backup(folder) if check else make_backup(workspace, folder)
        counts = check_backup(made, workspace.feedback.keyring.master)
        key = workspace.feedback.keyring.master.path
    lines = [f"{made}: whole", *(f"{what}: {count}" for what, count in counts.items())]
    lines.append(f"keep {key or 'NORIA_MASTER_KEY'} elsewhere: without it the copy can't be read")
    show({"backup": str(made), **counts}, as_json, "\n".join(lines))


@store_verbs.command("export")
def export_store(
    file: Path = typer.Argument(..., help="JSON Lines to write; it is readable: guard it."),
    recipe: Path = OF_RECIPE,
    tenant: str = OF_TENANT,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Write everything that a tenant's people asked and said."""
    from noria.feedback.exporting import export_to

    with Opened(recipe, store, quiet=True) as workspace:
        num_rows = export_to(workspace.feedback, tenant, file)
    show({"rows": num_rows, "file": str(file)}, as_json, f"{num_rows} rows in {file}")


@store_verbs.command("import")
def import_store(
    file: Path = typer.Argument(..., help="JSON Lines that `noria store export` wrote."),
    recipe: Path = OF_RECIPE,
    tenant: str = OF_TENANT,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Read an export; what is there already is not doubled."""
    from noria.feedback.exporting import import_from

    with Opened(recipe, store, quiet=True) as workspace:
        num_rows = import_from(workspace.feedback, tenant, file)
    show({"rows": num_rows}, as_json, f"{num_rows} rows are in the store")


@store_verbs.command("erase")
def erase(
    person: str = typer.Argument(..., help="A name, or a pseudonym that the store shows."),
    recipe: Path = OF_RECIPE,
    tenant: str = OF_TENANT,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Make what a person asked and said unreadable for ever."""
    from noria.feedback.custody import erase_person

    with Opened(recipe, store, quiet=True) as workspace:
        if not erase_person(workspace.feedback, tenant, person):
            raise UnknownName("nothing of this person is here", "a name that requests carried")
    show({"erased": True}, as_json, "erased; backups made before still have the key")


@store_verbs.command("prune")
def prune(
    days: float = typer.Argument(..., min=0, help="What is older than so many days goes."),
    recipe: Path = OF_RECIPE,
    tenant: str = OF_TENANT,
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Delete old interactions, with all that was said of them."""
    from noria.feedback.custody import delete_older

    with Opened(recipe, store, quiet=True) as workspace:
        num_deleted = delete_older(workspace.feedback, tenant, days)
    show({"deleted": num_deleted}, as_json, f"{num_deleted} interactions deleted")


@store_verbs.command("rotate")
def rotate(
    recipe: Path = RECIPE,
    tenant: str = typer.Option("", "--tenant", help="Only this tenant's key, not the master key."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Change the master key, or a tenant's: every key under it is wrapped anew."""
    from noria.feedback.custody import rotate_master_key, rotate_tenant_key

    with Opened(recipe, store, quiet=True) as workspace:
        if not tenant:
            num_tenants = rotate_master_key(workspace.feedback)
        elif rotate_tenant_key(workspace.feedback, tenant):
            num_tenants = 1
        else:
            raise UnknownName(
                f"no tenant {tenant[:80]!r} in the store", "one that stored something"
            )
    show({"tenants": num_tenants}, as_json, f"{num_tenants} tenants' keys wrapped anew")
