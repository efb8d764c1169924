"""The one table of the layouts that we read and write in Hugging Face's files.

In: the `model_type` that a config.json states, or a config of ours. Out: the layout of that name,
or the one that can say that config. A new layout is a module beside this one and a line here.
This module does not know files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from noria.errors import FormatError, UsageError
from noria.model.config import ModelConfig
from noria.model.layouts import bart, bert, gpt2, llama, t5
from noria.model.layouts.renaming import Parts

HfConfig = Mapping[str, Any]
Tensors = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """One family of published models, both ways.

    config: their config as ours. check: compare the shapes that files state with their config,
    before anything is read. read: their config and tensors as ours. fits: whether a config of ours
    can be said in this layout. write: a config and tensors of ours as theirs. computed: endings of
    names whose numbers follow from the config; they may be of any type. Readers raise FormatError
    for whatever we would compute differently, `write` UsageError for what the layout cannot say.
    """

    config: Callable[[HfConfig], ModelConfig]
    check: Callable[[HfConfig, Shapes], None]
    read: Callable[[HfConfig, Tensors], Parts]
    fits: Callable[[ModelConfig], bool]
    write: Callable[[ModelConfig, Tensors], tuple[dict[str, Any], dict[str, Tensor]]]
    computed: tuple[str, ...] = ()


def _headless(
    read: Callable[[HfConfig, Tensors], tuple[ModelConfig, dict[str, Tensor]]],
) -> Callable[[HfConfig, Tensors], Parts]:
    """The reader of a layout that has no heads of its own."""

    def parts(hf_config: HfConfig, tensors: Tensors) -> Parts:
        return Parts(*read(hf_config, tensors), head=None, head_tensors={})

    return parts


_BART = Layout(
    config=bart.config_from_bart,
    check=bart.check_bart_shapes,
    read=_headless(bart.from_bart),
    fits=bart.is_bart,
    write=bart.to_bart,
)
# the `model_type` of a config.json: its layout
LAYOUTS: dict[str, Layout] = {
    "llama": Layout(
        config=llama.config_from_llama,
        check=llama.check_llama_shapes,
        read=_headless(llama.from_llama),
        fits=ModelConfig.is_plain_llama,
        write=llama.to_llama,
        computed=(llama.COMPUTED_SUFFIX,),
    ),
    "gpt2": Layout(
        config=gpt2.config_from_gpt2,
        check=gpt2.check_gpt2_shapes,
        read=_headless(gpt2.from_gpt2),
        fits=gpt2.is_gpt2,
        write=gpt2.to_gpt2,
        computed=gpt2.COMPUTED,
    ),
    "bert": Layout(
        config=bert.config_from_bert,
        check=bert.check_bert_shapes,
        read=bert.from_bert,
        fits=bert.is_bert,
        write=bert.to_bert,
        computed=bert.COMPUTED,
    ),
    "t5": Layout(
        config=t5.config_from_t5,
        check=t5.check_t5_shapes,
        read=_headless(t5.from_t5),
        fits=t5.is_t5,
        write=t5.to_t5,
    ),
    "bart": _BART,
    "marian": _BART,
}


def layout_of(hf_config: HfConfig) -> Layout:
    """The layout that a config.json names. Raises FormatError for one that we do not read."""
    model_type = hf_config.get("model_type")
    if not isinstance(model_type, str) or model_type not in LAYOUTS:
        raise FormatError(
            f"a model of model_type {model_type!r}",
            f"one of {', '.join(LAYOUTS)}",
            "use a model of one of these families",
        )
    return LAYOUTS[model_type]


def layout_for(config: ModelConfig) -> Layout:
    """The layout that can say a config of ours. Raises UsageError if none can."""
    for layout in LAYOUTS.values():
        if layout.fits(config):
            return layout
    raise UsageError(
        f"a model of family {config.family!r} with styles of its own",
        f"the semantics of one of {', '.join(LAYOUTS)}",
        "train with a plain preset, or one of the historical ones, to export it",
    )
