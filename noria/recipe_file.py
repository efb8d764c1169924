"""The one file that describes a loop: TOML in, a recipe out, all mistakes in one error.

Whether a file that a recipe names exists is a question for `noria check`, not for this module.
"""

from __future__ import annotations

import re
from pathlib import Path

from noria.errors import InputError, RecipeError
from noria.recipe import (
    NAME_PATTERN,
    REQUIREMENT_PATTERN,
    SAFETY_SET,
    TEXT_METRICS,
    AdapterSettings,
    Recipe,
)
from noria.task_settings import BASELINE, TASK_SHAPES, TASK_WAYS, WAYS_OVER_BASE, TaskSettings
from noria.text_settings import ROLES
from noria.toml_tables import TableReader, parse_toml


def _cross_checks(recipe: Recipe, reader: TableReader) -> None:
    """Mistakes that only show when two settings are seen together."""
    corpus = recipe.corpus
    if not recipe.has_text and not recipe.tasks:
        reader.problem("corpus", "no text", 'name your files: documents = ["texts/**/*.txt"]')
    if corpus.names == "replace" and corpus.identities == "keep":
        fix = 'names go only where identities do: identities = "replace", or names = "off"'
        reader.problem("corpus.names", corpus.names, fix)
    if corpus.held_out + corpus.test >= 0.9:
        reader.problem("corpus.held_out", corpus.held_out, "held_out + test must stay below 0.9")
    named = {
        "corpus.documents": corpus.documents,
        "corpus.tagged": corpus.tagged,
        "corpus.conversations": corpus.conversations,
        "adapter.replay": recipe.adapter.replay,
        "adapter.general": recipe.adapter.general,
        "feedback.simulate": recipe.feedback.simulate,
        "feedback.simulate_chats": recipe.feedback.simulate_chats,
        "gate.frozen": recipe.gate.frozen,
        "gate.safety": recipe.gate.safety,
        **{f"sources.{name}.files": one.files for name, one in recipe.sources.items()},
        **{
            f"tasks.{name}.{what}": getattr(one, what)
            for name, one in recipe.tasks.items()
            for what in ("files", "test", "held_out", "unlabelled")
        },
    }
    _check_sources(recipe, reader)
    for name, task in recipe.tasks.items():
        _check_task(name, task, reader)
    if recipe.feedback.simulate and recipe.feedback.simulate_chats:
        reader.problem("feedback.simulate_chats", "…", "simulate passages or chats, not both")
    _check_gate(recipe, reader)
    _check_patterns(recipe, reader)
    if any(one.startswith("general.") for one in recipe.gate.require) and not (
        recipe.model.base and recipe.adapter.general
    ):
        reader.problem("gate.require", "general.…", 'name the text: adapter.general = ["*.txt"]')
    if recipe.model.base:
        for path in ("model.preset", "tokenizer.vocab_size", "tokenizer.kind"):
            if path in reader.lines:
                reader.problem(path, "…", "leave it out: a base has its own")
        if recipe.train.compile == "on":
            reader.problem("train.compile", "on", "leave it out: over a base nothing is compiled")
    elif recipe.export.gguf:
        fix = "leave it out: llama.cpp has no rule for a tokenizer of Noria's own"
        reader.problem("export.gguf", True, fix)
    if recipe.tokenizer.kind == "wordpiece" and recipe.tokenizer.vocab_size < 556:
        size = recipe.tokenizer.vocab_size
        reader.problem("tokenizer.vocab_size", size, "wordpiece needs 556 for the bytes alone")
    if recipe.tokenizer.extend and not recipe.model.base:
        fix = 'leave it out, or name the base that it is for: [model] base = "…"'
        reader.problem("tokenizer.extend", recipe.tokenizer.extend, fix)
    if recipe.adapter != AdapterSettings() and not recipe.model.base:
        reader.problem("adapter", "…", 'name the base that it is for: [model] base = "…"')
    if any(one.startswith("frozen.") for one in recipe.gate.require) and not recipe.gate.frozen:
        reader.problem("gate.require", "frozen.…", 'name the text: frozen = ["wanted/*.txt"]')
    search = recipe.search
    for name in ("learning_rate", "weight_decay", "warmup", "label_smoothing", "dropout"):
        bounds = getattr(search, name)
        if bounds and not (len(bounds) == 2 and bounds[0] < bounds[1]):
            reader.problem(f"search.{name}", list(bounds), "write two: [lowest, highest]")
    if recipe.model.base and (search.dropout or recipe.train.dropout):
        path = "search.dropout" if search.dropout else "train.dropout"
        reader.problem(path, "…", "leave it out: an adapter is trained without dropout")
    for path, globs in named.items():
        for glob in globs:
            match = re.fullmatch(r"package:([^/]+)/.+", glob)
            if glob.startswith("package:") and (not match or match[1] not in recipe.packages):
                known = ", ".join(recipe.packages) or "none"
                reader.problem(path, glob, f"no such package in the recipe; known: {known}")
    if recipe.train.batch_tokens < recipe.model.context_tokens:
        reader.problem(
            "train.batch_tokens",
            recipe.train.batch_tokens,
            f"expected at least model.context_tokens ({recipe.model.context_tokens})",
        )


def _check_sources(recipe: Recipe, reader: TableReader) -> None:
    """Mistakes of the sources: a role that no shape has, or one of another shape."""
    for name, source in recipe.sources.items():
        shapes = [source.shape] if source.shape else list(ROLES)
        known = list(dict.fromkeys(role for shape in shapes for role in ROLES[shape]))
        for role in source.columns:
            if role not in known:
                fix = f"no role of {source.shape or 'any shape'}; known: {', '.join(known)}"
                reader.problem(f"sources.{name}.columns", role, fix)
        if not source.files:
            reader.problem(f"sources.{name}.files", [], 'name its files: files = ["…/*.jsonl"]')


def _check_gate(recipe: Recipe, reader: TableReader) -> None:
    """Requirements on sets that the recipe doesn't have, or that ask for the wrong direction."""
    known = (*TEXT_METRICS, *recipe.tasks)
    for one in recipe.gate.require:
        match = REQUIREMENT_PATTERN.fullmatch(one)
        if match is None:
            continue  # the setting's own pattern says so
        family, _, metric = match["metric"].partition(".")
        if family not in known:
            reader.problem("gate.require", one, f"begin with one of {', '.join(known)}")
        elif family in TEXT_METRICS and (metric, match["relation"][0]) != TEXT_METRICS[family]:
            name, way = TEXT_METRICS[family]
            better = "lower" if way == "<" else "higher"
            fix = f"of text there is {family}.{name}, and {better} is better: {way}= or {way}"
            reader.problem("gate.require", one, fix)
        elif family == SAFETY_SET and not recipe.gate.safety:
            fix = 'name the prompts: safety = ["safety.jsonl"]'
            reader.problem("gate.require", one, fix)
    for name in recipe.tasks:
        if name in TEXT_METRICS:
            reader.problem(f"tasks.{name}", name, "another name: [gate] means the text by this one")


def _check_patterns(recipe: Recipe, reader: TableReader) -> None:
    """Patterns of the server's policy that are no regular expressions."""
    for name in ("refused_prompts", "refused_answers"):
        for one in getattr(recipe.serve, name):
            try:
                re.compile(one)
            except re.error as error:
                fix = f"expected a regular expression of Python ({error})"
                reader.problem(f"serve.{name}", one, fix)


def _check_task(name: str, task: TaskSettings, reader: TableReader) -> None:
    """Mistakes of an application: what its kind does not have, a way that lacks its base."""
    where = f"tasks.{name}"
    if not NAME_PATTERN.fullmatch(name):
        reader.problem(where, name, "name it with small letters, digits, - and _, such as intent")
    if not task.files:
        reader.problem(f"{where}.files", [], 'name its files: files = ["intents.csv"]')
    roles = ROLES[TASK_SHAPES[task.kind]]
    for role in task.columns:
        if role not in roles:
            fix = f"no role of {task.kind}; known: {', '.join(roles)}"
            reader.problem(f"{where}.columns", role, fix)
    if task.kind != "classify":
        for key in ("out_of_scope", "answered_right"):
            if getattr(task, key):
                fix = f"leave it out: {task.kind} has no class to abstain from"
                reader.problem(f"{where}.{key}", getattr(task, key), fix)
    for way in task.ways:
        if way not in TASK_WAYS[task.kind]:
            fix = f"no way of {task.kind}; known: {', '.join(TASK_WAYS[task.kind])}"
            reader.problem(f"{where}.ways", way, fix)
        elif way in WAYS_OVER_BASE and not task.base:
            reader.problem(f"{where}.ways", way, f'name what it starts from: [{where}] base = "…"')
    if task.ways and BASELINE not in task.ways:
        fix = f"add {BASELINE!r}: everything else is measured against it"
        reader.problem(f"{where}.ways", list(task.ways), fix)


def parse_recipe(text: str, file: str = "noria.toml") -> Recipe:
    """Parse a recipe. Raises RecipeError with every mistake, each with its line and its fix."""
    reader = TableReader(file, text)
    table = parse_toml(text, file)
    recipe = reader.section(Recipe, table, "")
    if recipe is not None:
        _cross_checks(recipe, reader)
    if recipe is None or reader.problems:
        raise RecipeError(sorted(reader.problems, key=lambda p: p.line))
    return recipe


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. Raises InputError if it can't be read, RecipeError for its mistakes."""
    if path.is_dir():
        raise InputError(f"{path} is a folder", "a recipe", f"name it: {path}/noria.toml")
    if not path.is_file():
        raise InputError(
            f"{path} does not exist", "a recipe", "write one with: noria init my-model"
        )
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start})", "a TOML file in UTF-8", "save it as UTF-8"
        ) from error
    return parse_recipe(text, str(path))
