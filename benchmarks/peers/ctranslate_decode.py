"""CTranslate2 over SmolLM2, converted to what its CPU code is fastest with.

Argument: {"compute", "threads", "prefill_tokens", "new_tokens"}.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import ctranslate2
from ctranslate2.converters import TransformersConverter
from decoding import CACHE, asked, take_turns

with tempfile.TemporaryDirectory() as name:
    folder = Path(name) / "converted"
    TransformersConverter(str(CACHE / "smollm2-hf")).convert(
        str(folder), quantization=asked["compute"]
    )
    words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    generator = ctranslate2.Generator(
        str(folder), compute_type=asked["compute"], intra_threads=asked["threads"]
    )


def generate(prompts: list[list[int]], num_new: int) -> int:
    found = generator.generate_batch(
        [[words[one] for one in prompt] for prompt in prompts],
        max_length=num_new,
        min_length=num_new,
        include_prompt_in_result=False,
        end_token=[],
    )
    return sum(len(one.sequences_ids[0]) for one in found)


take_turns(generate)
