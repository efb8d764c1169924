"""What every export starts from: a model folder with float32 weights, and its tokenizer.

In: a folder. Out: model and tokenizer, or a refusal. This module does not know layouts.
"""

from __future__ import annotations

from pathlib import Path

from noria.errors import UsageError
from noria.generate.loaded import LanguageModel, load_language_model


def load_exportable(model_folder: Path) -> LanguageModel:
    """Load a model that can be written down in another program's layout.

    Raises UsageError for an int8 model: the layouts have no place for its scales, and weights that
    are rounded back to floats would not be the weights that were evaluated.
    """
    loaded = load_language_model(model_folder)
    if loaded.model.quantization is not None:
        raise UsageError(
            f"{model_folder} holds {loaded.model.quantization} weights",
            "float32 weights",
            "export the model that it was made from",
        )
    return loaded
