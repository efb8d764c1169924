"""The champion's weights and curated feedback in; a challenger, or its control, out.

Both take the same number of steps with the same data order from the same weights; the control's
batches hold text of the original corpus where the challenger's hold feedback. What feedback
brought is challenger minus control. Over a base model only the champion's adapter goes on.
Corrections are mixed with replay into batches of text; pairs (DPO) and thumbs (KTO) have steps of
their own, in turn with those, and the champion is their reference.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.errors import TrainingError
from noria.improve.heard import Heard
from noria.model.transformer import Decoder
from noria.recipe import ImproveSettings
from noria.runtime import detect_device
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.pack import encode_records, write_shard
from noria.train.judged import InTurn, by_kind, pair_batches, thumb_batches
from noria.train.learner import ShardRows, mix_rows, open_learner, open_rows, save_learner
from noria.train.loop import BatchSource, train
from noria.train.plan import Choices, StepReport, TrainPlan

MIN_PAIRS = 2  # held out: of one alone nothing can be shown


@dataclass(frozen=True)
class Start:
    """What a turn trains from: folders of the champion, of its base if it has one, of its tokens.

    `general` are the tokens replayed over a base, `general_share` of every batch.
    """

    champion: Path
    base: Path | None
    base_name: str
    base_precision: str
    corpus: Path
    general: Path | None
    general_share: float
    context_tokens: int
    batch_tokens: int


def train_from_champion(
    start: Start,
    heard: Heard,
    settings: ImproveSettings,
    choices: Choices,
    seed: int,
    checkpoints: Path,
    out: Path,
    watch: Callable[[StepReport], None],
) -> dict[str, Any]:
    """Train on feedback with replay (or, with no feedback, on replay only) into a model folder.

    Raises TrainingError if the feedback has no token to learn from.
    """
    tokenizer = load_tokenizer(start.champion)
    model = open_learner(start.champion, start.base, start.base_precision).to(detect_device())

    def rows(shard: Path, rows_seed: int) -> ShardRows:
        whole = start.base is not None
        return open_rows(shard, tokenizer, start.context_tokens, rows_seed, whole=whole)

    general_share = start.general_share if start.general is not None else 0.0
    sources = [(rows(start.corpus, seed), 1.0 - general_share)]
    if start.general is not None:
        sources.append((rows(start.general, seed + 2), general_share))
    if heard.texts:
        shard = checkpoints / "feedback"
        shutil.rmtree(shard, ignore_errors=True)
        encoded = encode_records(tokenizer, heard.texts)
        write_shard(shard, encoded, tokenizer.vocab_size, tokenizer.end_id)
        sources = [(source, settings.replay * share) for source, share in sources]
        sources.append((rows(shard, seed + 1), 1.0 - settings.replay))
    losses: list[dict[str, Any]] = []
    if settings.steps > 0:
        plan = TrainPlan(num_steps=settings.steps, learning_rate=settings.learning_rate)
        batches: list[BatchSource] = [mix_rows(sources, start.batch_tokens)]
        batches += _judged(start, heard, tokenizer, model, seed)
        losses = train(
            model,
            InTurn(tuple(batches)) if len(batches) > 1 else batches[0],
            plan,
            choices,
            checkpoints / "steps",
            watch=watch,
            objective=by_kind() if len(batches) > 1 else None,
        )
    weight_hash = save_learner(out, model, start.champion, start.base, start.base_name)
    return {"weight_hash": weight_hash, "losses": losses}


def _judged(
    start: Start, heard: Heard, tokenizer: Tokenizer, model: Decoder, seed: int
) -> list[BatchSource]:
    """Batches of pairs and of thumbs, about as long as those of text; none without feedback."""
    found: list[BatchSource] = []
    num = max(1, start.batch_tokens // (2 * start.context_tokens))
    if heard.pairs:
        found.append(
            pair_batches(tokenizer, model, heard.pairs, start.context_tokens, num, seed + 3)
        )
    if heard.thumbs:
        found.append(
            thumb_batches(tokenizer, model, heard.thumbs, start.context_tokens, num, seed + 4)
        )
    return found


def require_feedback(num_train: int, num_held_out: int) -> None:
    """Raise TrainingError unless there is feedback on both sides of the split."""
    if not num_train or not num_held_out:
        raise TrainingError(
            f"{num_train} corrections to learn from and {num_held_out} to be judged on",
            "at least one of each",
            "give more feedback: noria feedback INTERACTION --correct TEXT",
        )


def require_pairs(num_held_out: int) -> None:
    """Raise TrainingError unless there are held-out pairs to show something on."""
    if num_held_out < MIN_PAIRS:
        raise TrainingError(
            f"{num_held_out} held-out pairs of answers to be judged on, as gate.require asks",
            f"at least {MIN_PAIRS}",
            "say of more answers which is better, or take preferences.accuracy out of gate.require",
        )
