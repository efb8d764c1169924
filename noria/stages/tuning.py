"""From a base model to your own: imported, tuned by an adapter, measured before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact, acting, file_digest, value_digest
from noria.bases.catalogue import resolve_base
from noria.bases.huggingface import weight_files
from noria.bases.importing import import_base
from noria.evaluate.compare import signed
from noria.evaluate.scores import unchanged_weights, write_scores
from noria.model.config import ModelConfig
from noria.model.cost import num_parameters, training_flops
from noria.model.weights import read_config
from noria.recipe import Recipe
from noria.records import Record
from noria.stages.lesson import (
    LATER_SETTINGS,
    Lesson,
    give_lesson,
    inspect_shards,
    obtain_choices,
    train_plan,
)
from noria.stages.measuring import (
    gap_facts,
    gap_interval,
    general_records,
    likelihoods_of,
    max_records,
    parts_by_language,
    sampled,
    score_of,
    split_records,
)
from noria.stages.stage import Facts, plain, run_stage
from noria.tokenizer.load import load_tokenizer
from noria.train.choices import choices_from_lock
from noria.train.learner import ShardRows, fresh_learner, mix_rows, open_rows
from noria.train.parallel import ALONE, Team
from noria.workspace import Workspace

LEARNING_RATE = 0.0005  # of a recipe that names none
PASSES = 2
HELD_OUT_TOKENS = 2048  # of the curve
MEASURED_TOKENS = 256


def build_base(workspace: Workspace) -> Artifact:
    """Make the recipe's base model a model folder of ours."""
    name = workspace.recipe.model.base
    workspace.watcher.begin("base")
    source = resolve_base(name, workspace.folder, workspace.cache)
    files = weight_files(source) if source.is_dir() else [source]
    workspace.watcher.progress(f"reading {source.name}", 0, 1)
    digest = value_digest([file_digest(file) for file in files])

    def make(folder: Path) -> Facts:
        return {**asdict(import_base(source, folder)), "name": name}

    return run_stage(
        workspace,
        "base",
        make,
        inputs={"source": digest},
        result=lambda facts: (
            f"{name}: {facts['num_parameters']:,} parameters, {facts['container']}, chat format "
            f"{facts['chat_format']}, weights {facts['weight_hash'][:12]}"
        ),
    )


def num_tuning_tokens(workspace: Workspace, own_tokens: int) -> int:
    """Tokens to tune on: the recipe's, or two passes over its own text, and what is replayed."""
    recipe = workspace.recipe
    share = recipe.adapter.replay_share if recipe.adapter.replay else 0.0
    return recipe.train.tokens or PASSES * round(own_tokens / (1.0 - share))


def longest_tokens(recipe: Recipe, config: ModelConfig) -> int:
    """Length of the longest row of tuning."""
    return min(recipe.model.context_tokens, config.context_tokens)


def measured_tokens(recipe: Recipe, config: ModelConfig) -> int:
    """Length of the sequences on which the speed of tuning is measured."""
    return min(longest_tokens(recipe, config), MEASURED_TOKENS)


def tuning_choices(
    workspace: Workspace, base: Artifact, num_tokens: int, team: Team = ALONE
) -> dict[str, Any]:
    """What was measured for an adapter over this base, measured now if the lock is silent."""
    recipe = workspace.recipe
    config, _ = read_config(base.path)
    length = measured_tokens(recipe, config)
    numbers = list(acting(recipe.adapter, ("base_precision",)).values())
    return obtain_choices(
        workspace,
        replace(recipe.train, compile="off"),  # rows of uneven length would be compiled each anew
        [config.to_json(), recipe.adapter.rank, list(recipe.adapter.targets), length, *numbers],
        lambda: fresh_learner(base.path, recipe.adapter, recipe.seed),
        length,
        max(1, recipe.train.batch_tokens // length),
        num_tokens,
        team,
    )


def tuning_lesson(
    workspace: Workspace, shards: Artifact, base: Artifact, team: Team = ALONE
) -> Lesson:
    """An adapter over the base, on the recipe's conversations and text, with replay."""
    recipe = workspace.recipe
    tokenizer = load_tokenizer(base.path)
    config, _ = read_config(base.path)
    context_tokens = longest_tokens(recipe, config)

    def rows(split: str, seed: int) -> ShardRows:
        return open_rows(
            shards.path / split,
            tokenizer,
            context_tokens,
            seed,
            whole=True,
            apart=recipe.train.apart,
        )

    own = rows("train", recipe.seed)
    mean_tokens = round(own.mean_tokens)
    share = recipe.adapter.replay_share if recipe.adapter.replay else 0.0
    sources = [(own, 1.0 - share)]
    if share:
        sources.append((rows("replay", recipe.seed + 2), share))
    mixture = mix_rows(sources, recipe.train.batch_tokens)
    num_tokens = num_tuning_tokens(workspace, own.num_tokens)
    num_steps = num_tokens // recipe.train.batch_tokens
    plan = train_plan(recipe.train, num_steps, LEARNING_RATE, recipe.seed)
    return Lesson(
        build=lambda: fresh_learner(base.path, recipe.adapter, recipe.seed),
        mixture=mixture,
        held_out=mix_rows([(rows("held_out", 0), 1.0)], HELD_OUT_TOKENS).batch(0),
        plan=plan,
        choices=choices_from_lock(tuning_choices(workspace, base, num_tokens, team)),
        label_smoothing=recipe.train.label_smoothing,
        settings={
            "adapter": _adapter_settings(recipe),
            "plan": plan.to_json(),
            "batch_tokens": recipe.train.batch_tokens,
            "context_tokens": context_tokens,
            "seed": recipe.seed,
            **acting(recipe.train, LATER_SETTINGS),
        },
        inputs={"tokens": shards.key, "base": base.key},
        context_tokens=context_tokens,
        num_tokens=plan.num_steps * recipe.train.batch_tokens,
        flops_per_token=training_flops(config, mean_tokens, frozen=True) / mean_tokens,
        tokenizer=base.path,
        base=base.path,
        base_name=recipe.model.base,
        summary=(
            f"an adapter of rank {recipe.adapter.rank} over {num_parameters(config):,} frozen "
            f"weights, {plan.num_steps:,} steps of {sum(mixture.counts)} sequences"
        ),
    )


def tune_base(
    workspace: Workspace, shards: Artifact, base: Artifact, team: Team = ALONE
) -> Artifact:
    """Train an adapter over the base on the recipe's conversations and text, with replay."""
    workspace.watcher.begin("train")
    config, _ = read_config(base.path)
    context_tokens = longest_tokens(workspace.recipe, config)
    inspect_shards(workspace, shards, load_tokenizer(base.path), context_tokens, whole=True)
    return give_lesson(
        workspace,
        tuning_lesson(workspace, shards, base, team),
        team,
        lambda facts: (
            f"{facts['num_trained_parameters']:,} of {facts['num_parameters']:,} parameters, "
            f"about {facts['num_tokens']:,} tokens, last loss {facts['losses'][-1]['loss']:.3f}, "
            f"weights {facts['weight_hash'][:12]}"
        ),
    )


def _adapter_settings(recipe: Recipe) -> dict[str, Any]:
    """What of the adapter's settings decides the weights; a later one only where it acts."""
    settings = {**plain(recipe.adapter), "general": []}  # only measured on
    del settings["base_precision"]
    return settings | acting(recipe.adapter, ("base_precision",))


def evaluate_tuned(
    workspace: Workspace, corpus: Artifact, base: Artifact, tuned: Artifact
) -> Artifact:
    """Base and tuned model on held-out records and on general text: what was gained and lost."""
    seed = workspace.recipe.seed
    hashes = tuned.facts["weight_hash"], base.facts["weight_hash"]
    if warning := unchanged_weights(*hashes, "the tuned model", "its base"):
        workspace.watcher.say(warning)
    general, general_digest = general_records(workspace)

    def make(folder: Path) -> Facts:
        held_out = sampled(split_records(corpus, "held_out", base), max_records(workspace.recipe))
        sets: dict[str, Sequence[Record]] = {"corpus": held_out}
        if general:
            sets["general"] = general
        scores = []
        gaps: dict[str, Any] = {}
        parts: dict[str, Any] = {}
        for name, records in sets.items():
            before = likelihoods_of(workspace, base, records, f"base on {name}")
            after = likelihoods_of(workspace, tuned, records, f"tuned model on {name}")
            for artifact, found in ((tuned, after), (base, before)):
                metric, weights = f"{name}.bits_per_byte", artifact.facts["weight_hash"]
                lock = artifact.manifest.lock
                scores.append(score_of(metric, found, weights, records, seed, lock))
            gaps[name] = gap_facts(after, before, seed)
            parts |= parts_by_language(name, records, after, before, seed)
        write_scores(folder / "scores.json", scores)
        return {
            "model": scores[0].value,
            "rival": scores[1].value,
            "gaps": gaps,
            "parts": parts,
            "num_records": len(held_out),
        }

    return run_stage(
        workspace,
        "evaluate",
        make,
        settings={"seed": seed, "max_records": max_records(workspace.recipe)},
        inputs={
            "model": tuned.key,
            "base": base.key,
            "corpus": corpus.key,
            "general": general_digest,
        },
        result=_evaluated_line,
    )


def _evaluated_line(facts: Mapping[str, Any]) -> str:
    gap = gap_interval(facts["gaps"]["corpus"])
    line = (
        f"held-out records {facts['model']:.3f} bits per byte, base {facts['rival']:.3f} "
        f"({signed(gap.value)}, 95% {signed(gap.low)} to {signed(gap.high)})"
    )
    if "general" not in facts["gaps"]:
        return line
    lost = gap_interval(facts["gaps"]["general"])
    return f"{line}; general text {signed(lost.value)} ({signed(lost.low)} to {signed(lost.high)})"
