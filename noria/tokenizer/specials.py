"""The special tokens and the names of a tokenizer's files: known to training, loading and packing.

In: nothing. Out: constants. The ids are part of the format: every tokenizer has them.
"""

from __future__ import annotations

TOKENIZER_FORMAT = 1
TOKENIZER_FILE = "tokenizer.json"
META_FILE = "tokenizer_meta.json"

END_TEXT, END_ID = "<|endoftext|>", 0  # between documents, and before the first
TURN_START_TEXT, TURN_START_ID = "<|im_start|>", 1
TURN_END_TEXT, TURN_END_ID = "<|im_end|>", 2
PAD_TEXT, PAD_ID = "<|pad|>", 3
SPECIALS = (END_TEXT, TURN_START_TEXT, TURN_END_TEXT, PAD_TEXT)  # position = id

CHAT_FORMATS = ("plain", "chatml")
