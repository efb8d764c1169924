"""The shape of a decoder as one frozen value, and its JSON form.

In: eight counts and three constants, or the JSON that a model folder holds.
Out: a validated value that every other file of this folder reads.
This module does not know weights, files or torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from noria.errors import FormatError, UsageError

CONFIG_FORMAT = 1
ARCHITECTURE = "decoder"
_COUNTS = (
    "vocab_size",
    "context_tokens",
    "num_layers",
    "width",
    "num_heads",
    "num_kv_heads",
    "ffn_width",
)


@dataclass(frozen=True)
class ModelConfig:
    """A decoder with Llama's semantics. Raises UsageError if the values can't make a model.

    `width` is split evenly over `num_heads`; groups of heads share one of `num_kv_heads` keys and
    values. `tied` means that the output layer is the embedding, transposed.
    """

    vocab_size: int
    context_tokens: int
    num_layers: int
    width: int
    num_heads: int
    num_kv_heads: int
    ffn_width: int
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise _refuse(f"{name} = {value!r}", "a whole number above 0")
        for name in ("rope_base", "norm_epsilon"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 < value < float("inf"):
                raise _refuse(f"{name} = {value!r}", "a number above 0")
        if type(self.tied) is not bool:
            raise _refuse(f"tied = {self.tied!r}", "true or false")
        if self.width % self.num_heads or (self.width // self.num_heads) % 2:
            raise _refuse(
                f"width {self.width} over {self.num_heads} heads",
                "the same even width for each head (rotary positions turn pairs)",
            )
        if self.num_heads % self.num_kv_heads:
            raise _refuse(
                f"{self.num_heads} heads over {self.num_kv_heads} key-value heads",
                "groups of equal size",
            )

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.num_heads

    @property
    def kv_width(self) -> int:
        """Width of all keys (or all values) of one token in one layer."""
        return self.num_kv_heads * self.head_width

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values with the format version and the kind of model."""
        return {"format": CONFIG_FORMAT, "architecture": ARCHITECTURE, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelConfig:
        """Read a config back; other keys than a config's own are a mistake.

        Raises FormatError for another format version or architecture, and for wrong fields.
        """
        rest = dict(value)
        kind = (rest.pop("format", None), rest.pop("architecture", None))
        if kind != (CONFIG_FORMAT, ARCHITECTURE):
            raise FormatError(
                f"a model config of format {kind[0]!r}, architecture {kind[1]!r}",
                f"format {CONFIG_FORMAT}, architecture {ARCHITECTURE!r}",
                "use the version of Noria that wrote it, or train again",
            )
        names = {one.name for one in fields(cls)}
        if set(rest) != names:
            wrong = ", ".join(sorted(set(rest) ^ names))
            raise FormatError(
                f"a model config with missing or unknown fields ({wrong})",
                "the fields of a decoder",
                "train or import the model again",
            )
        try:
            return cls(**rest)
        except UsageError as error:
            raise FormatError(error.given, error.expected, error.fix) from error


def _refuse(given: str, expected: str) -> UsageError:
    return UsageError(f"a model with {given}", expected, "change the preset or the config")
