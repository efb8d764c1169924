"""The champion's weights and curated feedback in; a challenger, or its control, out.

Both take the same number of steps with the same data order from the same weights; the control's
batches hold text of the original corpus where the challenger's hold feedback. What feedback
brought is challenger minus control.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from noria.errors import TrainingError
from noria.model.weights import load_model, model_weight_hash, save_model
from noria.recipe import ImproveSettings
from noria.records import Record
from noria.runtime import detect_device
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.pack import encode_records, open_shard, write_shard
from noria.train.batches import Blocks, Mixture
from noria.train.loop import Choices, StepReport, TrainPlan, train

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_meta.json")


def train_from_champion(
    champion: Path,
    corpus_shard: Path,
    feedback: Sequence[Record],
    settings: ImproveSettings,
    batch_tokens: int,
    choices: Choices,
    seed: int,
    checkpoints: Path,
    out: Path,
    watch: Callable[[StepReport], None],
) -> dict[str, Any]:
    """Train on feedback with replay (or, with no feedback, on replay only) into a model folder.

    Raises TrainingError if the feedback has no token to learn from.
    """
    tokenizer = load_tokenizer(champion)
    model = load_model(champion).to(detect_device())
    context_tokens = model.config.context_tokens
    replay = Blocks(open_shard(corpus_shard), context_tokens, tokenizer.end_id, seed)
    sources: list[tuple[Blocks, float]] = [(replay, 1.0)]
    num_sequences = max(2, batch_tokens // context_tokens)
    if feedback:
        shard = checkpoints / "feedback"
        shutil.rmtree(shard, ignore_errors=True)
        write_shard(shard, encode_records(tokenizer, feedback), tokenizer.vocab_size)
        learn = Blocks(open_shard(shard), context_tokens, tokenizer.end_id, seed + 1)
        sources = [(replay, settings.replay), (learn, 1.0 - settings.replay)]
    losses: list[dict[str, Any]] = []
    if settings.steps > 0:
        plan = TrainPlan(num_steps=settings.steps, learning_rate=settings.learning_rate)
        mixture = Mixture(sources, num_sequences)
        losses = train(model, mixture, plan, choices, checkpoints / "steps", watch=watch)
    save_model(out, model)
    for name in TOKENIZER_FILES:
        shutil.copyfile(champion / name, out / name)
    return {"weight_hash": model_weight_hash(model), "losses": losses}


def require_feedback(num_train: int, num_held_out: int) -> None:
    """Raise TrainingError unless there is feedback on both sides of the split."""
    if not num_train or not num_held_out:
        raise TrainingError(
            f"{num_train} corrections to learn from and {num_held_out} to be judged on",
            "at least one of each",
            "give more feedback: noria feedback INTERACTION --correct TEXT",
        )
