"""feedback: say what you think of an answer, decide what is learned, bring others' feedback in."""

from __future__ import annotations

import getpass
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from noria.cli.screen import JSON, STORE, Opened, show
from noria.errors import UsageError
from noria.recipe import TENANT

if TYPE_CHECKING:
    from noria.improve.votes import Decision
    from noria.improve.wishes import Wishes
    from noria.workspace import Workspace

RECIPE = typer.Option(Path("noria.toml"), "--recipe", "-r", help="The recipe.")
TASK = typer.Option("", "--task", help="Of this application, not of the language model.")
BY = typer.Option("", "--by", help="Who decides; default: the user of this computer.")
MAX_SHOWN_CHARACTERS = 300
MAX_SHOWN_ROWS = 50


class _GiveFirst(TyperGroup):
    """`noria feedback ID --thumb up` is `noria feedback give ID --thumb up`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["give", *args]
        return super().parse_args(ctx, args)


feedback = typer.Typer(help="Say what you think of answers, and decide what is learned of it.")


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verbs on the command line."""
    app.add_typer(feedback, name="feedback", cls=_GiveFirst)


@feedback.command("give")
def give(
    interaction: str = typer.Argument("", help="The interaction's id; empty: list what there is."),
    recipe: Path = RECIPE,
    correct: str = typer.Option("", "--correct", help="What the answer should have been."),
    thumb: str = typer.Option("", "--thumb", help="up or down."),
    comment: str = typer.Option("", "--comment", help="A remark."),
    person: str = typer.Option("", "--person", help="Who says so; kept as a pseudonym."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Say what you think of an answer, or list the feedback so far; `give` may be left out."""
    given = {"correction": correct, "thumb": thumb, "comment": comment}
    given = {kind: value for kind, value in given.items() if value}
    with Opened(recipe, store, quiet=True) as workspace:
        if interaction and not given:
            raise UsageError(
                f"nothing to say of {interaction}",
                "feedback",
                "add --correct, --thumb or --comment",
            )
        if given and not interaction:
            raise UsageError("no interaction named", "its id", "noria chat prints it")
        stored = [
            workspace.feedback.record_feedback(
                TENANT, interaction, kind, value, origin="person", person=person
            )
            for kind, value in given.items()
        ] or workspace.feedback.feedback(TENANT)
    rows = [asdict(one) for one in stored]
    lines = [f"{one.interaction_id}  {one.kind:<10} {one.value[:60]!r}" for one in stored]
    show({"feedback": rows}, as_json, "\n".join(lines) or "no feedback yet")


@feedback.command("show")
def show_feedback(
    recipe: Path = RECIPE, task: str = TASK, store: Path | None = STORE, as_json: bool = JSON
) -> None:
    """How much was said, how far people agree, and what the next turn would learn from it."""
    from noria.feedback.agreement import agreements
    from noria.stages.curation import curated_feedback, open_subject, review_queue

    with Opened(recipe, store, quiet=True) as workspace:
        wishes = open_subject(workspace, task).wishes
        said = [one for one in workspace.feedback.said(TENANT) if wishes.speaks_of(one[0])]
        curated = curated_feedback(workspace, task)
    kinds = Counter(one.kind for _, one in said)
    agreed = agreements(said)
    num_waiting = len(review_queue(curated))
    value = {
        "kinds": dict(kinds),
        "agreement": {subject: asdict(one) for subject, one in agreed.items()},
        "curated": curated.facts(),
        "waiting": num_waiting,
    }
    facts = curated.facts()
    lines = [f"{count:,} × {kind}" for kind, count in kinds.most_common()] or ["no feedback yet"]
    lines += [f"people agree about {subject}: {one.says()}" for subject, one in agreed.items()]
    lines.append(f"taken: {facts['num_train']:,} to learn from, {facts['num_held_out']:,} held out")
    lines += [f"left: {count:,}  {why}" for why, count in facts["left"].items()]
    lines += [f"quarantined: {count:,}  {why}" for why, count in facts["quarantined"].items()]
    if num_waiting:
        lines.append(f"{num_waiting:,} wait for a person: noria feedback review")
    show(value, as_json, "\n".join(lines))


@feedback.command("review")
def review(
    recipe: Path = RECIPE,
    task: str = TASK,
    decide: tuple[str, str] = typer.Option(
        ("", ""), "--decide", help="An id of feedback, and: take, leave or edit. Asks nothing."
    ),
    text: str = typer.Option("", "--text", help="Of edit: what the answer should have been."),
    note: str = typer.Option("", "--note", help="Why; kept with the decision."),
    by: str = BY,
    every: bool = typer.Option(False, "--all", help="Show what was taken and left too."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Decide what is learned from: what is in quarantine, and where people disagree."""
    from noria.stages import curation

    with Opened(recipe, store, quiet=True) as workspace:
        wishes = curation.open_subject(workspace, task).wishes
        if decide[0]:
            found = curation.decide(
                workspace, *decide, by or _user(), note=note, text=text, wishes=wishes
            )
            show(asdict(found), as_json, f"{found.action}: {found.feedback_id}, by {found.actor}")
            return
        curated = curation.curated_feedback(workspace, task)
        queue = list(curated.decisions) if every else curation.review_queue(curated)
        if as_json or every or not sys.stdin.isatty():
            rows = [asdict(one) for one in queue]
            texts = "\n\n".join(map(_decision_text, queue))
            show({"queue": rows}, as_json, texts or "nothing waits for a person")
            return
        _ask(workspace, queue, by or _user(), wishes)


@feedback.command("worth")
def worth(
    recipe: Path = RECIPE,
    task: str = TASK,
    limit: int = typer.Option(20, "--limit", min=1, max=10_000, help="How many."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Which answers are most worth a person's look, the most rewarding first, and why."""
    from noria.stages.curation import worth_a_look

    with Opened(recipe, store, quiet=True) as workspace:
        found = worth_a_look(workspace, task, limit)
    rows = [{**asdict(one), "interaction": one.interaction.id, "asked": one.asked} for one in found]
    lines = [
        f"{one.worth:.3f}  {one.interaction.id}  {_short(one.asked, 70)}"
        f"\n       {'; '.join(one.reasons) or 'nothing special'}"
        for one in found
    ]
    show({"worth": rows}, as_json, "\n".join(lines) or "no answers yet")


@feedback.command("import")
def import_file(
    file: Path = typer.Argument(..., help="A CSV, TSV or JSON Lines file."),
    recipe: Path = RECIPE,
    task: str = TASK,
    column: list[str] = typer.Option(
        [], "--column", help="ROLE=NAME: which column holds what. May be repeated."
    ),
    kind: str = typer.Option("chat", "--kind", help="What a prompt is: chat or completion."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Bring in feedback that other tools collected; running it again changes nothing."""
    from noria.feedback.importing import About, import_feedback
    from noria.stages.task_names import require_task, task_name

    if kind not in ("chat", "completion"):
        raise UsageError(f"--kind {kind}", "chat or completion")
    columns = dict(_role_and_name(one) for one in column)
    with Opened(recipe, store, quiet=True) as workspace:
        about = About(TENANT, workspace.recipe.name, kind)
        if task:
            require_task(workspace.recipe, task)
            about = About(TENANT, task_name(workspace.recipe, task), "task")
        told = import_feedback(workspace.feedback, file, about, columns)
    value = {**asdict(told), "wrong": [[one.line, one.reason] for one in told.wrong]}
    lines = [
        told.how,
        f"{told.num_rows:,} rows: {told.num_stored:,} stored ({told.num_feedback:,} pieces of "
        f"feedback), {told.num_known:,} were there, {told.num_silent:,} without feedback, "
        f"{len(told.wrong):,} can't be read",
    ]
    lines += [f"  {file.name}:{one.line}: {one.reason}" for one in told.wrong[:MAX_SHOWN_ROWS]]
    if len(told.wrong) > MAX_SHOWN_ROWS:
        lines.append(f"  and {len(told.wrong) - MAX_SHOWN_ROWS:,} more: --json lists all")
    show(value, as_json, "\n".join(lines))
    if told.wrong:
        raise typer.Exit(1)


def _role_and_name(words: str) -> tuple[str, str]:
    role, mark, name = words.partition("=")
    if not mark or not name:
        raise UsageError(f"--column {words!r}", "ROLE=NAME, such as prompt=question")
    return role.strip(), name.strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:  # a container's user may have no name
        raise UsageError("nobody is named", "who decides", "say it with --by") from error


def _ask(workspace: Workspace, queue: list[Decision], who: str, wishes: Wishes) -> None:
    """One after the other, until the queue or the person's time ends."""
    from noria.stages import curation

    for number, one in enumerate(queue, start=1):
        print(f"\n{number} of {len(queue)}\n{_decision_text(one)}")
        answer = typer.prompt("take, leave, edit, skip or quit", default="skip").strip().lower()
        action = {"t": "take", "l": "leave", "e": "edit", "q": "quit"}.get(answer, answer)
        if action == "quit":
            return
        if action not in ("take", "leave", "edit"):
            continue
        text = typer.prompt("what the answer should have been") if action == "edit" else ""
        try:
            curation.decide(workspace, one.id, action, who, text=text, wishes=wishes)
        except UsageError as error:
            print(f"not stored: {error}")


def _decision_text(one: Decision) -> str:
    """An example as a person reads it; texts of others are shown as they are quoted, never run."""
    votes = f"{one.num_for} for, {one.num_against} against"
    lines = [f"{one.id}  {one.status}: {one.reason}", f"  why     {one.detail}" * bool(one.detail)]
    lines += [f"  asked   {_short(one.asked)}", f"  answer  {_short(one.answer)}"]
    lines += [f"  wanted  {_short(one.wanted)}  ({votes})"]
    return "\n".join(filter(None, lines))


def _short(text: str, most: int = MAX_SHOWN_CHARACTERS) -> str:
    shown = repr(text)[1:-1]
    return shown if len(shown) <= most else shown[: most - 1] + "…"
