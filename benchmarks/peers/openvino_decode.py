"""OpenVINO GenAI's continuous batching over SmolLM2's own 4-bit file.

Argument: {"gguf", "threads", "prefill_tokens", "new_tokens"}.
"""

from __future__ import annotations

import numpy as np
import openvino_genai as genai
from decoding import asked, take_turns
from openvino import Tensor

scheduler = genai.SchedulerConfig()
scheduler.cache_size = 1
scheduler.enable_prefix_caching = False
scheduler.max_num_batched_tokens = 1024
pipeline = genai.LLMPipeline(
    asked["gguf"],
    "CPU",
    scheduler_config=scheduler,
    INFERENCE_NUM_THREADS=asked["threads"],
)


def generate(prompts: list[list[int]], num_new: int) -> int:
    config = genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = num_new
    config.ignore_eos = True
    config.do_sample = False
    config.apply_chat_template = False
    ids = Tensor(np.array(prompts, dtype=np.int64))
    mask = Tensor(np.ones((len(prompts), len(prompts[0])), dtype=np.int64))
    found = pipeline.generate(genai.TokenizedInputs(ids, mask), config)
    return sum(len(one) for one in found.tokens)


take_turns(generate)
