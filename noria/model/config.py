"""The shape of a Transformer as one frozen value, and its JSON form.

In: a family, counts, and a style for each concept; or the JSON that a model folder holds.
Out: a validated value that every other file of this folder reads. Each style's fields are read by
the file of the same name; their defaults are Llama's.
This module does not know weights, files or torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from noria.errors import FormatError, UsageError
from noria.model.styles import (
    AttentionStyle,
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
    Positions,
    count,
    one_of,
    refuse,
    switch,
)

CONFIG_FORMAT = 2
FAMILIES = ("decoder", "encoder", "encoder-decoder")
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
    """A Transformer. Raises UsageError if the values can't make a model.

    Groups of `num_heads` heads share one of `num_kv_heads` keys and values; `own_head_width` is
    that of a head whose width is not width / heads. `tied` means that the output layer is the
    embedding, transposed. `num_encoder_layers` is that of an encoder-decoder, beside `num_layers`
    of its decoder.
    """

    vocab_size: int
    context_tokens: int
    num_layers: int
    width: int
    num_heads: int
    num_kv_heads: int
    ffn_width: int
    tied: bool = True
    own_head_width: int = 0
    family: str = "decoder"
    num_encoder_layers: int = 0
    positions: Positions = field(default_factory=Positions)
    norm: Norm = field(default_factory=Norm)
    attention: AttentionStyle = field(default_factory=AttentionStyle)
    feedforward: FeedForwardStyle = field(default_factory=FeedForwardStyle)
    embedding: EmbeddingStyle = field(default_factory=EmbeddingStyle)
    dropout: Dropout = field(default_factory=Dropout)

    def __post_init__(self) -> None:
        for name in _COUNTS:
            count(name, getattr(self, name))
        for name, kind in _STYLES.items():
            if not isinstance(getattr(self, name), kind):
                raise refuse(f"{name} = {getattr(self, name)!r}", f"{kind.__name__}(…)")
        switch("tied", self.tied)
        one_of("family", self.family, FAMILIES)
        if self.own_head_width != 0:
            count("own_head_width", self.own_head_width)
        elif self.width % self.num_heads:
            raise refuse(
                f"width {self.width} over {self.num_heads} heads", "the same for each head"
            )
        if self.num_heads % self.num_kv_heads:
            raise refuse(
                f"{self.num_heads} heads over {self.num_kv_heads} key-value heads",
                "groups of equal size",
            )
        if self.positions.kind == "rotary" and self.head_width % 2:
            raise refuse(
                f"width {self.width} over {self.num_heads} heads",
                "the same even width for each head (rotary positions turn pairs)",
            )
        if self.positions.kind == "sinusoidal" and self.width % 2:
            raise refuse(f"width {self.width}", "an even one (sinusoidal positions are pairs)")
        if (self.family == "encoder-decoder") != (self.num_encoder_layers != 0):
            raise refuse(
                f"{self.num_encoder_layers!r} encoder layers in a model of family {self.family!r}",
                "1 or more in an encoder-decoder, 0 in others",
            )
        if self.num_encoder_layers != 0:
            count("num_encoder_layers", self.num_encoder_layers)
        if self.embedding.num_segments and self.family != "encoder":
            raise refuse(f"segments in a model of family {self.family!r}", "segments in encoders")

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.own_head_width or self.width // self.num_heads

    @property
    def query_width(self) -> int:
        """Width of all queries of one token in one layer."""
        return self.num_heads * self.head_width

    @property
    def kv_width(self) -> int:
        """Width of all keys (or all values) of one token in one layer."""
        return self.num_kv_heads * self.head_width

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values with the format version and the kind of model.

        What format 1 can say is still said in it, so that no artifact's key changes.
        """
        values = asdict(self)
        if self.is_plain_llama() and self.dropout == Dropout():
            return {"format": 1, "architecture": "decoder", **_format_1(values)}
        return {"format": CONFIG_FORMAT, "architecture": values.pop("family"), **values}

    def is_plain_llama(self) -> bool:
        """Whether this is a decoder with Llama's semantics, whatever it drops while training."""
        styles = {name: getattr(self, name) for name in _STYLES}
        plain = {name: kind() for name, kind in _STYLES.items()}
        plain["positions"] = Positions(base=self.positions.base)
        plain["norm"] = Norm(epsilon=self.norm.epsilon)
        plain["dropout"] = self.dropout
        return self.family == "decoder" and self.own_head_width == 0 and styles == plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelConfig:
        """Read a config back; other keys than a config's own are a mistake.

        Raises FormatError for another format version or family, and for wrong fields.
        """
        rest = dict(value)
        kind = (rest.pop("format", None), rest.pop("architecture", None))
        readable = kind == (1, "decoder") or (kind[0] == CONFIG_FORMAT and kind[1] in FAMILIES)
        if not readable or isinstance(kind[0], bool):
            raise FormatError(
                f"a model config of format {kind[0]!r}, architecture {kind[1]!r}",
                f"format 1 of a decoder, or format {CONFIG_FORMAT} of {', '.join(FAMILIES)}",
                "use the version of Noria that wrote it, or train again",
            )
        try:
            if kind[0] == 1:
                _check_names(rest, _FORMAT_1_NAMES, "a decoder")
                return _from_format_1(rest)
            rest["family"] = kind[1]
            _check_names(rest, {one.name for one in fields(cls)}, "a model")
            styles: dict[str, Any] = {
                name: _style(rest[name], kind, name) for name, kind in _STYLES.items()
            }
            return cls(**{**rest, **styles})
        except UsageError as error:
            raise FormatError(error.given, error.expected, error.fix) from error


_STYLES: dict[str, type] = {
    "positions": Positions,
    "norm": Norm,
    "attention": AttentionStyle,
    "feedforward": FeedForwardStyle,
    "embedding": EmbeddingStyle,
    "dropout": Dropout,
}
_FORMAT_1_NAMES = {*_COUNTS, "rope_base", "norm_epsilon", "tied"}
StyleT = TypeVar("StyleT")


def _format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of format 1, in its order: a decoder with Llama's semantics."""
    return {
        **{name: values[name] for name in _COUNTS},
        "rope_base": values["positions"]["base"],
        "norm_epsilon": values["norm"]["epsilon"],
        "tied": values["tied"],
    }


def _from_format_1(values: Mapping[str, Any]) -> ModelConfig:
    rest = dict(values)
    positions = Positions(base=rest.pop("rope_base"))
    norm = Norm(epsilon=rest.pop("norm_epsilon"))
    return ModelConfig(**rest, positions=positions, norm=norm)


def _style(value: Any, kind: type[StyleT], name: str) -> StyleT:
    if not isinstance(value, Mapping):
        raise refuse(f"{name} = {value!r}", "an object")
    _check_names(value, {one.name for one in fields(kind)}, name)  # type: ignore[arg-type]
    return kind(**value)


def _check_names(found: Mapping[str, Any], wanted: set[str], what: str) -> None:
    if set(found) != wanted:
        wrong = ", ".join(sorted(set(found) ^ wanted))
        raise FormatError(
            f"a model config with missing or unknown fields ({wrong})",
            f"the fields of {what}",
            "train or import the model again",
        )
