"""LSTM networks and the small loop that trains them.

In: an LSTM's shape; losses, batch after batch. Out: a network; the same network, trained.
This module does not know where tokens come from or what classes mean. It runs on the CPU.

Hochreiter & Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers et al.
(2000), as `torch.nn.LSTM` has it; dropout between the layers alone, never along time, from Zaremba
et al., "Recurrent Neural Network Regularization" (2014); one matrix for input and output from Press
& Wolf (2017).
Legend: B sequences, T tokens, L layers, C width, V vocabulary, N classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from noria.baselines.interface import Progress
from noria.errors import TrainingError
from noria.model.embedding import TokenEmbedding
from noria.model.heads import pool
from noria.model.styles import count
from noria.model.weights import CONFIG_FILE, WEIGHTS_FILE, check_tensors

INITIAL_REACH = 0.1  # embeddings are drawn from -0.1 to 0.1
State = tuple[Tensor, Tensor]  # (L, B, C) each: what is said, what is remembered


@dataclass(frozen=True)
class LstmConfig:
    """An LSTM's shape; `num_classes` is 0 in a language model. Raises UsageError if it has none."""

    vocab_size: int
    width: int
    num_layers: int
    num_classes: int = 0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "num_layers"):
            count(name, getattr(self, name))


@dataclass(frozen=True)
class LstmPlan:
    """How wide, and how it is trained; the learning rate falls to 0 in a straight line."""

    width: int = 128
    num_layers: int = 1
    dropout: float = 0.2
    num_epochs: int = 5
    batch_sequences: int = 16
    learning_rate: float = 4e-3
    clip: float = 1.0
    seed: int = 0


class LanguageNetwork(nn.Module):
    """Tokens to hidden vectors, and those to scores of the next token, as `likelihood.Scores`."""

    def __init__(self, config: LstmConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = TokenEmbedding(config.vocab_size, config.width)
        self.lstm = _lstm(config, dropout, bidirectional=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        nn.init.uniform_(self.embedding.weight, -INITIAL_REACH, INITIAL_REACH)

    def forward(
        self, ids: Int[Tensor, "B T"], state: State | None = None
    ) -> tuple[Float[Tensor, "B T C"], State]:
        """Hidden vectors, and the state after the last token, from which it can go on."""
        x = F.dropout(self.embedding(ids), self.dropout, self.training)
        hidden, state = self.lstm(x, state)
        return F.dropout(hidden, self.dropout, self.training), state

    def before_output(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        """What is multiplied with the output matrix: the hidden vector itself."""
        return hidden

    def output_weight(self) -> Float[Tensor, "V C"]:
        """The embedding."""
        return self.embedding.weight

    def output_bias(self) -> Float[Tensor, " V"]:
        """A number for each token."""
        return self.bias

    def logits(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... V"]:
        """A score for each token of the vocabulary."""
        return self.embedding.scores(hidden) + self.bias


class ClassNetwork(nn.Module):
    """Tokens, read both ways, to one score a class: the mean of all tokens decides."""

    def __init__(self, config: LstmConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = TokenEmbedding(config.vocab_size, config.width)
        self.lstm = _lstm(config, dropout, bidirectional=True)
        self.classes = nn.Linear(2 * config.width, config.num_classes)
        nn.init.uniform_(self.embedding.weight, -INITIAL_REACH, INITIAL_REACH)

    def forward(
        self, ids: Int[Tensor, "B T"], num_tokens: Int[Tensor, " B"]
    ) -> Float[Tensor, "B N"]:
        """num_tokens: how many of each row are real, 1 at least; the others are behind them."""
        x = F.dropout(self.embedding(ids), self.dropout, self.training)
        packed = pack_padded_sequence(x, num_tokens, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1]
        )
        real = torch.arange(ids.shape[1]) < num_tokens[:, None]
        pooled = F.dropout(pool(hidden, real, "mean"), self.dropout, self.training)
        return self.classes(pooled)  # type: ignore[no-any-return]


def _lstm(config: LstmConfig, dropout: float, *, bidirectional: bool) -> nn.LSTM:
    return nn.LSTM(
        config.width,
        config.width,
        config.num_layers,
        batch_first=True,
        dropout=dropout if config.num_layers > 1 else 0.0,
        bidirectional=bidirectional,
    )


NetworkT = TypeVar("NetworkT", LanguageNetwork, ClassNetwork)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights and dropout from a seed, and leave torch's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def fit(
    network: nn.Module,
    plan: LstmPlan,
    losses: Callable[[], Iterator[Tensor]],
    num_batches: int,
    progress: Progress | None,
) -> None:
    """Take a step of Adam for each mean loss: `losses` yields the `num_batches` of an epoch.

    `progress(done, total)` counts steps. Ends in evaluation mode. Raises TrainingError if a loss is
    not a number.
    """
    num_steps = plan.num_epochs * num_batches
    optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
    network.train()
    step = 0
    for _ in range(plan.num_epochs):
        for loss in losses():
            if not isfinite(float(loss.detach())):
                raise TrainingError("a loss that is not a number", "a number", "train more slowly")
            optimizer.param_groups[0]["lr"] = plan.learning_rate * (1 - step / num_steps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
            optimizer.step()
            step += 1
            if progress is not None:
                progress(step, num_steps)
    network.eval()


def save_network(folder: Path, network: nn.Module, config: LstmConfig, facts: Any) -> None:
    """Write model.safetensors and config.json into an existing folder."""
    save_file(network.state_dict(), folder / WEIGHTS_FILE)
    text = json.dumps({"config": asdict(config), **facts}, indent=1, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def load_network(folder: Path, kind: type[NetworkT], config: LstmConfig) -> NetworkT:
    """The network of a folder, in evaluation mode; its tensors are checked before they are read.

    Raises FormatError or InputError for other tensors than the config asks for.
    """
    with torch.device("meta"):
        network = kind(config)
    check_tensors(folder / WEIGHTS_FILE, network)
    # Cloned: the file is mapped, and a model must not change when its file does.
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval()
