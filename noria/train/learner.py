"""What trains: every weight of a model, or an adapter alone over a frozen base.

In: model folders. Out: a decoder whose trainable parameters are what should train; and, once it
has, a model folder. One over a base holds its adapter beside the merged weights, in `adapter/`.
This module does not know what is learned.
"""

from __future__ import annotations

from pathlib import Path

from noria.model.adapters import add_adapter, load_adapter, merged
from noria.model.over_base import ADAPTER_FOLDER, ADAPTER_NAME, save_over_base
from noria.model.quantized import to_int8
from noria.model.transformer import Decoder
from noria.model.weights import load_decoder, model_weight_hash, save_model
from noria.recipe import AdapterSettings
from noria.runtime import release_memory
from noria.tokenizer.load import Tokenizer, copy_tokenizer
from noria.tokenizer.pack import open_shard
from noria.train.batches import Blocks, Mixture, RowSource, Sequences
from noria.train.packing import Packed


def fresh_learner(base: Path, settings: AdapterSettings, seed: int) -> Decoder:
    """A base model with a new adapter, which alone trains."""
    model = _open_base(base, settings.base_precision)
    add_adapter(model, ADAPTER_NAME, settings.rank, settings.alpha, settings.targets, seed)
    return model


def open_learner(folder: Path, base: Path | None, base_precision: str = "float32") -> Decoder:
    """A trained model to train on: all of its weights, or over a base its adapter."""
    if base is None:
        return load_decoder(folder)
    model = _open_base(base, base_precision)
    load_adapter(folder / ADAPTER_FOLDER, model, ADAPTER_NAME)
    return model


def _open_base(base: Path, precision: str) -> Decoder:
    model = load_decoder(base)
    return to_int8(model) if precision == "int8" else model


def save_learner(
    out: Path, model: Decoder, tokenizer: Path, base: Path | None = None, base_name: str = ""
) -> str:
    """Write the model folder, an adapter merged into its weights; returns their weight hash.

    tokenizer: the folder whose tokenizer it gets. base: the folder that an adapter trained over.
    """
    release_memory()  # training's, before the weights are copied
    if base is not None:
        save_over_base(out, model, base, base_name)
        model = merged(model, ADAPTER_NAME)
    save_model(out, model)
    copy_tokenizer(tokenizer, out)
    return model_weight_hash(model)


ShardRows = Blocks | Sequences | Packed


def open_rows(
    shard: Path,
    tokenizer: Tokenizer,
    context_tokens: int,
    seed: int,
    *,
    whole: bool,
    apart: bool = False,
) -> ShardRows:
    """A shard as rows: blocks of running text without a gap, or its sequences one by one.

    apart: what stands side by side in a row does not read each other, and so sequences share rows.
    """
    if not whole:
        return Blocks(open_shard(shard), context_tokens, tokenizer.end_id, seed, apart=apart)
    leads = tokenizer.start_ids == (tokenizer.end_id,)
    sequences = Sequences(open_shard(shard), context_tokens, leads, seed)
    return Packed(sequences, context_tokens) if apart else sequences


def mix_rows(sources: list[tuple[ShardRows, float]], batch_tokens: int) -> Mixture:
    """Batches of about that many tokens, with the given shares of the sources."""
    mean = sum(share * source.mean_tokens for source, share in sources)
    rows: list[tuple[RowSource, float]] = [(source, share) for source, share in sources]
    return Mixture(rows, max(len(sources), round(batch_tokens / mean)))
