"""From token shards to the n-gram model that a Transformer has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noria.artifacts import Artifact
from noria.baselines.ngram import train_ngram
from noria.stages.stage import Facts, run_stage
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.pack import open_shard
from noria.workspace import Workspace

NGRAM_ORDER = 5
NGRAM_TUNING_SHARE = 0.05
DISCOUNT_SCALES = (0.9, 1.0, 1.1)


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
