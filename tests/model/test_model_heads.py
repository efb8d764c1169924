"""Heads give what their formulas say, and a body under a head is a model like any other."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noria.errors import FormatError, UsageError
from noria.model import cost, likelihood
from noria.model.config import ModelConfig
from noria.model.headed import HeadedModel, add_head, build_headed_model
from noria.model.heads import HEAD_KINDS, HeadConfig, MaskedLanguageHead, pool
from noria.model.likelihood import cross_entropy_sum
from noria.model.quantized import to_int8
from noria.model.styles import EmbeddingStyle, FeedForwardStyle, Norm, Positions
from noria.model.transformer import EncoderDecoder, build_model
from noria.model.weights import (
    load_decoder,
    load_headed_model,
    load_model,
    model_weight_hash,
    read_config,
    save_model,
)

torch.set_num_threads(1)
BERT = ModelConfig(
    vocab_size=90,
    context_tokens=16,
    num_layers=2,
    width=32,
    num_heads=4,
    num_kv_heads=4,
    ffn_width=48,
    family="encoder",
    positions=Positions(kind="learned"),
    norm=Norm(kind="layer", place="after"),
    feedforward=FeedForwardStyle(activation="gelu", gated=False, bias=True),
    embedding=EmbeddingStyle(num_segments=2, normed=True),
)
LLAMA = replace(
    BERT,
    family="decoder",
    positions=Positions(),
    norm=Norm(),
    feedforward=FeedForwardStyle(),
    embedding=EmbeddingStyle(),
)
HEADS = {
    "masked": HeadConfig("masked"),
    "sequence": HeadConfig("sequence", num_classes=3, pooling="first", pooled_layer=True),
    "token": HeadConfig("token", num_classes=5),
    "span": HeadConfig("span"),
    "vector": HeadConfig("vector"),
}
GENERATOR = torch.Generator().manual_seed(1)
IDS = torch.randint(90, (3, 7), generator=GENERATOR)
HIDDEN = torch.randn(3, 7, 32, generator=GENERATOR)
REAL = torch.arange(7) < torch.tensor([[7], [4], [1]])


def shaken(model: nn.Module) -> nn.Module:
    """Every weight moved, so that no bias is 0 and no norm 1."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=GENERATOR)
    return model


@pytest.mark.parametrize("left", [False, True])
def test_pooling_reads_real_tokens_only(left: bool) -> None:
    real = REAL.flip(1) if left else REAL
    kept = [HIDDEN[row][real[row]] for row in range(3)]
    wanted = {
        "mean": torch.stack([one.mean(0) for one in kept]),
        "first": torch.stack([one[0] for one in kept]),
        "last": torch.stack([one[-1] for one in kept]),
    }
    hidden = torch.where(real[..., None], HIDDEN, 1e4)  # what stands in padding does not matter
    for pooling, vectors in wanted.items():
        assert torch.allclose(pool(hidden, real, pooling), vectors, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_a_row_of_padding_alone_has_a_finite_vector(pooling: str) -> None:
    nothing = torch.zeros(3, 7, dtype=torch.bool)
    assert torch.isfinite(pool(HIDDEN, nothing, pooling)).all()


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "colour"},
        {"kind": "vector", "pooling": "max"},
        {"kind": "sequence"},
        {"kind": "token", "num_classes": 0},
        {"kind": "span", "num_classes": 2},
        {"kind": "sequence", "num_classes": True},
        {"kind": "sequence", "num_classes": 2, "dropout": 1.0},
        {"kind": "vector", "normalised": 1},
        {"kind": "sequence", "num_classes": 2, "pooled_layer": None},
    ],
)
def test_impossible_heads_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        HeadConfig(**values)  # type: ignore[arg-type]


def test_the_masked_head_is_berts_formula() -> None:
    model = shaken(build_headed_model(BERT, HEADS["masked"], 1))
    weights = model.state_dict()
    inner = F.gelu(HIDDEN @ weights["head.layer.weight"].T + weights["head.layer.bias"])
    inner = F.layer_norm(inner, (32,), weights["head.norm.weight"], weights["head.norm.bias"])
    wanted = inner @ weights["body.embedding.weight"].T + weights["head.bias"]
    assert torch.allclose(model.head(HIDDEN, REAL), wanted, atol=1e-5)


def test_the_sequence_head_is_its_formula() -> None:
    model = shaken(build_headed_model(BERT, HEADS["sequence"], 1))
    weights = model.state_dict()
    pooled = HIDDEN[:, 0] @ weights["head.layer.weight"].T + weights["head.layer.bias"]
    wanted = pooled.tanh() @ weights["head.classes.weight"].T + weights["head.classes.bias"]
    assert torch.allclose(model.head(HIDDEN, REAL), wanted, atol=1e-5)


def test_the_token_head_scores_each_token_by_itself() -> None:
    model = shaken(build_headed_model(BERT, HEADS["token"], 1))
    weights = model.state_dict()
    wanted = HIDDEN @ weights["head.classes.weight"].T + weights["head.classes.bias"]
    found = model.head(HIDDEN, REAL)
    assert found.shape == (3, 7, 5)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_span_begins_and_ends_at_real_tokens_only() -> None:
    model = shaken(build_headed_model(BERT, HEADS["span"], 1))
    chances = model.head(HIDDEN, REAL).softmax(dim=1)
    assert chances.shape == (3, 7, 2)
    assert ((chances > 0) == REAL[..., None]).all()
    logits = HIDDEN @ model.state_dict()["head.ends.weight"].T
    logits = logits + model.state_dict()["head.ends.bias"]
    assert torch.allclose(chances[0], logits[0].softmax(dim=0), atol=1e-5)


@pytest.mark.parametrize("normalised", [True, False])
def test_a_vector_has_length_one_if_so_wished(normalised: bool) -> None:
    model = build_headed_model(BERT, HeadConfig("vector", normalised=normalised), 1)
    vectors = model(IDS, REAL)
    assert vectors.shape == (3, 32)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(3), atol=1e-5) == normalised
    hidden = model.body(IDS)
    assert torch.allclose(vectors[0], F.normalize(hidden[0].mean(0), dim=0)) == normalised


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_dropout_of_a_head_acts_in_training_alone(kind: str) -> None:
    head = replace(HEADS[kind], dropout=0.5)
    model = shaken(build_headed_model(BERT, head, 1))
    trained = model.train().head(HIDDEN, REAL)
    assert not torch.equal(trained, model.head(HIDDEN, REAL))
    assert torch.equal(model.eval().head(HIDDEN, REAL), model.head(HIDDEN, REAL))


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def check_chunked_loss(model: nn.Module, scores: likelihood.Scores, hidden: Tensor) -> None:
    """The chunked loss, its gradients of every parameter, and the plain ones."""
    targets, mask = IDS, REAL.to(torch.uint8)
    total, num_tokens = cross_entropy_sum(scores, hidden, targets, mask)
    found = gradients(model, total * 0.5)
    losses = F.cross_entropy(
        scores.logits(again(model)).flatten(0, 1), targets.flatten(), reduction="none"
    )
    wanted_total = (losses * mask.flatten()).sum()
    wanted = gradients(model, wanted_total * 0.5)
    assert int(num_tokens) == int(REAL.sum())
    assert torch.allclose(total, wanted_total, rtol=1e-5)
    assert found.keys() == wanted.keys() == dict(model.named_parameters()).keys()
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, atol=1e-4), name
        assert gradient.any(), name
    with torch.no_grad():
        plain, _ = cross_entropy_sum(scores, again(model), targets, mask)
    assert torch.allclose(plain, wanted_total, rtol=1e-5)


def again(model: nn.Module) -> Tensor:
    """Hidden vectors of the same rows."""
    if isinstance(model, HeadedModel):
        return model.body(IDS, segments=IDS % 2)
    return model(IDS.flip(1), IDS)


@pytest.mark.parametrize("chunk_tokens", [5, 512])
def test_masked_language_loss_has_the_gradients_of_the_plain_one(
    chunk_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "CHUNK_TOKENS", chunk_tokens)
    model = shaken(build_headed_model(BERT, HEADS["masked"], 1))
    assert isinstance(model, HeadedModel) and isinstance(model.head, MaskedLanguageHead)
    check_chunked_loss(model, model.head, again(model))


@pytest.mark.parametrize("tied", [True, False])
def test_scaled_and_biased_scores_have_the_gradients_of_the_plain_loss(
    tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "CHUNK_TOKENS", 5)
    style = EmbeddingStyle(scaled=True, output_scaled=True, output_bias=True)
    config = replace(LLAMA, family="encoder-decoder", num_encoder_layers=1, tied=tied)
    model = shaken(build_model(replace(config, embedding=style), 1))
    assert isinstance(model, EncoderDecoder)
    hidden = again(model)
    wanted = hidden @ model.output_weight().T * 32**-0.5 + model.head_bias
    assert torch.allclose(model.logits(hidden), wanted, atol=1e-5)
    check_chunked_loss(model, model, hidden)


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_a_headed_model_saved_and_loaded_is_the_same(kind: str, tmp_path: Path) -> None:
    model = build_headed_model(BERT, HEADS[kind], 1).eval()
    save_model(tmp_path, model)
    loaded = load_headed_model(tmp_path)
    assert loaded.head_config == HEADS[kind]
    assert read_config(tmp_path) == (BERT, None)
    assert model_weight_hash(loaded) == model_weight_hash(model)
    assert torch.equal(loaded(IDS, REAL, IDS % 2), model(IDS, REAL, IDS % 2))
    assert not loaded.training
    assert {name.split(".")[0] for name in model.state_dict()} <= {"body", "head"}


def test_a_decoder_can_carry_a_head_and_is_no_decoder_any_more(tmp_path: Path) -> None:
    head = HeadConfig("sequence", num_classes=2, pooling="last")
    model = build_headed_model(LLAMA, head, 1)
    save_model(tmp_path, model)
    assert torch.equal(load_headed_model(tmp_path)(IDS, REAL), model(IDS, REAL))
    for load in (load_decoder, load_model):
        with pytest.raises(FormatError, match="head of kind 'sequence'"):
            load(tmp_path)
    save_model(tmp_path, build_model(LLAMA, 1))
    with pytest.raises(FormatError, match="without a head"):
        load_headed_model(tmp_path)


def test_padding_changes_nothing_of_what_a_head_says() -> None:
    padded = torch.where(REAL, IDS, 0)
    for config in (BERT, LLAMA):
        model = build_headed_model(config, HeadConfig("vector"), 1).eval()
        for row in range(3):
            num_tokens = int(REAL[row].sum())
            alone = model(IDS[row : row + 1, :num_tokens], REAL[row : row + 1, :num_tokens])
            assert torch.allclose(model(padded, REAL)[row], alone[0], atol=1e-5)


def test_fresh_weights_depend_on_the_seed_and_the_body_is_the_plain_models() -> None:
    one, two = (build_headed_model(BERT, HEADS["masked"], seed) for seed in (1, 2))
    assert model_weight_hash(one.body) == model_weight_hash(build_model(BERT, 1))
    assert model_weight_hash(one) == model_weight_hash(build_headed_model(BERT, HEADS["masked"], 1))
    assert model_weight_hash(one.head) != model_weight_hash(two.head)
    drawn = one.head.state_dict()["layer.weight"].flatten()
    assert abs(float(drawn.std()) - 0.02) < 0.002
    for name, tensor in one.body.state_dict().items():  # no number is drawn twice
        if tensor.dim() == 2:
            assert not torch.isin(drawn, tensor).all(), name


def test_a_head_is_put_on_a_trained_body_without_copying_it() -> None:
    body = shaken(build_model(BERT, 1))
    before = model_weight_hash(body)
    model = add_head(body, HEADS["token"], 7)
    assert model.body is body
    assert model_weight_hash(model.body) == before
    copied = copy.deepcopy(add_head(body, HEADS["masked"], 7))
    copied.body.embedding.weight.data += 1.0
    assert copied.head.output_weight() is copied.body.embedding.weight


@pytest.mark.parametrize(("family", "kind"), [("encoder-decoder", "token"), ("decoder", "masked")])
def test_heads_that_a_family_has_no_use_for_are_refused(family: str, kind: str) -> None:
    layers = 1 if family == "encoder-decoder" else 0
    config = replace(LLAMA, family=family, num_encoder_layers=layers)
    with pytest.raises(UsageError, match=f"{kind!r} on a model of family {family!r}"):
        build_headed_model(config, HEADS[kind], 1)


def test_an_int8_body_keeps_its_float_head_and_loads(tmp_path: Path) -> None:
    for kind in ("masked", "sequence"):
        model = build_headed_model(BERT, HEADS[kind], 1).eval()
        exact = model(IDS, REAL)
        to_int8(model.body)
        rounded = model(IDS, REAL)
        assert model.quantization == "int8"
        assert not torch.equal(rounded, exact) and torch.allclose(rounded, exact, atol=0.05)
        save_model(tmp_path, model)
        assert torch.equal(load_headed_model(tmp_path)(IDS, REAL), rounded)


@pytest.mark.parametrize(
    "head",
    [
        7,
        {"kind": "masked"},
        {**HEADS["span"].__dict__, "kind": "colour"},
        {**HEADS["span"].__dict__, "num_classes": 3},
        {**HEADS["span"].__dict__, "colour": 3},
    ],
)
def test_a_broken_head_in_a_config_is_refused(head: object, tmp_path: Path) -> None:
    save_model(tmp_path, build_headed_model(BERT, HEADS["span"], 1))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"head": head}))
    with pytest.raises(FormatError, match="head"):
        load_headed_model(tmp_path)


def test_a_head_on_the_wrong_family_in_a_file_is_a_broken_file(tmp_path: Path) -> None:
    save_model(tmp_path, build_headed_model(LLAMA, HEADS["span"], 1))
    path = tmp_path / "config.json"
    head = {**HEADS["span"].__dict__, "kind": "masked"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"head": head}))
    with pytest.raises(FormatError, match="on a model of family 'decoder'"):
        load_headed_model(tmp_path)
