from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_llamas import SHAPES, VOCAB_SIZE, tiny_llama, write_gguf
from transformers import AutoModelForCausalLM

from noria.bases.gguf import read_gguf_model
from noria.errors import FormatError, InputError
from noria.model.layouts.llama_gguf import from_gguf_rows, gguf_names, to_gguf
from noria.model.shapes import tensor_shapes


def some_ids() -> torch.Tensor:
    return torch.randint(0, VOCAB_SIZE, (2, 40), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_gguf_llama_gives_the_logits_of_the_model_it_was_made_of(
    shape: str, tmp_path: Path
) -> None:
    theirs = tiny_llama(shape)
    write_gguf(tmp_path / "tiny.gguf", theirs)
    ours = read_gguf_model(tmp_path / "tiny.gguf")
    assert (ours.head is None) == theirs.config.tie_word_embeddings
    assert (ours.config.positions.base, ours.config.norm.epsilon) == (5000.0, 3e-6)
    with torch.no_grad():
        wanted, found = theirs(some_ids()).logits, ours.logits(ours(some_ids()))
    assert wanted.std() > 0.5
    assert (wanted - found).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_1"])
def test_a_quantized_llama_gives_the_logits_of_transformers_reading_the_same_file(
    kind: str, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_llama("grouped-untied"), kind)
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="tiny.gguf", dtype=torch.float32, local_files_only=True
    )
    ours = read_gguf_model(tmp_path / "tiny.gguf")
    with torch.no_grad():
        wanted, found = theirs(some_ids()).logits, ours.logits(ours(some_ids()))
    assert (wanted - found).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_that_go_out_come_back_in_their_places(shape: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_llama(shape))
    ours = read_gguf_model(tmp_path / "tiny.gguf")
    tensors = ours.state_dict()
    assert {name: tuple(one.shape) for name, one in tensors.items()} == tensor_shapes(ours.config)
    _, written = to_gguf(ours.config, tensors)
    for name, theirs in gguf_names(ours.config).items():
        assert torch.equal(from_gguf_rows(ours.config, name, written[theirs]), tensors[name])
    turned = written["blk.0.attn_q.weight"]
    assert not torch.equal(turned, tensors["blocks.0.attention.query.weight"])


@pytest.mark.parametrize(
    "changes",
    [
        {"llama.block_count": None},
        {"llama.block_count": 2},
        {"llama.block_count": 4},
        {"llama.block_count": 2**32 - 1},
        {"llama.block_count": "3"},
        {"llama.embedding_length": 48},
        {"llama.embedding_length": 0},
        {"llama.embedding_length": 2**32 - 2},
        {"llama.feed_forward_length": 161},
        {"llama.attention.head_count": 0},
        {"llama.attention.head_count": 5},
        {"llama.attention.head_count": 1, "llama.context_length": 2**32 - 1},
        {"llama.attention.head_count_kv": 4},
        {"llama.attention.head_count_kv": [2, 2, 2]},
        {"llama.context_length": 2**32 - 1},
        {"llama.context_length": 0},
        {"llama.vocab_size": VOCAB_SIZE + 1},
        {"llama.rope.dimension_count": 8},
        {"llama.rope.freq_base": float("nan")},
        {"llama.rope.freq_base": -1.0},
        {"llama.rope.scaling.type": "yarn"},
        {"llama.rope.scaling.factor": 4.0},
        {"llama.attention.layer_norm_rms_epsilon": None},
        {"llama.attention.layer_norm_rms_epsilon": float("inf")},
        {"llama.attention.sliding_window": 32},
        {"llama.expert_count": 8},
        {"llama.logit_scale": 2.0},
        {"general.type": "adapter"},
        {"split.count": 2},
    ],
)
def test_a_llama_that_we_would_compute_differently_is_refused(
    changes: dict[str, object], tmp_path: Path
) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_llama("grouped-tied"), changes=changes)
    with pytest.raises(FormatError, match=r"tiny\.gguf"):
        read_gguf_model(tmp_path / "tiny.gguf")


@pytest.mark.parametrize(
    "tensors",
    [
        {"blk.1.attn_k.weight": None},
        {"output_norm.weight": None},
        {"token_embd.weight": None},
        {"token_embd.weight": np.ones(VOCAB_SIZE, np.float32)},
        {"token_embd.weight": np.ones((VOCAB_SIZE, 95), np.float32)},
        {"output.weight": np.ones((VOCAB_SIZE + 1, 96), np.float32)},
        {"blk.1.attn_q.bias": np.ones(96, np.float32)},
        {"rope_freqs.weight": np.ones(8, np.float32)},
        {"blk.3.attn_norm.weight": np.ones(96, np.float32)},
        {"embedding.weight": np.ones((VOCAB_SIZE, 96), np.float32)},
        {"blk.1.ffn_up.weight": np.ones((96, 160), np.float32)},
    ],
)
def test_tensors_that_are_not_those_of_the_config_are_refused(
    tensors: dict[str, np.ndarray | None], tmp_path: Path
) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_llama("grouped-tied"), tensors=tensors)
    with pytest.raises(FormatError, match=r"tiny\.gguf"):
        read_gguf_model(tmp_path / "tiny.gguf")


def test_another_architecture_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_llama("grouped-tied"), architecture="qwen2")
    with pytest.raises(FormatError, match="architecture 'qwen2'"):
        read_gguf_model(tmp_path / "tiny.gguf")
    with pytest.raises(InputError, match="does not exist"):
        read_gguf_model(tmp_path / "none.gguf")


def test_keys_that_llama_cpp_has_defaults_for_may_be_absent(tmp_path: Path) -> None:
    absent = {"llama.vocab_size": None, "llama.rope.freq_base": None}
    absent |= {"llama.rope.dimension_count": None, "llama.attention.head_count_kv": None}
    write_gguf(tmp_path / "tiny.gguf", tiny_llama("full-untied"), changes=absent)
    config = read_gguf_model(tmp_path / "tiny.gguf").config
    assert (config.positions.base, config.num_kv_heads, config.vocab_size) == (
        10000.0,
        6,
        VOCAB_SIZE,
    )
