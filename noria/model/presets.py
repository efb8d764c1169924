"""A model's shape by name: one dial for its size, or a historical model's own.

`decoder-10m`, `encoder-10m` or `seq2seq-10m` in, a whole config out; or `gpt2`, `bert-base`, ….

The dial counts all parameters at a vocabulary of 4,096. With another vocabulary the body (layers,
widths, heads) stays the same and only the embedding grows or shrinks, so that two tokenizers can
be compared on one body.
This module does not know torch.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import lru_cache

from noria.errors import UnknownName
from noria.model.config import ModelConfig
from noria.model.cost import num_parameters
from noria.model.historical import HISTORICAL

DIAL_VOCAB_SIZE = 4096
GROUPED_FROM_PARAMETERS = 100_000_000
_PATTERN = re.compile(r"(decoder|encoder|seq2seq)-([1-9]\d{0,4})(m|b)")
_MAX_PARAMETERS = 100 * 10**9
# Widths to choose from and the width of their heads; steps keep the number of heads easy to group.
# Few wide heads train faster than many narrow ones on a CPU: 9,215 against 7,289 tokens a second at
# width 192 and 5 layers (docs/log.md).
_WIDTHS = (
    (range(64, 192, 32), 32),
    (range(192, 512, 64), 64),
    (range(512, 1024, 128), 64),
    (range(1024, 3072, 256), 64),
    (range(3072, 16385, 512), 128),
)


def preset(name: str, vocab_size: int, context_tokens: int) -> ModelConfig:
    """The config that a preset's name stands for.

    At a vocabulary of 4,096 the parameters of a dial's model are within 15% of the name (within 5%
    from 3m on); a historical model keeps its body with any vocabulary and context.
    Raises UnknownName for a name that is neither.
    """
    if name in HISTORICAL:
        return replace(HISTORICAL[name], vocab_size=vocab_size, context_tokens=context_tokens)
    match = _PATTERN.fullmatch(name)
    target = int(match[2]) * {"m": 10**6, "b": 10**9}[match[3]] if match else 0
    if match is None or not 0 < target <= _MAX_PARAMETERS:
        raise UnknownName(
            f"a model preset {name!r}",
            "decoder-1m … decoder-100b, encoder-…, seq2seq-…, or one of " + ", ".join(HISTORICAL),
            "write the wanted number of parameters, such as decoder-10m",
        )
    return _config(match[1], *_body(match[1], target), target, vocab_size, context_tokens)


@lru_cache(maxsize=64)
def _body(kind: str, target: int) -> tuple[int, int, int]:
    """Layers, width and head width: near the wanted size, and near the wanted proportion.

    Width over layers grows from about 24 at 1 million parameters to about 95 at 1 billion, which
    are the proportions of published models (GPT-2 64, Llama-3.2-1B 128, SmolLM2-135M 19). Missing
    the size weighs eight times as much as missing the proportion.
    """
    wanted_ratio = 24 * (target / 1e6) ** 0.2
    best, best_cost = (1, 64, 32), math.inf
    for widths, head_width in _WIDTHS:
        for width in widths:
            for num_layers in range(1, 161):
                total = num_parameters(_config(kind, num_layers, width, head_width, target))
                if total > 1.3 * target:
                    break
                cost = 8 * abs(math.log(total / target)) + abs(
                    math.log(width / num_layers / wanted_ratio)
                )
                if cost < best_cost:
                    best, best_cost = (num_layers, width, head_width), cost
    return best


def _config(
    kind: str,
    num_layers: int,
    width: int,
    head_width: int,
    target: int,
    vocab_size: int = DIAL_VOCAB_SIZE,
    context_tokens: int = 1,
) -> ModelConfig:
    """A model of today's parts; an encoder-decoder has as many layers on each side."""
    num_heads = width // head_width
    grouped = kind == "decoder" and target >= GROUPED_FROM_PARAMETERS
    return ModelConfig(
        vocab_size=vocab_size,
        context_tokens=context_tokens,
        num_layers=num_layers,
        width=width,
        num_heads=num_heads,
        num_kv_heads=num_heads // (_group_size(num_heads) if grouped else 1),
        ffn_width=_ffn_width(width),
        family="encoder-decoder" if kind == "seq2seq" else kind,
        num_encoder_layers=num_layers if kind == "seq2seq" else 0,
    )


def _group_size(num_heads: int) -> int:
    """How many heads share one key and value in large models, where the cache is what costs."""
    return next(size for size in (4, 3, 2, 1) if num_heads % size == 0)


def _ffn_width(width: int) -> int:
    """8/3 of the width, so that three matrices cost what two of 4 times the width would."""
    return math.ceil(width * 8 / 3 / 32) * 32
