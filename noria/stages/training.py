"""From token shards to trained weights."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from noria.artifacts import Artifact, value_digest
from noria.baselines.ngram import train_ngram
from noria.errors import UsageError
from noria.improve.challenger import TOKENIZER_FILES
from noria.model.config import ModelConfig
from noria.model.cost import BatchShape, num_parameters, training_memory_bytes
from noria.model.presets import preset
from noria.model.styles import Dropout
from noria.model.transformer import Decoder, build_decoder
from noria.recipe import TrainSettings
from noria.runtime import detect_device, memory_bytes, release_memory
from noria.stages.stage import Facts, run_stage
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.pack import open_shard
from noria.tracking import MetricsLog
from noria.train.batch import TokenBatch, full_batch
from noria.train.batches import Blocks, Mixture
from noria.train.choices import choices_from_lock, measure_choices
from noria.train.learner import save_learner
from noria.train.loop import Choices, StepReport, TrainPlan, train
from noria.train.objectives.losses import next_token
from noria.train.preflight import inspect_tokens, raise_fatal, rehearse
from noria.workspace import Workspace

NGRAM_ORDER = 5
NGRAM_TUNING_SHARE = 0.05
DISCOUNT_SCALES = (0.9, 1.0, 1.1)
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


def locked_choices(workspace: Workspace, config: ModelConfig, num_tokens: int) -> dict[str, Any]:
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
    )


def obtain_choices(
    workspace: Workspace,
    train: TrainSettings,
    shape: list[Any],
    build: Callable[[], Decoder],
    context_tokens: int,
    num_sequences: int,
    num_tokens: int,
) -> dict[str, Any]:
    """The lock's entry for training a model of this shape, on a model that `build` makes."""
    asked = [train.batch_tokens, train.precision, train.compile, train.optimizer]
    question = value_digest([*shape, *asked])[:16]

    def measure() -> dict[str, Any]:
        workspace.watcher.say("measuring this machine, once, for the lock")
        model = build().to(detect_device())
        return measure_choices(
            model, train, context_tokens, num_sequences, num_tokens, workspace.watcher.say
        )

    return workspace.lock.obtain(f"train-{question}", measure)


def train_plan(workspace: Workspace, num_steps: int, learning_rate: float) -> TrainPlan:
    """The recipe's way of training, for so many steps; the rate is for a recipe without one."""
    train = workspace.recipe.train
    return TrainPlan(
        num_steps=max(1, num_steps),
        learning_rate=train.learning_rate or learning_rate,
        optimizer=train.optimizer,
        warmup=train.warmup,
        final_learning_rate=train.final_learning_rate,
        weight_decay=train.weight_decay,
        clip=train.clip,
        schedule=train.schedule,
        average=train.average,
        patience=train.patience,
        keep_best=train.keep_best,
        recompute=train.recompute,
        spike=train.spike,
        on_spike=train.on_spike,
        seed=workspace.recipe.seed,
    )


def later_settings(train: TrainSettings) -> dict[str, Any]:
    """Settings that came after the first training did: in its key only where they act."""
    settings = {"label_smoothing": train.label_smoothing, "apart": train.apart}
    return {name: value for name, value in settings.items() if value}


def watch_training(
    workspace: Workspace, stage: str, log: MetricsLog
) -> Callable[[StepReport], None]:
    """Passes each step on to the watcher, smoothed, and to the log of metrics as it is."""
    smoothed: dict[str, float] = {}

    def watch(report: StepReport) -> None:
        log.write({"stage": stage, **asdict(report), "at": time.time()})
        for name, value in (("loss", report.loss), ("rate", report.tokens_per_s)):
            smoothed[name] = 0.9 * smoothed.get(name, value) + 0.1 * value
        text = f"loss {smoothed['loss']:.3f}  {smoothed['rate']:,.0f} tokens/s"
        workspace.watcher.progress(text, report.step, report.num_steps)

    return watch


def train_into(
    workspace: Workspace,
    folder: Path,
    model: Decoder,
    mixture: Mixture,
    plan: TrainPlan,
    choices: Choices,
    made_of: list[Any],
    held_out: TokenBatch,
    context_tokens: int,
    tokenizer: Path,
    base_name: str = "",
) -> dict[str, Any]:
    """Train what trains of a model, and write it with its tokenizer's files as a model folder.

    made_of: what its checkpoints are known by; they are deleted once the folder is written.
    """
    checkpoints = workspace.root / "checkpoints" / value_digest(made_of)[:16]
    objective = next_token(workspace.recipe.train.label_smoothing)
    if not checkpoints.is_dir():
        workspace.watcher.progress("rehearsing the longest batch", 0, 1)
        longest = full_batch(choices.micro_batch_sequences, context_tokens)
        rehearse(model, longest, held_out, plan, choices, objective)
        release_memory()
    with MetricsLog(workspace.metrics_path) as log:
        watch = watch_training(workspace, "train", log)
        losses = train(model, mixture, plan, choices, checkpoints, held_out, watch, objective)
    weight_hash = save_learner(folder, model, base_name)
    for file in TOKENIZER_FILES:
        shutil.copyfile(tokenizer / file, folder / file)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return {
        "weight_hash": weight_hash,
        "num_parameters": num_parameters(model.config),
        "losses": losses,
    }


def inspect_shards(
    workspace: Workspace,
    shards: Artifact,
    tokenizer: Tokenizer,
    context_tokens: int,
    *,
    whole: bool,
) -> None:
    """Say what is wrong with the tokens. Raises TrainingError where training would be senseless."""
    findings = inspect_tokens(
        open_shard(shards.path / "train"),
        open_shard(shards.path / "held_out"),
        tokenizer.stop_ids,
        tokenizer.start_ids,
        context_tokens,
        whole=whole,
    )
    for one in findings:
        workspace.watcher.say(str(one))
    raise_fatal(findings)


def build_ngram(workspace: Workspace, shards: Artifact, tokenizer: Artifact) -> Artifact:
    """Train the interpolated n-gram model that the Transformer has to beat, its discounts tuned.

    The discounts are scaled by what is best on the last part of the training tokens for a model of
    the tokens before; the model is then trained on all of them.
    """

    def make(folder: Path) -> Facts:
        loaded = load_tokenizer(tokenizer.path)
        tokens = np.asarray(open_shard(shards.path / "train").tokens)
        scale, tried = _tune_discounts(workspace, tokens, loaded)
        model = train_ngram(
            tokens, loaded.vocab_size, NGRAM_ORDER, end_id=loaded.end_id, discount_scale=scale
        )
        model.save(folder)
        size = sum(file.stat().st_size for file in folder.iterdir())
        return {
            "order": NGRAM_ORDER,
            "num_bytes": size,
            "weight_hash": model.weight_hash,
            "discount_scale": scale,
            "nats_per_token": tried,
        }

    return run_stage(
        workspace,
        "ngram",
        make,
        settings={"order": NGRAM_ORDER, "discount_scales": list(DISCOUNT_SCALES)},
        inputs={"tokens": shards.key, "tokenizer": tokenizer.key},
        result=lambda facts: (
            f"modified Kneser-Ney, order {facts['order']}, {facts['num_bytes'] / 1e6:.0f} MB, "
            f"discounts × {facts['discount_scale']:g}"
        ),
    )


def _tune_discounts(
    workspace: Workspace, tokens: npt.NDArray[Any], tokenizer: Tokenizer
) -> tuple[float, dict[str, float]]:
    """The best scale of the discounts, and what each scale made of the tuning tokens."""
    cut = int(len(tokens) * (1 - NGRAM_TUNING_SHARE))
    ends = np.flatnonzero(tokens[:cut] == tokenizer.end_id)  # never inside a document
    cut = int(ends[-1]) + 1 if len(ends) else 0
    if not 1 < cut < len(tokens):
        return 1.0, {}
    tried = {}
    for done, scale in enumerate(DISCOUNT_SCALES):
        workspace.watcher.progress("tuning discounts", done, len(DISCOUNT_SCALES))
        model = train_ngram(
            tokens[:cut],
            tokenizer.vocab_size,
            NGRAM_ORDER,
            end_id=tokenizer.end_id,
            discount_scale=scale,
        )
        tried[scale] = -float(model.log_probs(tokens[cut:]).mean())
    best = min(tried, key=lambda scale: tried[scale])
    return best, {f"{scale:g}": round(nats, 5) for scale, nats in tried.items()}


def _held_out_batch(shards: Artifact, config: ModelConfig, end_id: int, micro: int) -> TokenBatch:
    """A fixed batch of held-out text, in whole micro-batches, for the curve."""
    blocks = Blocks(open_shard(shards.path / "held_out"), config.context_tokens, end_id, 0)
    num_sequences = max(micro, min(HELD_OUT_SEQUENCES, blocks.num_blocks) // micro * micro)
    return Mixture([(blocks, 1.0)], num_sequences).batch(0)


def train_model(workspace: Workspace, shards: Artifact, tokenizer: Artifact) -> Artifact:
    """Train the recipe's Transformer from random weights."""
    recipe = workspace.recipe
    loaded = load_tokenizer(tokenizer.path)
    config = model_config(workspace, loaded.vocab_size)
    workspace.watcher.begin("train")
    inspect_shards(workspace, shards, loaded, config.context_tokens, whole=False)
    num_tokens = num_train_tokens(workspace, config, shards.facts["train"]["num_trained_tokens"])
    entry = locked_choices(workspace, config, num_tokens)
    choices = choices_from_lock(entry)
    torch.set_num_threads(choices.num_threads)
    num_sequences = max(1, recipe.train.batch_tokens // config.context_tokens)
    num_steps = num_tokens // (num_sequences * config.context_tokens)
    plan = train_plan(workspace, num_steps, LEARNING_RATE)
    settings = {
        "config": config.to_json(),
        "plan": plan.to_json(),
        "batch_sequences": num_sequences,
        "seed": recipe.seed,
        **later_settings(recipe.train),
    }
    workspace.watcher.say(
        f"{num_parameters(config):,} parameters "
        f"({config.num_layers} layers, width {config.width}, {config.num_heads} heads), "
        f"{plan.num_steps:,} steps of {num_sequences * config.context_tokens:,} tokens"
    )

    def make(folder: Path) -> Facts:
        model = build_decoder(config, recipe.seed).to(detect_device())
        train_shard = open_shard(shards.path / "train")
        blocks = Blocks(
            train_shard,
            config.context_tokens,
            loaded.end_id,
            recipe.seed,
            apart=recipe.train.apart,
        )
        facts = train_into(
            workspace,
            folder,
            model,
            Mixture([(blocks, 1.0)], num_sequences),
            plan,
            choices,
            [settings, asdict(choices), shards.key],
            _held_out_batch(shards, config, loaded.end_id, choices.micro_batch_sequences),
            config.context_tokens,
            tokenizer.path,
        )
        return {**facts, "num_tokens": plan.num_steps * num_sequences * config.context_tokens}

    return run_stage(
        workspace,
        "train",
        make,
        settings=settings,
        inputs={"tokens": shards.key, "tokenizer": tokenizer.key},
        lock=asdict(choices),
        result=lambda facts: (
            f"{facts['num_parameters']:,} parameters, {facts['num_tokens']:,} tokens, "
            f"last loss {facts['losses'][-1]['loss']:.3f}, weights {facts['weight_hash'][:12]}"
        ),
    )
