"""Tokenizers that came with a model: a GGUF file's vocabulary, a folder in Hugging Face's layout, a
SentencePiece `.model` file.

Each gives the text of a `tokenizer.json` and the description that belongs beside it: of byte-level
BPE with the ids that transformers gives for the same file, of SentencePiece's BPE and Unigram with
those that sentencepiece gives.
"""

from __future__ import annotations

from noria.tokenizer.gguf_vocabulary import tokenizer_from_gguf
from noria.tokenizer.huggingface_files import tokenizer_from_huggingface
from noria.tokenizer.sentencepiece_vocabulary import tokenizer_from_sentencepiece

__all__ = ["tokenizer_from_gguf", "tokenizer_from_huggingface", "tokenizer_from_sentencepiece"]
