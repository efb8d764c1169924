"""The one loader of a model folder: weights, config and tokenizer, side by side.

In: a folder. Out: a model that can be asked, under the hash of the weights it was loaded with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noria.errors import FormatError
from noria.model.transformer import Decoder
from noria.model.weights import load_decoder, model_weight_hash
from noria.tokenizer.load import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class LanguageModel:
    """A model, its tokenizer, and the name under which scores and answers know its weights."""

    model: Decoder
    tokenizer: Tokenizer
    weight_hash: str


def load_language_model(folder: Path) -> LanguageModel:
    """Load a model folder; the hash is taken of the weights in memory, not read from anywhere.

    Raises InputError or FormatError if a file is missing, malformed, or the tokenizer has ids that
    the model does not know.
    """
    tokenizer = load_tokenizer(folder)
    model = load_decoder(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise FormatError(
            f"{folder}: a tokenizer of {tokenizer.vocab_size} ids",
            f"at most {model.config.vocab_size}, the model's vocabulary",
            "keep a model and its tokenizer together",
        )
    return LanguageModel(model, tokenizer, model_weight_hash(model))
