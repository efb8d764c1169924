"""LSTM classifier: a text's tokens read both ways, and a probability for each class.

In: texts with one label each, and the folder of a tokenizer. Out: a classifier that carries it.
This module does not know records.
Legend: B texts, T tokens of the longest, N classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor

from noria.baselines.folders import reading
from noria.baselines.interface import Progress
from noria.baselines.labels import number_labels
from noria.baselines.recurrent import (
    ClassNetwork,
    LstmConfig,
    LstmPlan,
    fit,
    load_network,
    save_network,
    seeded,
)
from noria.errors import FormatError
from noria.model.weights import CONFIG_FILE, model_weight_hash, read_json_object
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.specials import TOKENIZER_FILES

MAX_TOKENS = 256  # of a text; what is beyond is not read
READ_TEXTS = 64  # at a time


@dataclass(frozen=True, eq=False)
class LstmClassifier:
    """A trained network, in evaluation mode, with its tokenizer and that tokenizer's two files."""

    network: ClassNetwork
    config: LstmConfig
    labels: tuple[str, ...]
    tokenizer: Tokenizer
    tokenizer_files: tuple[bytes, ...]

    @property
    def weight_hash(self) -> str:
        """The hash of its tensors, as a Transformer's."""
        return model_weight_hash(self.network)

    def probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(class | text), a row for each text."""
        rows = _encoded(self.tokenizer, texts)
        found = [np.zeros((0, len(self.labels)))]
        with torch.inference_mode():
            for start in range(0, len(rows), READ_TEXTS):
                scores = self.network(*_padded(rows[start : start + READ_TEXTS]))
                found.append(scores.double().softmax(dim=-1).numpy())
        return np.concatenate(found)

    def save(self, folder: Path) -> None:
        """Write the weights, config.json and the tokenizer's files into an existing folder."""
        save_network(folder, self.network, self.config, {"labels": self.labels})
        for name, data in zip(TOKENIZER_FILES, self.tokenizer_files, strict=True):
            (folder / name).write_bytes(data)


def train_lstm_classifier(
    texts: Sequence[str],
    labels: Sequence[str],
    tokenizer_folder: Path,
    plan: LstmPlan | None = None,
    progress: Progress | None = None,
) -> LstmClassifier:
    """Learn the classes of texts; `progress(done, total)` counts steps.

    Raises UsageError unless each text has a label and there are two classes at least, FormatError
    if the folder holds no tokenizer, TrainingError if the loss stops being a number.
    """
    plan = plan or LstmPlan()
    names, numbers = number_labels(texts, labels)
    tokenizer, files = load_tokenizer(tokenizer_folder), _read_files(tokenizer_folder)
    rows, classes = _encoded(tokenizer, texts), torch.from_numpy(numbers)
    config = LstmConfig(tokenizer.vocab_size, plan.width, plan.num_layers, len(names))
    with seeded(plan.seed):
        network = ClassNetwork(config, plan.dropout)

        def losses() -> Iterator[Tensor]:
            for chosen in torch.split(torch.randperm(len(rows)), plan.batch_sequences):
                ids, num_tokens = _padded([rows[index] for index in chosen])
                yield F.cross_entropy(network(ids, num_tokens), classes[chosen])

        fit(network, plan, losses, -(-len(rows) // plan.batch_sequences), progress)
    return LstmClassifier(network, config, names, tokenizer, files)


def _encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text after an end token, so that an empty text has one too."""
    found = tokenizer.encode_batch(list(texts))
    return [[tokenizer.end_id, *ids][:MAX_TOKENS] for ids in found]


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids (B, T), zeros behind what is shorter, and how many of each row are real (B,)."""
    num_tokens = [len(row) for row in rows]
    longest = max(num_tokens)
    padded = [[*row, *[0] * (longest - len(row))] for row in rows]
    return torch.tensor(padded), torch.tensor(num_tokens)


def _read_files(folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / name).read_bytes() for name in TOKENIZER_FILES)


def load_lstm_classifier(folder: Path) -> LstmClassifier:
    """Read one back. Raises InputError or FormatError if a file is missing or not one of it."""
    facts = read_json_object(folder / CONFIG_FILE)
    with reading(folder, "an LSTM classifier"):
        config, labels = LstmConfig(**facts["config"]), tuple(facts["labels"])
        if len(labels) != config.num_classes:
            raise ValueError(f"{len(labels)} labels of {config.num_classes} classes")
    tokenizer, network = load_tokenizer(folder), load_network(folder, ClassNetwork, config)
    if tokenizer.vocab_size != config.vocab_size:
        raise FormatError(
            f"{folder}: a tokenizer of {tokenizer.vocab_size} ids",
            f"{config.vocab_size}, the model's vocabulary",
            "keep a model and its tokenizer together",
        )
    return LstmClassifier(network, config, labels, tokenizer, _read_files(folder))
