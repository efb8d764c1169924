"""A body and a head as one model, with one config, one set of weights and one weight hash.

In: an encoder or decoder, and which head. Out: a model that turns ids into classes, spans, token
scores or vectors; its tensors are `body.*`, as the body alone names them, and `head.*`.
This module does not know files, labels' names or losses.
Legend: B batch, T tokens.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from noria.errors import UsageError
from noria.model.config import ModelConfig
from noria.model.heads import HeadConfig, build_head
from noria.model.init import INITIAL_DEVIATION, draw
from noria.model.masks import Rows
from noria.model.transformer import Decoder, Encoder, Transformer, build_model, empty_model


class HeadedModel(nn.Module):
    """What a body's hidden vectors are used for, as an ordinary model.

    Raises UsageError for an encoder-decoder, whose output is its decoder's, and for a masked
    language head over a decoder, which has its own.
    """

    def __init__(self, body: Transformer, head_config: HeadConfig) -> None:
        super().__init__()
        masked = head_config.kind == "masked"
        if not isinstance(body, Encoder if masked else Decoder | Encoder):
            raise UsageError(
                f"a head of kind {head_config.kind!r} on a model of family {body.config.family!r}",
                "an encoder" + ("" if masked else " or a decoder"),
                "choose another head or model",
            )
        self.head_config = head_config
        self.body = body
        self.head = build_head(body, head_config)

    @property
    def config(self) -> ModelConfig:
        """The body's."""
        return self.body.config

    @property
    def quantization(self) -> str | None:
        """The body's; a head stays float."""
        return self.body.quantization

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        real: Bool[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B ..."]:
        """What the head says of each row. real: false where it is padded. segments: an encoder's.

        Raises UsageError if the rows are longer than the context.
        """
        rows = Rows(real=real)
        if isinstance(self.body, Encoder):
            hidden = self.body(ids, rows=rows, segments=segments)
        else:
            hidden = self.body(ids, rows=rows)
        return self.head(hidden, real)  # type: ignore[no-any-return]


def empty_headed_model(config: ModelConfig, head_config: HeadConfig) -> HeadedModel:
    """A model on torch's meta device: names and shapes, no memory for weights."""
    with torch.device("meta"):
        return HeadedModel(empty_model(config), head_config)


def add_head(body: Transformer, head_config: HeadConfig, seed: int) -> HeadedModel:
    """The same body, not copied, under a fresh head that depends on its shapes and the seed alone.

    Matrices are normal with deviation 0.02 (Devlin et al. 2018, as all of BERT), biases 0.
    Raises UsageError as HeadedModel does.
    """
    with torch.device("meta"):
        model = HeadedModel(body, head_config)
    first = torch.Generator().manual_seed(seed)  # the body's own stream, which must not come twice
    generator = torch.Generator().manual_seed(int(torch.randint(1 << 62, (), generator=first)))
    shapes = {name: tuple(one.shape) for name, one in model.head.state_dict().items()}
    tensors = draw(shapes, generator, lambda _: INITIAL_DEVIATION)
    model.head.load_state_dict(tensors, assign=True)
    return model


def build_headed_model(config: ModelConfig, head_config: HeadConfig, seed: int) -> HeadedModel:
    """Fresh weights all over; the body's are those of `build_model` with the same seed."""
    return add_head(build_model(config, seed), head_config, seed)
