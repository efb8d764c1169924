"""The names of a tokenizer's files, and the special tokens of the tokenizers that we train.

In: nothing. Out: constants. A tokenizer that came with a model has special tokens of its own, which
its description lists; outside training, ask the tokenizer.
"""

from __future__ import annotations

TOKENIZER_FORMAT = 2  # 1: the four tokens below at 0 to 3, and nothing but the chat format stated
TOKENIZER_FILE = "tokenizer.json"
META_FILE = "tokenizer_meta.json"
TOKENIZER_FILES = (TOKENIZER_FILE, META_FILE)

END_TEXT, END_ID = "<|endoftext|>", 0  # between documents, and before the first
TURN_START_TEXT, TURN_START_ID = "<|im_start|>", 1
TURN_END_TEXT, TURN_END_ID = "<|im_end|>", 2
PAD_TEXT, PAD_ID = "<|pad|>", 3
SPECIALS = (END_TEXT, TURN_START_TEXT, TURN_END_TEXT, PAD_TEXT)  # position = id

CHAT_FORMATS = ("plain", "chatml")  # those that a tokenizer of ours can be trained for
