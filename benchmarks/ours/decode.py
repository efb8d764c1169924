"""Our engine over SmolLM2. Argument: {"numbers", "threads", "prefill_tokens", "new_tokens"}.

numbers: "int8-dynamic", as `compress.method` has it, or torch's name of a float type.
"""

from __future__ import annotations

import torch
from decoding import CACHE, asked, take_turns

from noria.generate.batching import Engine, EngineSettings
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.model.quantized import to_int8
from noria.model.weights import load_decoder
from noria.tokenizer.load import load_tokenizer

torch.set_num_threads(asked["threads"])
folder = CACHE / "smollm2"
decoder = load_decoder(folder)
if asked["numbers"] == "int8-dynamic":
    decoder = to_int8(decoder, asked["numbers"])
else:
    decoder = decoder.to(getattr(torch, asked["numbers"]))
model = LanguageModel(decoder, load_tokenizer(folder), "")
engine = Engine(model, EngineSettings(prompt_tokens=1024))
never = tuple((one, -100.0) for one in model.tokenizer.stop_ids)  # no answer ends early


def generate(prompts: list[list[int]], num_new: int) -> int:
    sampling = Sampling(temperature=0, max_tokens=num_new, logit_bias=never)
    streams = [engine.submit(model, prompt, sampling) for prompt in prompts]
    return sum(sum(1 for _ in stream) for stream in streams)


take_turns(generate)
engine.close()
