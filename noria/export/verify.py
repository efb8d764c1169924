"""Proof that what was exported is what was evaluated.

In: a model folder, its export, some texts. Out: what was compared, or an error that says what
differs. The export is read back from disk, as another program would read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch

from noria.bases.gguf import decoder_from_gguf
from noria.bases.huggingface import read_huggingface_decoder
from noria.containers.gguf import read_gguf
from noria.errors import IntegrityError
from noria.generate.loaded import LanguageModel, load_language_model
from noria.model.cost import CHUNK_TOKENS
from noria.model.transformer import Decoder
from noria.model.weights import model_weight_hash
from noria.tokenizer.foreign import tokenizer_from_gguf
from noria.tokenizer.specials import TOKENIZER_FILE

MAX_LOGIT_DIFFERENCE = 1e-4


def verify_export(model_folder: Path, exported: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Compare weight hash, token ids and logits of a model with those of its export.

    `exported`: a folder in Hugging Face's layout or a GGUF file. Returns weight_hash,
    max_logit_difference, num_texts, num_tokens. Raises IntegrityError naming what differs: the
    weights' hash, a text's ids, or logits by more than 1e-4.
    """
    ours = load_language_model(model_folder)
    theirs, spelled = _read_back(exported)
    their_hash = model_weight_hash(theirs)
    if their_hash != ours.weight_hash:
        raise _differs(exported, f"weights with hash {their_hash}", ours.weight_hash)
    largest, num_tokens = 0.0, 0
    for number, text in enumerate(texts, start=1):
        ids = ours.tokenizer.encode(text)
        if spelled.encode(text, add_special_tokens=False).ids != ids:
            raise _differs(exported, f"other token ids for text {number}", "the tokenizer's own")
        difference = _logit_difference(ours, theirs, ids)
        if not difference <= MAX_LOGIT_DIFFERENCE:
            raise _differs(
                exported,
                f"logits that differ by {difference:g} on text {number}",
                f"at most {MAX_LOGIT_DIFFERENCE:g}",
            )
        largest, num_tokens = max(largest, difference), num_tokens + len(ids)
    return {
        "weight_hash": ours.weight_hash,
        "max_logit_difference": largest,
        "num_texts": len(texts),
        "num_tokens": num_tokens,
    }


def _read_back(exported: Path) -> tuple[Decoder, tokenizers.Tokenizer]:
    if exported.is_dir():
        model = read_huggingface_decoder(exported)
        spelled = tokenizers.Tokenizer.from_file(str(exported / TOKENIZER_FILE))
    else:
        file = read_gguf(exported)
        model = decoder_from_gguf(file)
        spelled = tokenizers.Tokenizer.from_str(tokenizer_from_gguf(file.metadata)[0])
    spelled.encode_special_tokens = True  # a text's "<|im_end|>" stays text, as in our loader
    return model, spelled


@torch.inference_mode()
def _logit_difference(ours: LanguageModel, theirs: Decoder, ids: Sequence[int]) -> float:
    """Largest difference of any logit over the first tokens of a text, as many as fit."""
    context_tokens = ours.model.config.context_tokens
    window = torch.tensor([[ours.tokenizer.end_id, *ids][:context_tokens]])
    wanted, found = ours.model(window)[0], theirs(window)[0]  # (T, C) each
    largest = [
        (ours.model.logits(one) - theirs.logits(other)).abs().max()
        for one, other in zip(wanted.split(CHUNK_TOKENS), found.split(CHUNK_TOKENS), strict=True)
    ]
    return float(torch.stack(largest).max())  # not a number if any of them is none


def _differs(exported: Path, given: str, expected: str) -> IntegrityError:
    return IntegrityError(f"{exported} has {given}", expected, "export the model again")
