"""From token shards to trained weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from noria.artifacts import Artifact, acting
from noria.errors import UsageError
from noria.model.config import ModelConfig
from noria.model.cost import (
    BatchShape,
    num_parameters,
    training_flops,
    training_memory_bytes,
)
from noria.model.presets import preset
from noria.model.styles import Dropout
from noria.model.transformer import build_decoder
from noria.runtime import memory_bytes
from noria.stages.lesson import (
    LATER_SETTINGS,
    Lesson,
    give_lesson,
    inspect_shards,
    obtain_choices,
    train_plan,
)
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.pack import open_shard
from noria.train.batch import TokenBatch
from noria.train.batches import Blocks, Mixture
from noria.train.choices import choices_from_lock
from noria.train.parallel import ALONE, Team
from noria.workspace import Workspace

HELD_OUT_SEQUENCES = 64
TOKENS_PER_PARAMETER = 20  # Hoffmann et al., 2022, "Training Compute-Optimal Large Language Models"
LEARNING_RATE = 0.003  # of a recipe that names none
MAX_PASSES = 4  # beyond, repeated text teaches little: Muennighoff et al., 2023


def model_config(workspace: Workspace, vocab_size: int) -> ModelConfig:
    """The model's shape, from the recipe's one dial and the tokenizer's vocabulary.

    Raises UsageError for a model that does not continue text, or that this machine has no memory
    for.
    """
    model = workspace.recipe.model
    config = preset(model.preset, vocab_size, model.context_tokens)
    if config.family != "decoder":
        raise UsageError(
            f"model.preset = {model.preset!r}, a model of family {config.family!r}",
            "a decoder: this recipe trains a model that continues text",
            "choose a decoder preset, such as decoder-10m",
        )
    one_row = BatchShape(num_rows=1, num_tokens=config.context_tokens)
    optimizer = workspace.recipe.train.optimizer
    dropped = workspace.recipe.train.dropout
    if dropped:
        config = replace(config, dropout=Dropout(hidden=dropped, attention=dropped))
    needed_bytes = training_memory_bytes(config, one_row, optimizer=optimizer)
    if needed_bytes > memory_bytes():
        raise UsageError(
            f"model.preset = {model.preset!r} needs about {needed_bytes / 2**30:,.1f} GiB to train",
            f"at most the {memory_bytes() / 2**30:.0f} GiB of this machine",
            "choose a smaller preset or a shorter model.context_tokens",
        )
    return config


def num_train_tokens(workspace: Workspace, config: ModelConfig, corpus_tokens: int) -> int:
    """Tokens to train on: the recipe's, or 20 a parameter but at most 4 passes."""
    wanted = workspace.recipe.train.tokens
    return wanted or min(TOKENS_PER_PARAMETER * num_parameters(config), MAX_PASSES * corpus_tokens)


def locked_choices(
    workspace: Workspace, config: ModelConfig, num_tokens: int, team: Team = ALONE
) -> dict[str, Any]:
    """What was measured for this shape on this machine, measured now if the lock is silent."""
    train = workspace.recipe.train
    return obtain_choices(
        workspace,
        train,
        [config.to_json()],
        lambda: build_decoder(config, 0),
        config.context_tokens,
        max(1, train.batch_tokens // config.context_tokens),
        num_tokens,
        team,
    )


def _held_out_batch(shards: Artifact, config: ModelConfig, end_id: int, micro: int) -> TokenBatch:
    """A fixed batch of held-out text, in whole micro-batches, for the curve."""
    blocks = Blocks(open_shard(shards.path / "held_out"), config.context_tokens, end_id, 0)
    num_sequences = max(micro, min(HELD_OUT_SEQUENCES, blocks.num_blocks) // micro * micro)
    return Mixture([(blocks, 1.0)], num_sequences).batch(0)


def scratch_lesson(
    workspace: Workspace, shards: Artifact, tokenizer: Artifact, team: Team = ALONE
) -> Lesson:
    """The recipe's Transformer, from random weights, on blocks of running text."""
    recipe = workspace.recipe
    loaded = load_tokenizer(tokenizer.path)
    config = model_config(workspace, loaded.vocab_size)
    num_tokens = num_train_tokens(workspace, config, shards.facts["train"]["num_trained_tokens"])
    choices = choices_from_lock(locked_choices(workspace, config, num_tokens, team))
    num_sequences = max(1, recipe.train.batch_tokens // config.context_tokens)
    num_steps = num_tokens // (num_sequences * config.context_tokens)
    plan = train_plan(recipe.train, num_steps, LEARNING_RATE, recipe.seed)
    train_shard = open_shard(shards.path / "train")
    blocks = Blocks(
        train_shard, config.context_tokens, loaded.end_id, recipe.seed, apart=recipe.train.apart
    )
    return Lesson(
        build=lambda: build_decoder(config, recipe.seed),
        mixture=Mixture([(blocks, 1.0)], num_sequences),
        held_out=_held_out_batch(shards, config, loaded.end_id, choices.micro_batch_sequences),
        plan=plan,
        choices=choices,
        label_smoothing=recipe.train.label_smoothing,
        settings={
            "config": config.to_json(),
            "plan": plan.to_json(),
            "batch_sequences": num_sequences,
            "seed": recipe.seed,
            **acting(recipe.train, LATER_SETTINGS),
        },
        inputs={"tokens": shards.key, "tokenizer": tokenizer.key},
        context_tokens=config.context_tokens,
        num_tokens=plan.num_steps * num_sequences * config.context_tokens,
        flops_per_token=training_flops(config, config.context_tokens) / config.context_tokens,
        tokenizer=tokenizer.path,
        base=None,
        base_name="",
        summary=(
            f"{num_parameters(config):,} parameters "
            f"({config.num_layers} layers, width {config.width}, {config.num_heads} heads), "
            f"{plan.num_steps:,} steps of {num_sequences * config.context_tokens:,} tokens"
        ),
    )


def train_model(
    workspace: Workspace, shards: Artifact, tokenizer: Artifact, team: Team = ALONE
) -> Artifact:
    """Train the recipe's Transformer from random weights."""
    workspace.watcher.begin("train")
    context_tokens = workspace.recipe.model.context_tokens
    loaded = load_tokenizer(tokenizer.path)
    inspect_shards(workspace, shards, loaded, context_tokens, whole=False)
    return give_lesson(
        workspace,
        scratch_lesson(workspace, shards, tokenizer, team),
        team,
        lambda facts: (
            f"{facts['num_parameters']:,} parameters, {facts['num_tokens']:,} tokens, "
            f"last loss {facts['losses'][-1]['loss']:.3f}, weights {facts['weight_hash'][:12]}"
        ),
    )
