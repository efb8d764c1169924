"""The loaders of a model folder: weights, config and tokenizer, side by side.

In: a folder. Out: a model that can be asked, under the hash of the weights it was loaded with.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final
from weakref import WeakValueDictionary

from noria.errors import FormatError
from noria.model.adapted import LowRank
from noria.model.adapters import updates_of
from noria.model.config import ModelConfig
from noria.model.over_base import (
    ADAPTER_NAME,
    BaseReference,
    base_reference,
    load_base,
    load_over_base,
)
from noria.model.transformer import Decoder, EncoderDecoder
from noria.model.weights import load_decoder, model_weight_hash
from noria.tokenizer.load import Tokenizer, load_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Adapter:
    """What makes a model of a base that others share: the base, and the updates by layer."""

    base: Decoder
    updates: Mapping[str, LowRank]


@dataclass(frozen=True)
class LanguageModel:
    """A model, its tokenizer, and the name under which scores and answers know its weights.

    adapter: what it adds to which base, where it shares the base's tensors with others.
    """

    model: Decoder
    tokenizer: Tokenizer
    weight_hash: str
    adapter: Adapter | None = None

    @property
    def base(self) -> Decoder:
        """The weights that it may share: its base's, or its own."""
        return self.model if self.adapter is None else self.adapter.base


@dataclass(frozen=True)
class Seq2SeqModel:
    """An encoder-decoder, which writes a target for a source, its tokenizer and its weight hash."""

    model: EncoderDecoder
    tokenizer: Tokenizer
    weight_hash: str

    @property
    def base(self) -> EncoderDecoder:
        """Its weights; it shares them with no other."""
        return self.model


Answering = LanguageModel | Seq2SeqModel


def load_language_model(folder: Path) -> LanguageModel:
    """Load a model folder; the hash is taken of the weights in memory, not read from anywhere.

    Raises InputError or FormatError if a file is missing, malformed, or the tokenizer has ids that
    the model does not know.
    """
    tokenizer = load_tokenizer(folder)
    model = load_decoder(folder)
    _check_together(folder, tokenizer, model.config)
    return LanguageModel(model, tokenizer, model_weight_hash(model))


@final
class Bases:
    """Loads models so that those over one base hold its weights once; from any thread.

    A base is forgotten with the last model over it.
    """

    def __init__(self) -> None:
        self._bases: WeakValueDictionary[str, Decoder] = WeakValueDictionary()
        self._lock = threading.Lock()

    def load(self, folder: Path) -> LanguageModel:
        """As `load_language_model`; one whose adapter says which base it is of shares the base.

        Where that base is gone, the merged weights are loaded. Raises IntegrityError too if merged
        weights, base and adapter do not belong together.
        """
        reference = base_reference(folder)
        if reference is not None and self._is_there(folder, reference):
            return self._over_base(folder, reference)
        loaded = load_language_model(folder)
        with self._lock:
            self._bases.setdefault(loaded.weight_hash, loaded.model)
        return loaded

    def _is_there(self, folder: Path, reference: BaseReference) -> bool:
        if reference.weight_hash in self._bases or (folder / reference.folder).is_dir():
            return True
        log.warning("%s: its base is gone; the merged weights take room of their own", folder)
        return False

    def _over_base(self, folder: Path, reference: BaseReference) -> LanguageModel:
        tokenizer = load_tokenizer(folder)
        with self._lock:  # two models over one base wait for one loading
            base = self._bases.get(reference.weight_hash)
            if base is None:
                base = self._bases[reference.weight_hash] = load_base(folder, reference)
        model, weight_hash = load_over_base(folder, base)
        _check_together(folder, tokenizer, model.config)
        updates = updates_of(model, ADAPTER_NAME)
        adapter = Adapter(base, updates)
        return LanguageModel(model, tokenizer, weight_hash, adapter)


def _check_together(folder: Path, tokenizer: Tokenizer, config: ModelConfig) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        raise FormatError(
            f"{folder}: a tokenizer of {tokenizer.vocab_size} ids",
            f"at most {config.vocab_size}, the model's vocabulary",
            "keep a model and its tokenizer together",
        )
