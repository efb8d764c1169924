"""Tokenizers that came with a model: a GGUF file's vocabulary, a folder in Hugging Face's layout.

Each gives the text of a `tokenizer.json` and the description that belongs beside it. Byte-level BPE
only; the ids equal those that transformers gives for the same file.
"""

from __future__ import annotations

from noria.tokenizer.gguf_vocabulary import tokenizer_from_gguf
from noria.tokenizer.huggingface_files import tokenizer_from_huggingface

__all__ = ["tokenizer_from_gguf", "tokenizer_from_huggingface"]
