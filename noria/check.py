"""A recipe before it runs: its mistakes, its files, what it will cost.

Time is estimated by training a few real steps of the real shape on this machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from noria.corpus.deidentify import require_names
from noria.corpus.read import Quarantined, SourceFile, Wanted, read_file
from noria.errors import InputError, NoriaError, Problem, RecipeError
from noria.model.adapted import TARGETS
from noria.model.cost import (
    BatchShape,
    num_adapter_parameters,
    num_parameters,
    training_memory_bytes,
)
from noria.model.weights import read_config
from noria.runtime import machine_name, memory_bytes
from noria.stages.reading import source_files
from noria.stages.task_data import wanted_of
from noria.stages.training import locked_choices, model_config, num_train_tokens
from noria.stages.tuning import (
    build_base,
    measured_tokens,
    num_tuning_tokens,
    tuning_choices,
)
from noria.train.choices import choices_from_lock
from noria.workspace import Workspace

BYTES_PER_TOKEN = 3.8  # of English with a few thousand tokens; only until a tokenizer is trained
DOCUMENTS = Wanted(shape="document")
WANTED = {
    "corpus.tagged": Wanted(shape="document", format="tagged"),
    "corpus.conversations": Wanted(shape="conversation"),
    "feedback.simulate_chats": Wanted(shape="conversation"),
}
TORCH_BYTES = 450_000_000  # resident size of a process that has loaded torch and this package


def check_recipe(workspace: Workspace) -> dict[str, Any]:
    """Open every file that the recipe names and estimate its cost.

    Raises RecipeError with every file that is missing, empty or unreadable; UsageError if names
    have to go and nothing here finds them.
    """
    recipe = workspace.recipe
    require_names(recipe.corpus, personal=recipe.simulates_users)
    problems: list[Problem] = []
    found: dict[str, tuple[tuple[str, ...], Wanted]] = {
        where: (globs, WANTED.get(where, DOCUMENTS))
        for where, globs in (
            ("corpus.documents", recipe.corpus.documents),
            ("corpus.tagged", recipe.corpus.tagged),
            ("corpus.conversations", recipe.corpus.conversations),
            ("adapter.replay", recipe.adapter.replay),
            ("adapter.general", recipe.adapter.general),
            ("feedback.simulate", recipe.feedback.simulate),
            ("feedback.simulate_chats", recipe.feedback.simulate_chats),
            ("gate.frozen", recipe.gate.frozen),
        )
    }
    for name, one in recipe.sources.items():
        wanted = Wanted(one.shape, one.format, one.columns, one.encoding, one.group)
        found[f"sources.{name}.files"] = one.files, wanted
    for name, task in recipe.tasks.items():
        wanted = wanted_of(task)
        found[f"tasks.{name}.files"] = task.files, wanted
        found[f"tasks.{name}.test"] = task.test, wanted
        found[f"tasks.{name}.unlabelled"] = task.unlabelled, DOCUMENTS
    sizes = {
        where: _check_files(workspace, where, globs, wanted, problems)
        for where, (globs, wanted) in found.items()
    }
    if problems:
        raise RecipeError(problems)
    texts = ("corpus.", "sources.")
    corpus_bytes = sum(size for where, size in sizes.items() if where.startswith(texts))
    minutes = {name: task.minutes for name, task in recipe.tasks.items()}
    task_bytes = sum(size for where, size in sizes.items() if where.startswith("tasks."))
    tasks = {"task_minutes": minutes, "task_bytes": task_bytes, "machine": machine_name()}
    return tasks | (_estimate(workspace, corpus_bytes) if recipe.has_text else {})


def _check_files(
    workspace: Workspace,
    where: str,
    globs: tuple[str, ...],
    wanted: Wanted,
    problems: list[Problem],
) -> int:
    """Read every record of the files once; returns their bytes.

    A file that gives no record is a mistake; what else can't be read is said.
    """
    num_bytes = 0
    text = workspace.recipe_path.read_text(encoding="utf-8")
    key = where.rsplit(".", 1)[1]
    line = next((i for i, t in enumerate(text.splitlines(), 1) if t.strip().startswith(key)), 1)
    for glob in globs:
        try:
            for file in source_files(workspace, [glob]):
                workspace.watcher.progress(f"reading {file.name}", 0, 1)
                num_bytes += file.path.stat().st_size
                _check_file(workspace, file, wanted)
        except InputError as error:
            file_name = str(workspace.recipe_path)
            problems.append(Problem(file_name, line, where, repr(glob), str(error)))
    return num_bytes


def _check_file(workspace: Workspace, file: SourceFile, wanted: Wanted) -> None:
    """Read a file and say what of it can't be. Raises InputError if that is all of it."""
    num_records, num_lost, first = 0, 0, None
    for found in read_file(file, wanted, lambda shape, how: None):
        if isinstance(found, Quarantined):
            num_lost += 1
            first = first or found
        else:
            num_records += 1
    if first is None:
        return
    place = f"{first.file}:{first.line}" if first.line else first.file
    if not num_records:
        raise InputError(f"{place}: {first.reason}")
    workspace.watcher.say(f"{num_lost:,} in quarantine, the first {place}: {first.reason}")


def _estimate(workspace: Workspace, corpus_bytes: int) -> dict[str, Any]:
    recipe = workspace.recipe
    corpus_tokens = max(1, int(corpus_bytes / BYTES_PER_TOKEN * (1 - recipe.corpus.held_out)))
    if recipe.model.base:
        base = build_base(workspace)
        config, _ = read_config(base.path)
        num_tokens = num_tuning_tokens(workspace, corpus_tokens)
        entry = tuning_choices(workspace, base, num_tokens)
        row_tokens = measured_tokens(recipe, config)
        layers = [TARGETS[target] for target in recipe.adapter.targets]
        num_trained = num_adapter_parameters(config, recipe.adapter.rank, layers)
    else:
        config = model_config(workspace, recipe.tokenizer.vocab_size)
        num_tokens = num_train_tokens(workspace, config, corpus_tokens)
        entry = locked_choices(workspace, config, num_tokens)
        row_tokens = config.context_tokens
        num_trained = num_parameters(config)
    choices_from_lock(entry)
    turn_tokens = 2 * recipe.improve.steps * recipe.train.batch_tokens
    turns = turn_tokens if recipe.simulates_users else 0
    micro_batch = BatchShape(entry["micro_batch_sequences"], row_tokens)
    needed_bytes = training_memory_bytes(
        config,
        micro_batch,
        optimizer=recipe.train.optimizer,
        num_trained_parameters=num_trained,
    )
    model_bytes = 4 * num_parameters(config)
    disk_bytes = 2 * corpus_bytes + 3 * 2 * corpus_tokens + 6 * model_bytes
    free_bytes = shutil.disk_usage(workspace.root).free
    if free_bytes < disk_bytes:
        raise NoriaError(
            f"{free_bytes / 1e9:.2f} GB free under {workspace.root}",
            f"about {disk_bytes / 1e9:.2f} GB",
            "free some space or choose another folder with --store",
        )
    return {
        "machine": machine_name(),
        "corpus_bytes": corpus_bytes,
        "num_parameters": num_parameters(config),
        "train_tokens": num_tokens,
        "tokens_per_s": entry["tokens_per_s"],
        "train_s": round(num_tokens / entry["tokens_per_s"], 1),
        "improve_s": round(turns / entry["tokens_per_s"], 1),
        "memory_bytes": TORCH_BYTES + needed_bytes,
        "memory_here_bytes": memory_bytes(),
        "disk_bytes": disk_bytes,
        "disk_free_bytes": free_bytes,
    }


def describe_estimate(estimate: dict[str, Any], recipe: Path) -> str:
    """The estimate as a few lines for people."""
    lines = ["no mistakes found"]
    if "train_s" in estimate:
        lines.append(_language_model(estimate))
    for name, minutes in estimate["task_minutes"].items():
        lines.append(f"  task      {name}: {minutes:g} minutes of training at most")
    lines += [f"  machine   {estimate['machine']}", f"next: noria run {recipe}"]
    return "\n".join(lines)


def _language_model(estimate: dict[str, Any]) -> str:
    return (
        f"  text      {estimate['corpus_bytes'] / 1e6:.2f} MB\n"
        f"  model     {estimate['num_parameters']:,} parameters\n"
        f"  training  {estimate['train_tokens']:,} tokens at {estimate['tokens_per_s']:,.0f} a "
        f"second: about {estimate['train_s'] / 60:.1f} minutes, "
        f"challenger and control {estimate['improve_s'] / 60:.1f}\n"
        f"  memory    about {estimate['memory_bytes'] / 2**30:.2f} GiB of "
        f"{estimate['memory_here_bytes'] / 2**30:.0f}\n"
        f"  disk      about {estimate['disk_bytes'] / 1e6:.0f} MB of "
        f"{estimate['disk_free_bytes'] / 1e9:.0f} GB free"
    )
