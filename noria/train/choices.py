"""A model in; precision, batch cut and compilation out, chosen by timing real steps.

The answer goes into the lock: two runs with one lock take the same choices, hence the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch

from noria.errors import FormatError
from noria.model.cost import num_parameters
from noria.model.transformer import Decoder
from noria.recipe import TrainSettings
from noria.runtime import detect_device, has_compiler, has_fast_bfloat16, num_cores
from noria.train.batch import TokenBatch
from noria.train.blocks import compile_blocks
from noria.train.casting import cast_once
from noria.train.objectives.losses import next_token
from noria.train.optim import build_optimizer
from noria.train.plan import Choices
from noria.train.step import train_step

MICRO_BATCH_TOKENS = (2048, 4096, 8192)
LARGE_MICRO_BATCH_TOKENS = (256,)  # of a base model, whose activations are what fills memory
LARGE_PARAMETERS = 50_000_000
WORTH_COMPILING_S = 150.0  # shorter training is over before a compiled block pays back
NUM_TIMED_STEPS = 3
MATMUL_WIDTH = 2048


def tokens_per_s(
    model: Decoder, optimizer: str, context_tokens: int, choices: Choices, seed: int = 0
) -> float:
    """Speed of training a model on random tokens: best of a few steps after a warm one.

    The learning rate is 0: the model's weights stay as they are.
    """
    torch.set_num_threads(choices.num_threads)
    model.train()
    if choices.compile:
        compile_blocks(model)
    stepping = build_optimizer(model, optimizer, 0.0, 0.0)
    generator = torch.Generator().manual_seed(seed)
    shape = (choices.micro_batch_sequences * choices.parts_at_once, context_tokens)
    ids = torch.randint(model.config.vocab_size, shape, generator=generator)
    batch = TokenBatch(ids, ids.roll(-1, 1), torch.ones(shape, dtype=torch.bool))
    best = 0.0
    with cast_once(model, choices.precision):
        for step in range(1 + NUM_TIMED_STEPS):
            started_at = time.perf_counter()
            train_step(model, stepping, batch, choices, 1.0, next_token())
            if step > 0:
                best = max(best, ids.numel() / (time.perf_counter() - started_at))
    return best


def measure_matmul(choices: Choices) -> dict[str, Any]:
    """How many multiplications and additions of a large matrix product this machine does a second.

    The best of several, in the precision and with the threads of the training.
    """
    torch.set_num_threads(choices.num_threads)
    number_type = torch.bfloat16 if choices.precision == "bfloat16" else torch.float32
    shape = (MATMUL_WIDTH, MATMUL_WIDTH)
    matrix = torch.rand(shape, device=detect_device()).to(number_type)
    best_s = inf
    for _ in range(1 + NUM_TIMED_STEPS):
        started_at = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # reading a number waits for a GPU
        best_s = min(best_s, time.perf_counter() - started_at)
    return {"flops_per_s": round(2 * MATMUL_WIDTH**3 / best_s)}


def micro_batch_candidates(
    batch_sequences: int, context_tokens: int, sizes_tokens: Sequence[int] = MICRO_BATCH_TOKENS
) -> list[int]:
    """Ways to cut a batch into equal parts of about so many tokens, in sequences."""
    divisors = [n for n in range(1, batch_sequences + 1) if batch_sequences % n == 0]
    wanted = [max(1, tokens // context_tokens) for tokens in sizes_tokens]
    return sorted({max((d for d in divisors if d <= want), default=1) for want in wanted})


def measure_choices(
    model: Decoder,
    settings: TrainSettings,
    context_tokens: int,
    num_sequences: int,
    num_tokens: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Time candidates for one training run of `num_tokens`; returns Choices and the speed as JSON.

    `num_sequences` of `context_tokens` are a batch; what trains is what requires a gradient.
    bfloat16 is tried where the machine multiplies it in hardware, compilation where a compiler
    is and the run is long enough to pay it back; a setting other than "auto" is obeyed. Over a
    frozen base a micro-batch for each core is tried: its rows are short, and there is no dropout.
    """
    large = num_parameters(model.config) >= LARGE_PARAMETERS
    sizes_tokens = LARGE_MICRO_BATCH_TOKENS if large else MICRO_BATCH_TOKENS
    cuts = micro_batch_candidates(num_sequences, context_tokens, sizes_tokens)
    fast_bfloat16 = has_fast_bfloat16()
    precisions = {
        "auto": ["float32", "bfloat16"] if fast_bfloat16 else ["float32"],
        "float32": ["float32"],
        "bfloat16": ["bfloat16"],
    }[settings.precision]
    threads = num_cores()
    speeds = {
        choices: tokens_per_s(model, settings.optimizer, context_tokens, choices)
        for precision in precisions
        for cut in cuts
        for choices in (
            Choices(precision, False, cut, threads, at_once)
            for at_once in _at_once(model, threads, num_sequences // cut)
        )
    }
    best = max(speeds, key=lambda choices: speeds[choices])
    reason = _compile_reason(settings, num_tokens / speeds[best])
    if reason is None:
        compiled = Choices(best.precision, True, best.micro_batch_sequences, threads)
        speeds[compiled] = tokens_per_s(model, settings.optimizer, context_tokens, compiled)
        if speeds[compiled] > speeds[best] or settings.compile == "on":
            best, reason = compiled, "compiled blocks are faster"
        else:
            reason = "compiled blocks are not faster"
    times = f"{best.parts_at_once} × " if best.parts_at_once > 1 else ""
    say(
        f"{best.precision}, {times}{best.micro_batch_sequences} sequences at a "
        f"time, {threads} threads, compile {'on' if best.compile else 'off'} ({reason}): "
        f"{speeds[best]:,.0f} tokens/s"
    )
    return {**best.to_json(), "tokens_per_s": round(speeds[best], 1)}


def _at_once(model: Decoder, num_threads: int, num_parts: int) -> list[int]:
    """How many micro-batches are tried at once."""
    frozen = not all(parameter.requires_grad for parameter in model.parameters())
    shared = detect_device() == "cpu" and min(num_threads, num_parts) > 1
    return [1, num_threads] if frozen and shared else [1]


def _compile_reason(settings: TrainSettings, eager_s: float) -> str | None:
    """Why compilation is not tried, or None if it is."""
    if settings.compile == "off":
        return "it is switched off"
    if not has_compiler():
        return "no C++ compiler on this machine"
    if settings.compile == "auto" and eager_s < WORTH_COMPILING_S:
        return f"training takes about {eager_s:.0f} s without"
    return None


def choices_from_lock(entry: dict[str, Any]) -> Choices:
    """Read the choices back from a lock entry. Raises FormatError for one that makes no sense."""
    names = ("micro_batch_sequences", "num_threads", "parts_at_once")
    counts = [entry.get(name, 1 if name == "parts_at_once" else None) for name in names]
    speed = entry.get("tokens_per_s", 1.0)
    if (
        entry.get("precision") not in ("float32", "bfloat16")
        or not isinstance(entry.get("compile"), bool)
        or not all(type(count) is int and 0 < count < 2**20 for count in counts)
        or not (isinstance(speed, int | float) and speed > 0)
    ):
        raise FormatError(
            f"a lock entry that makes no sense: {entry!r}",
            "precision, compile, micro_batch_sequences, num_threads, tokens_per_s",
            "delete the lock to measure again",
        )
    return Choices(
        precision=entry["precision"],
        compile=entry["compile"],
        micro_batch_sequences=entry["micro_batch_sequences"],
        num_threads=entry["num_threads"],
        parts_at_once=entry.get("parts_at_once", 1),
    )
