"""A recipe before it runs: its mistakes, its files, what it will cost.

Time is estimated by training a few real steps of the real shape on this machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from noria.corpus.clean import Choices
from noria.corpus.contents import record_text
from noria.corpus.deidentify import require_names
from noria.corpus.language import language_namer
from noria.corpus.read import Quarantined, SourceFile, Wanted, read_file
from noria.errors import (
    FormatError,
    InputError,
    MissingExtra,
    NoriaError,
    Problem,
    RecipeError,
    UsageError,
)
from noria.evaluate.safety import read_safety
from noria.model.adapted import TARGETS
from noria.model.cost import (
    BatchShape,
    num_adapter_parameters,
    num_parameters,
    training_memory_bytes,
)
from noria.model.weights import read_config
from noria.records import Conversation, Document
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
from noria.tokenizer.extend import can_learn_from, check_extendable, nothing_to_learn
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.specials import TOKENIZER_FILE
from noria.train.choices import choices_from_lock
from noria.workspace import Workspace

BYTES_PER_TOKEN = 3.8  # of English with a few thousand tokens; only until a tokenizer is trained
DOCUMENTS = Wanted(shape="document")
EVALUATION = "corpus.evaluation"  # read, but no text of the corpus
WANTED = {
    EVALUATION: Wanted(),
    "corpus.synthetic": Wanted(),
    "corpus.tagged": Wanted(shape="document", format="tagged"),
    "corpus.conversations": Wanted(shape="conversation"),
    "feedback.simulate_chats": Wanted(shape="conversation"),
}
TORCH_BYTES = 450_000_000  # resident size of a process that has loaded torch and this package


def check_recipe(workspace: Workspace) -> dict[str, Any]:
    """Open every file that the recipe names and estimate its cost.

    Raises RecipeError with every file that is missing, empty or unreadable, every library that is
    not installed, and a vocabulary that can't grow; UsageError if names have to go and nothing
    here finds them.
    """
    recipe = workspace.recipe
    require_names(recipe.corpus, personal=recipe.simulates_users)
    problems = _missing_libraries(workspace)
    found: dict[str, tuple[tuple[str, ...], Wanted]] = {
        where: (globs, WANTED.get(where, DOCUMENTS))
        for where, globs in (
            ("corpus.documents", recipe.corpus.documents),
            ("corpus.tagged", recipe.corpus.tagged),
            ("corpus.conversations", recipe.corpus.conversations),
            ("corpus.synthetic", recipe.corpus.synthetic),
            (EVALUATION, recipe.corpus.evaluation),
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
        found[f"tasks.{name}.held_out"] = task.held_out, wanted
        found[f"tasks.{name}.unlabelled"] = task.unlabelled, DOCUMENTS
    sizes = {
        where: _check_files(workspace, where, globs, wanted, problems)
        for where, (globs, wanted) in found.items()
    }
    problems += _check_safety(workspace)
    of_corpus = [
        size
        for where, size in sizes.items()
        if where.startswith(("corpus.", "sources.")) and where != EVALUATION
    ]
    if not problems and recipe.tokenizer.extend:
        problems += _check_extension(workspace, any(size.chinese for size in of_corpus))
    if problems:
        raise RecipeError(problems)
    minutes = {name: task.minutes for name, task in recipe.tasks.items()}
    task_bytes = sum(size.num_bytes for where, size in sizes.items() if where.startswith("tasks."))
    tasks = {"task_minutes": minutes, "task_bytes": task_bytes, "machine": machine_name()}
    if not recipe.has_text:
        return tasks
    return tasks | _estimate(workspace, sum(size.num_bytes for size in of_corpus))


def _check_safety(workspace: Workspace) -> list[Problem]:
    """The files of safety prompts that can't be read."""
    problems = []
    for glob in workspace.recipe.gate.safety:
        try:
            for file in source_files(workspace, [glob]):
                read_safety(file.path)
        except (InputError, FormatError) as error:
            problems.append(_problem(workspace, "gate.safety", repr(glob), error))
    return problems


@dataclass
class _Size:
    """What files hold: their bytes, and whether there is Chinese to train on in them."""

    num_bytes: int = 0
    chinese: bool = False


def _missing_libraries(workspace: Workspace) -> list[Problem]:
    """The settings of the corpus that need what is not installed."""
    settings = workspace.recipe.corpus
    needs: dict[str, Callable[[], object]] = {
        "mojibake": Choices(mojibake=settings.mojibake).check,
        "chinese": Choices(chinese=settings.chinese).check,
        "language": lambda: language_namer(settings.language),
    }
    problems = []
    for name, look in needs.items():
        try:
            look()
        except MissingExtra as error:
            value = repr(getattr(settings, name))
            problems.append(_problem(workspace, f"corpus.{name}", value, error))
    return problems


def _check_extension(workspace: Workspace, chinese: bool) -> list[Problem]:
    """What stands against new tokens, before hours of preparation."""
    base = build_base(workspace)
    text = (base.path / TOKENIZER_FILE).read_text(encoding="utf-8")
    try:
        check_extendable(load_tokenizer(base.path), text)
        if not chinese:
            raise nothing_to_learn()
    except UsageError as error:
        value = str(workspace.recipe.tokenizer.extend)
        return [_problem(workspace, "tokenizer.extend", value, error)]
    return []


def _problem(workspace: Workspace, where: str, value: str, error: NoriaError) -> Problem:
    """A mistake, at the line of the recipe that begins with the setting's name."""
    text = workspace.recipe_path.read_text(encoding="utf-8")
    key = where.rsplit(".", 1)[1]
    line = next((i for i, t in enumerate(text.splitlines(), 1) if t.strip().startswith(key)), 1)
    return Problem(str(workspace.recipe_path), line, where, value, str(error))


def _check_files(
    workspace: Workspace,
    where: str,
    globs: tuple[str, ...],
    wanted: Wanted,
    problems: list[Problem],
) -> _Size:
    """Read every record of the files once; returns what they hold.

    A file that gives no record is a mistake, of which the first of a glob is told, and so is each
    extra that is missing; what else can't be read is said.
    """
    size = _Size()
    for glob in globs:
        told: dict[str, Problem] = {}
        try:
            for file in source_files(workspace, [glob]):
                workspace.watcher.progress(f"reading {file.name}", 0, 1)
                size.num_bytes += file.path.stat().st_size
                try:
                    _check_file(workspace, file, wanted, size)
                except MissingExtra as error:
                    told.setdefault(error.fix, _problem(workspace, where, repr(glob), error))
        except (InputError, MissingExtra) as error:
            told.setdefault(error.fix, _problem(workspace, where, repr(glob), error))
        problems += told.values()
    return size


def _check_file(workspace: Workspace, file: SourceFile, wanted: Wanted, size: _Size) -> None:
    """Read a file and say what of it can't be. Raises InputError if that is all of it."""
    extends = workspace.recipe.tokenizer.extend > 0
    num_records, num_lost, first = 0, 0, None
    for found in read_file(file, wanted, lambda shape, how: None):
        if isinstance(found, Quarantined):
            num_lost += 1
            first = first or found
        else:
            num_records += 1
            if extends and not size.chinese and isinstance(found, Document | Conversation):
                size.chinese = can_learn_from(record_text(found))
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
        if recipe.tokenizer.extend:
            longer = load_tokenizer(base.path).vocab_size + recipe.tokenizer.extend
            config = replace(config, vocab_size=max(config.vocab_size, longer))
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
    choices = choices_from_lock(entry)
    turn_tokens = 2 * recipe.improve.steps * recipe.train.batch_tokens
    turns = turn_tokens if recipe.simulates_users else 0
    micro_batch = BatchShape(choices.micro_batch_sequences * choices.parts_at_once, row_tokens)
    needed_bytes = training_memory_bytes(
        config,
        micro_batch,
        optimizer=recipe.train.optimizer,
        num_trained_parameters=num_trained,
    )
    model_bytes = 4 * num_parameters(config)
    # The clean parts with 8 bytes a word, and the corpus; then the shards and checkpoints.
    disk_bytes = 4 * corpus_bytes + 3 * 2 * corpus_tokens + 6 * model_bytes
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


def describe_estimate(estimate: dict[str, Any]) -> str:
    """The estimate as a few lines for people."""
    lines = ["no mistakes found"]
    if "train_s" in estimate:
        lines.append(_language_model(estimate))
    for name, minutes in estimate["task_minutes"].items():
        lines.append(f"  task      {name}: {minutes:g} minutes of training at most")
    lines.append(f"  machine   {estimate['machine']}")
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
