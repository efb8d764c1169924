"""Runs every public function of noria.model that has shapes in its signature, with jaxtyping and
beartype checking each call, and prints in JSON what was called and which wrong shapes passed."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from jaxtyping import TypeCheckError, install_import_hook

with install_import_hook("noria.model", "beartype.beartype"):
    from noria.generate.blocks import BlockPool
    from noria.generate.kernels import RaggedStep, Span, store_source
    from noria.model import adapted, adapters, likelihood, quantized, weights
    from noria.model.cache import KVCache
    from noria.model.config import ModelConfig
    from noria.model.headed import build_headed_model
    from noria.model.heads import HEAD_KINDS, HeadConfig, pool
    from noria.model.infill import Sentinels, infill_order, text_order
    from noria.model.layouts.llama_gguf import from_gguf_rows, to_gguf
    from noria.model.masks import Reading, Rows
    from noria.model.rotary import rotate
    from noria.model.styles import (
        AttentionStyle,
        EmbeddingStyle,
        FeedForwardStyle,
        Norm,
        Positions,
    )
    from noria.model.trace import layer_logits, trace
    from noria.model.transformer import Decoder, Encoder, EncoderDecoder, build_model

import torch

FOLDER = str(Path(weights.__file__).parent)
LLAMA = ModelConfig(
    vocab_size=50,
    context_tokens=12,
    num_layers=2,
    width=16,
    num_heads=4,
    num_kv_heads=2,
    ffn_width=24,
)
OLD = replace(
    LLAMA,
    tied=False,
    positions=Positions(kind="sinusoidal"),
    norm=Norm(kind="layer", place="after"),
    attention=AttentionStyle(bias=True, window_tokens=3),
    feedforward=FeedForwardStyle(activation="gelu", gated=False, bias=True),
)
LEARNED = replace(OLD, positions=Positions(kind="learned"))
T5 = replace(
    LLAMA,
    positions=Positions(kind="relative"),
    attention=AttentionStyle(query_key_norm=True),
    embedding=EmbeddingStyle(scaled=True, output_scaled=True, normed=True, output_bias=True),
)
IDS = torch.arange(18).view(3, 6)
REAL = torch.arange(6) < torch.tensor([[6], [4], [1]])
ROWS = (
    Rows(),
    Rows(real=REAL),
    Rows(documents=torch.tensor([[0, 0, 0, 1, 1, 1]]).expand(3, 6)),
    Rows(prefix_tokens=torch.tensor([2, 0, 6])),
)
called: set[str] = set()


def note(frame: FrameType, event: str, _: Any) -> None:
    """A profiler that writes down which functions of noria.model begin."""
    code = frame.f_code
    if event == "call" and code.co_filename.startswith(FOLDER):
        module = Path(code.co_filename).relative_to(FOLDER).with_suffix("")
        called.add(".".join((*module.parts, code.co_qualname)))


def learn(model: likelihood.Scores, hidden: torch.Tensor) -> None:
    """The loss with and without gradient."""
    total, _ = likelihood.cross_entropy_sum(model, hidden, IDS, REAL)
    total.backward()
    with torch.no_grad():
        likelihood.cross_entropy_sum(model, hidden, IDS, REAL.to(torch.uint8))


def drive_decoder(config: ModelConfig) -> None:
    """All kinds of rows, a cache, the loss, a look inside, 8-bit weights."""
    model = build_model(config, 1)
    assert isinstance(model, Decoder)
    for rows in ROWS:
        learn(model, model(IDS, rows=rows))
        layer_logits(model, trace(model, IDS, rows=rows).stack)
    for cut in (1, 4):
        cache = KVCache(config, 3, 6)
        for part in IDS.split(cut, dim=1):
            model(part, cache)
    cache.select(torch.tensor([2, 0]))
    held = BlockPool(config, 2, IDS.shape[1])
    blocks = [found for found in (held.take(), held.take()) if found is not None]
    spans = [Span(IDS.shape[1], 0, [block]) for block in blocks]
    model.forward_ragged(
        IDS[:2].reshape(1, -1),
        RaggedStep(held, spans, model.relative, config.attention.window_tokens),
    )
    list(adapters.float_tensors(model, None))
    quantized.to_int8(model)
    model.logits(model(IDS))
    model.output_weight()


def drive_encoder(config: ModelConfig) -> None:
    """All kinds of rows, under every head."""
    style = replace(config.embedding, num_segments=2)
    config = replace(config, family="encoder", embedding=style)
    for kind in HEAD_KINDS:
        num_classes = 3 if kind in ("sequence", "token") else 0
        head = HeadConfig(kind, num_classes, pooled_layer=kind == "sequence")
        model = build_headed_model(config, head, 1)
        assert isinstance(model.body, Encoder)
        model(IDS, REAL, IDS % 2)
        if kind == "masked":
            for rows in ROWS[:3]:
                learn(model.head, model.body(IDS, rows))
                layer_logits(model.head, trace(model.body, IDS, rows=rows, segments=IDS % 2).stack)
        with tempfile.TemporaryDirectory() as folder:
            weights.save_model(Path(folder), model)
            weights.load_headed_model(Path(folder))(IDS, REAL)


def drive_encoder_decoder(config: ModelConfig) -> None:
    """Both at once, with a cache, a look inside."""
    model = build_model(replace(config, family="encoder-decoder", num_encoder_layers=1), 1)
    assert isinstance(model, EncoderDecoder)
    source = IDS[:, :5]
    learn(model, model(source, IDS, REAL[:, :5]))
    memory, cache = model.encode(source), KVCache(model.config, 3, 6)
    for part in IDS.split(2, dim=1):
        model.logits(model.decode(part, memory, REAL[:, :5], cache))
    held = BlockPool(model.config, 4, IDS.shape[1])
    blocks = [found for found in (held.take() for _ in range(4)) if found is not None]
    for layer, (keys, values) in enumerate(model.sources(memory)):
        for row in range(2):
            store_source(held, [blocks[row]], layer, keys[row], values[row])
    spans = [
        Span(IDS.shape[1], 0, [blocks[2 + row]], source.shape[1], [blocks[row]]) for row in range(2)
    ]
    step = RaggedStep(held, spans, model.decoder.relative, config.attention.window_tokens)
    model.forward_ragged(IDS[:2].reshape(1, -1), step)
    traced = trace(model, IDS, rows=ROWS[1], source_ids=source, source_real=REAL[:, :5])
    layer_logits(model, traced.stack)


def drive_adapter() -> None:
    """A low-rank update beside a layer, and the rows of a GGUF file."""
    layer = torch.nn.Linear(6, 4)
    shape = adapted.AdapterShape(2, 4.0, frozenset(["query"]))
    for plain in (layer, quantized.Int8Linear(layer)):
        beside = adapted.AdaptedLinear(plain)
        update = adapted.fresh_update(beside.floats(), shape, torch.Generator().manual_seed(1))
        beside.add("one", update)
        beside.use("one")
        beside(torch.ones(2, 3, 6))
        update.product()
    _, tensors = to_gguf(LLAMA, build_model(LLAMA, 1).state_dict())
    from_gguf_rows(LLAMA, "blocks.0.attention.query.weight", tensors["blk.0.attn_q.weight"])


def wrong_calls() -> dict[str, Callable[[], object]]:
    """Calls with one dimension that is not what the signature says."""
    model = build_model(LLAMA, 1)
    assert isinstance(model, Decoder)
    hidden, block = torch.ones(3, 6, 16), model.blocks[0]
    turn = torch.ones(1, 6, 1, 2)
    return {
        "ids of one row without a batch": lambda: model(IDS[0]),
        "ids that are floats": lambda: model(IDS.float()),
        "rows that are fewer than the texts": lambda: pool(hidden, REAL[:2], "mean"),
        "targets of another length": lambda: likelihood.cross_entropy_sum(
            model, hidden, IDS[:, :5], REAL
        ),
        "hidden vectors without tokens": lambda: block(
            hidden[:, 0], Reading(None, None, None, True)
        ),
        "sines of another place than cosines": lambda: rotate(
            torch.ones(3, 6, 4, 4), turn, turn[:, :5]
        ),
        "targets beyond the logits": lambda: likelihood.token_losses(hidden[0], IDS[0, :4]),
        "a vector to be rounded by rows": lambda: quantized.quantize_rows(hidden[0, 0]),
    }


def main() -> None:
    """Drive, then try what must be refused."""
    torch.set_num_threads(1)
    sys.setprofile(note)
    for config in (LLAMA, OLD, LEARNED, T5):
        drive_decoder(config)
        drive_encoder(config)
        drive_encoder_decoder(config)
    drive_adapter()
    marks = Sentinels(90, 91, 92)
    assert text_order(infill_order([1, 2, 3], 1, 2, marks), marks) == [1, 2, 3]
    sys.setprofile(None)
    outcomes: dict[str, list[str]] = {"accepted": [], "refused": []}
    for name, call in wrong_calls().items():
        try:
            call()
        except TypeCheckError:
            outcomes["refused"].append(name)
        else:
            outcomes["accepted"].append(name)
    print(json.dumps({"called": sorted(called), **outcomes}))


if __name__ == "__main__":
    main()
