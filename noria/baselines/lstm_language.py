"""LSTM language model: what stood before a token, all of it, in one vector of fixed size.

In: one array of token ids in which `end_id` closes every document. Out: log probabilities of ids.
This module knows nothing of text or tokenizers.
Legend: B streams of text that are read side by side, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from noria.baselines.documents import check_ids, document_numbers, training_tokens
from noria.baselines.folders import reading
from noria.baselines.interface import Ids, Progress
from noria.baselines.recurrent import (
    LanguageNetwork,
    LstmConfig,
    LstmPlan,
    State,
    fit,
    load_network,
    save_network,
    seeded,
)
from noria.model.likelihood import cross_entropy_sum, token_losses
from noria.model.weights import CONFIG_FILE, model_weight_hash, read_json_object

WINDOW_TOKENS = 64  # through so many a gradient goes back; the state itself is carried on
READ_TOKENS = 512  # read at a time, so that few logits exist at once


@dataclass(frozen=True, eq=False)
class LstmLanguageModel:
    """A trained network, in evaluation mode, and the id that stands between documents."""

    network: LanguageNetwork
    config: LstmConfig
    end_id: int

    @property
    def weight_hash(self) -> str:
        """The hash of its tensors, as a Transformer's."""
        return model_weight_hash(self.network)

    def log_probs(self, ids: Ids) -> Float64[np.ndarray, " T"]:
        """Natural log P(ids[i] | all ids before it in its document), after a leading `end_id`.

        Raises UsageError for an id outside the vocabulary.
        """
        tokens = np.asarray(ids, dtype=np.int64)
        if not len(tokens):
            return np.zeros(0)
        check_ids(tokens, self.config.vocab_size)
        starts = np.flatnonzero(np.diff(document_numbers(tokens, self.end_id))) + 1
        found = [self._document(document) for document in np.split(tokens, starts)]
        return np.concatenate(found)

    def _document(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        targets = torch.tensor(ids)
        inputs = torch.cat([torch.tensor([self.end_id]), targets[:-1]])
        state: State | None = None
        losses = []
        with torch.inference_mode():
            for part, wanted in zip(
                torch.split(inputs, READ_TOKENS), torch.split(targets, READ_TOKENS), strict=True
            ):
                hidden, state = self.network(part[None], state)
                losses.append(token_losses(self.network.logits(hidden[0]), wanted))
        return -torch.cat(losses).double().numpy()

    def save(self, folder: Path) -> None:
        """Write model.safetensors and config.json into an existing folder."""
        save_network(folder, self.network, self.config, {"end_id": self.end_id})


def train_lstm_language_model(
    tokens: NDArray[Any],
    vocab_size: int,
    *,
    end_id: int,
    plan: LstmPlan | None = None,
    progress: Progress | None = None,
) -> LstmLanguageModel:
    """Learn to predict each token, by truncated backpropagation through time (Werbos 1990).

    The text is cut into `batch_sequences` streams that are read side by side; an end token tells
    the network that what it remembers no longer counts. `progress(done, total)` counts steps.
    Raises UsageError for an id outside the vocabulary or if there is nothing to learn from,
    TrainingError if the loss stops being a number.
    """
    plan = plan or LstmPlan()
    ids = torch.from_numpy(training_tokens(tokens, vocab_size, end_id))
    num_streams = min(plan.batch_sequences, len(ids) - 1)
    length = (len(ids) - 1) // num_streams
    used = num_streams * length  # fewer than num_streams tokens are left out
    inputs, targets = (ids[first : first + used].view(num_streams, length) for first in (0, 1))
    config = LstmConfig(vocab_size, plan.width, plan.num_layers)
    with seeded(plan.seed):
        network = LanguageNetwork(config, plan.dropout)
        num_windows = -(-length // WINDOW_TOKENS)
        fit(network, plan, lambda: _losses(network, inputs, targets), num_windows, progress)
    return LstmLanguageModel(network, config, end_id)


def _losses(network: LanguageNetwork, inputs: Tensor, targets: Tensor) -> Iterator[Tensor]:
    """The mean loss of each window of (B, T) tokens, the state going on from one to the next."""
    state: State | None = None
    for part, wanted in zip(
        torch.split(inputs, WINDOW_TOKENS, dim=1),
        torch.split(targets, WINDOW_TOKENS, dim=1),
        strict=True,
    ):
        hidden, after = network(part, state)
        state = after[0].detach(), after[1].detach()
        total, num = cross_entropy_sum(network, hidden, wanted, torch.ones_like(wanted))
        yield total / num


def load_lstm_language_model(folder: Path) -> LstmLanguageModel:
    """Read a model back. Raises InputError or FormatError if a file is missing or not one of it."""
    facts = read_json_object(folder / CONFIG_FILE)
    with reading(folder, "an LSTM language model"):
        config, end_id = LstmConfig(**facts["config"]), int(facts["end_id"])
    return LstmLanguageModel(load_network(folder, LanguageNetwork, config), config, end_id)
