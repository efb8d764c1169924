"""Small Llamas made by transformers, and GGUF files made of them as llama.cpp's converter does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tokenizers
import torch
from tokenizers import models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from noria.tokenizer.known_templates import known_template

VOCAB_SIZE = 350
SHAPES: dict[str, dict[str, Any]] = {
    "grouped-tied": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "grouped-untied": {"num_key_value_heads": 3, "tie_word_embeddings": False},
    "full-untied": {"num_key_value_heads": 6, "tie_word_embeddings": False},
}


def tiny_llama(shape: str, vocab_size: int = VOCAB_SIZE) -> LlamaForCausalLM:
    """Random weights, norms uneven, so that a swapped row or name would show."""
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=96,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=6,
        max_position_embeddings=256,
        rms_norm_eps=3e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        initializer_range=0.1,
        **SHAPES[shape],
    )
    torch.manual_seed(5)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape)
    return model


GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    name = name.removesuffix(".weight")
    if name.startswith("model.layers."):
        _, _, layer, part = name.split(".", 3)
        return f"blk.{layer}.{GGUF_NAMES[part]}.weight"
    others = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    return others[name] + ".weight"


def pairs_beside(rows: np.ndarray, num_heads: int) -> np.ndarray:
    """Row i and row i + D/2 of each head come to stand beside each other."""
    width = rows.shape[0] // num_heads
    order = [
        head * width + half * (width // 2) + pair
        for head in range(num_heads)
        for pair in range(width // 2)
        for half in (0, 1)
    ]
    return rows[order]


def llama_keys(config: LlamaConfig) -> dict[str, int | float]:
    return {
        "llama.context_length": config.max_position_embeddings,
        "llama.block_count": config.num_hidden_layers,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.vocab_size": config.vocab_size,
        "llama.rope.dimension_count": config.hidden_size // config.num_attention_heads,
        "llama.rope.freq_base": config.rope_parameters["rope_theta"],
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
    }


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    quantized: str = "",
    changes: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray | None] | None = None,
    architecture: str = "llama",
) -> None:
    """A GGUF file of a Llama; a change of None leaves a key or tensor out."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in (llama_keys(model.config) | (changes or {})).items():
        if value is None:
            continue
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)
    found: dict[str, np.ndarray | None] = {}
    for name, tensor in model.state_dict().items():
        rows = tensor.numpy()
        if "q_proj" in name:
            rows = pairs_beside(rows, model.config.num_attention_heads)
        if "k_proj" in name:
            rows = pairs_beside(rows, model.config.num_key_value_heads)
        if not (name == "lm_head.weight" and model.config.tie_word_embeddings):
            found[gguf_name(name)] = rows
    for name, rows in (found | (tensors or {})).items():
        if rows is None:
            continue
        kind = gguf.GGMLQuantizationType[quantized] if quantized and rows.ndim == 2 else None
        if kind is None:
            writer.add_tensor(name, np.ascontiguousarray(rows))
        else:
            writer.add_tensor(name, gguf.quants.quantize(rows, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


TEXTS = [
    "The wheel turns because the river turns it; the river carries the water up.",
    "A water wheel lifts water to the fields, and the fields feed the town — café, naïve.",
    "水车由河水推动，把水提到高处，灌溉农田。机器学习需要数据。",
] * 3


def tokenizer_keys(pre: str = "smollm", chat_format: str = "smollm2") -> dict[str, Any]:
    """A small byte-level BPE as the metadata of a GGUF file, with chat turns' special tokens."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([digits, byte_level]) if pre == "smollm" else byte_level
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 10,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    stored = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(stored["vocab"], key=stored["vocab"].get)
    unused = [f"[PAD{number}]" for number in range(len(tokens), VOCAB_SIZE)]
    kinds = [3] * len(specials) + [1] * (len(tokens) - len(specials)) + [5] * len(unused)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens + unused,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(one) for one in stored["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": known_template(chat_format, "").text,
    }


def speak_ascii(model: LlamaForCausalLM, keys: dict[str, Any]) -> LlamaForCausalLM:
    """Never the likeliest: special tokens and torn characters, which llama.cpp does not report."""
    tokens, kinds = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    silent = [
        number
        for number, token in enumerate(tokens)
        if kinds[number] != 1 or not token.replace("Ġ", " ").isascii()
    ]
    with torch.no_grad():
        model.get_output_embeddings().weight[silent] = 0.0
    return model
