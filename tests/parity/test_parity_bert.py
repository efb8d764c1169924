"""Our encoder with BERT's semantics, and its heads, beside transformers' BERT classes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from reference_models import (
    assert_near,
    assert_same_gradients,
    assert_same_tensors,
    fill_reference,
    fresh_bert,
    gradients,
    random_ids,
    real_tokens,
    spread,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from noria.bases.huggingface import read_huggingface, read_huggingface_head
from noria.errors import FormatError
from noria.model.heads import Head, HeadConfig, build_head
from noria.model.historical import BERT_BASE
from noria.model.layouts.bert import from_bert, to_bert
from noria.model.masks import Rows
from noria.model.styles import (
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
)
from noria.model.transformer import Encoder, build_model, empty_model, fill_model

torch.set_num_threads(1)
VOCAB_SIZE = 150
CONFIG = replace(
    BERT_BASE,
    vocab_size=VOCAB_SIZE,
    context_tokens=48,
    num_layers=3,
    width=48,
    num_heads=6,
    num_kv_heads=6,
    ffn_width=80,
    norm=Norm(kind="layer", place="after", epsilon=3e-6),
    dropout=Dropout(hidden=0.2, attention=0.3),
)
CONFIGS = {
    "plain": CONFIG,
    "three-segments-tanh-gelu": replace(
        CONFIG,
        num_layers=1,
        num_heads=2,
        num_kv_heads=2,
        feedforward=FeedForwardStyle(activation="gelu-tanh", gated=False, bias=True),
        embedding=EmbeddingStyle(num_segments=3, normed=True),
    ),
}
LENGTHS = {"whole": (40, 40, 40), "padded": (40, 23, 5)}  # tokens of each row


def body_alone(config: BertConfig) -> BertModel:
    return BertModel(config, add_pooling_layer=False)


class Kind(NamedTuple):
    """A head of ours, the class that has it, and what that class answers with."""

    head: HeadConfig | None
    reference: Callable[[BertConfig], nn.Module]
    name: str
    scores: Callable[[Any], Tensor]


KINDS = {
    "body": Kind(None, body_alone, "BertModel", lambda answer: answer.last_hidden_state),
    "masked": Kind(
        HeadConfig("masked"), BertForMaskedLM, "BertForMaskedLM", lambda answer: answer.logits
    ),
    "sequence": Kind(
        HeadConfig("sequence", 3, pooling="first", pooled_layer=True, dropout=0.4),
        BertForSequenceClassification,
        "BertForSequenceClassification",
        lambda answer: answer.logits,
    ),
    "token": Kind(
        HeadConfig("token", 5),
        BertForTokenClassification,
        "BertForTokenClassification",
        lambda answer: answer.logits,
    ),
    "span": Kind(
        HeadConfig("span"),
        BertForQuestionAnswering,
        "BertForQuestionAnswering",
        lambda answer: torch.stack([answer.start_logits, answer.end_logits], dim=-1),
    ),
}
TIED = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}


class Pair(NamedTuple):
    ours: Encoder
    head: Head | None
    theirs: nn.Module
    kind: Kind

    def tensors(self) -> dict[str, Tensor]:
        return self.head.state_dict() if self.head is not None else {}

    def our_scores(self, ids: Tensor, real: Tensor, segments: Tensor | None) -> Tensor:
        """Scores of real tokens, or of texts."""
        hidden = self.ours(ids, Rows(real=None if bool(real.all()) else real), segments)
        scores = hidden if self.head is None else self.head(hidden, real)
        return scores[real] if scores.ndim == 3 else scores

    def their_scores(self, ids: Tensor, real: Tensor, segments: Tensor | None) -> Tensor:
        answer = self.theirs(ids, attention_mask=real.long(), token_type_ids=segments)
        scores = self.kind.scores(answer)
        return scores[real] if scores.ndim == 3 else scores


@pytest.fixture(params=CONFIGS)
def ours(request: pytest.FixtureRequest) -> Encoder:
    model = build_model(CONFIGS[request.param], 1)
    assert isinstance(model, Encoder)
    return spread(model).eval()


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, ours: Encoder) -> Pair:
    kind = KINDS[request.param]
    torch.manual_seed(4)
    head = None if kind.head is None else spread(build_head(ours, kind.head)).eval()
    beside = {} if head is None else head.state_dict()
    hf_config, tensors = to_bert(ours.config, ours.state_dict(), kind.head, beside)
    theirs = kind.reference(BertConfig(**hf_config))
    return Pair(ours, head, fill_reference(theirs, tensors, TIED), kind)


@pytest.fixture(params=LENGTHS)
def real(request: pytest.FixtureRequest) -> Tensor:
    return real_tokens(LENGTHS[request.param])


def test_scores_equal_those_of_transformers(pair: Pair, real: Tensor) -> None:
    ids = random_ids(VOCAB_SIZE, *real.shape)
    segments = random_ids(pair.ours.config.embedding.num_segments, *real.shape)
    with torch.no_grad():
        for given in (None, segments):
            wanted = pair.their_scores(ids, real, given)
            assert_near(pair.our_scores(ids, real, given), wanted)


def test_gradients_equal_those_of_transformers(pair: Pair, real: Tensor) -> None:
    ids = random_ids(VOCAB_SIZE, *real.shape)
    segments = random_ids(pair.ours.config.embedding.num_segments, *real.shape)
    losses = []
    for scores in (pair.our_scores(ids, real, segments), pair.their_scores(ids, real, segments)):
        targets = random_ids(scores.shape[1], 1, len(scores))[0]
        losses.append(F.cross_entropy(scores, targets))
        losses[-1].backward()
    assert torch.allclose(*losses, atol=1e-5)
    beside = {} if pair.head is None else gradients(pair.head)
    found = to_bert(pair.ours.config, gradients(pair.ours), pair.kind.head, beside)[1]
    assert_same_gradients(found, pair.theirs, always_zero={"key.bias"})


def test_ours_comes_back_from_their_layout_bit_for_bit(pair: Pair) -> None:
    config, tensors, head, head_tensors = from_bert(
        *to_bert(pair.ours.config, pair.ours.state_dict(), pair.kind.head, pair.tensors())
    )
    assert config == pair.ours.config
    assert head == pair.kind.head
    assert_same_tensors(tensors, pair.ours.state_dict())
    assert_same_tensors(head_tensors, pair.tensors())


def test_dropout_rates_are_carried_over(pair: Pair) -> None:
    rates = {name: one.p for name, one in pair.theirs.named_modules() if type(one) is nn.Dropout}
    wanted = pair.ours.config.dropout
    for name, rate in rates.items():
        if name == "dropout":  # the head's own
            assert pair.kind.head is not None
            assert rate == pair.kind.head.dropout
        else:
            assert rate == (wanted.attention if name.endswith("self.dropout") else wanted.hidden)
    assert {wanted.attention, wanted.hidden} <= set(rates.values())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_model_made_by_transformers_comes_back_bit_for_bit(kind: Kind) -> None:
    theirs = fresh_bert(kind.reference, VOCAB_SIZE, hidden_act="relu", type_vocab_size=1)
    hf_config = theirs.config.to_dict() | {"architectures": [kind.name]}
    parts = from_bert(hf_config, theirs.state_dict())
    ours = fill_model(empty_model(parts.config), parts.tensors).eval()
    assert isinstance(ours, Encoder)
    head = None if parts.head is None else build_head(ours, parts.head).eval()
    if head is not None:
        head.load_state_dict(parts.head_tensors)
    pair, real = Pair(ours, head, theirs, kind), real_tokens(LENGTHS["padded"])
    ids = random_ids(VOCAB_SIZE, *real.shape)
    with torch.no_grad():
        assert_near(pair.our_scores(ids, real, None), pair.their_scores(ids, real, None))
    returned = to_bert(parts.config, ours.state_dict(), parts.head, pair.tensors())[1]
    wanted = {name: one for name, one in theirs.state_dict().items() if name not in TIED}
    assert_same_tensors(returned, wanted)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_folder_gives_the_scores_of_the_model_that_was_saved(kind: Kind, tmp_path: Path) -> None:
    num_labels = 2 if kind.name == "BertForQuestionAnswering" else 4
    theirs = fresh_bert(kind.reference, VOCAB_SIZE, num_labels=num_labels)
    theirs.save_pretrained(tmp_path)
    ours, head = read_huggingface_head(tmp_path)
    assert isinstance(ours, Encoder)
    pair, real = Pair(ours, head, theirs, kind), real_tokens(LENGTHS["padded"])
    ids = random_ids(VOCAB_SIZE, *real.shape)
    with torch.no_grad():
        assert_near(pair.our_scores(ids, real, None), pair.their_scores(ids, real, None))
    assert_same_tensors(read_huggingface(tmp_path).state_dict(), ours.state_dict())


def test_a_file_as_of_2018_is_read_without_its_next_sentence_classifier(tmp_path: Path) -> None:
    kind = KINDS["masked"]._replace(
        reference=BertForPreTraining, scores=lambda answer: answer.prediction_logits
    )
    theirs = fresh_bert(kind.reference, VOCAB_SIZE)
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in load_file(path).items()
    }
    assert "cls.seq_relationship.weight" in old
    assert "bert.pooler.dense.weight" in old
    places = {"bert.embeddings.position_ids": torch.arange(48)[None]}
    twice = {
        "cls.predictions.decoder.weight": old["bert.embeddings.word_embeddings.weight"].clone()
    }
    save_file(old | places | twice, path)
    ours, head = read_huggingface_head(tmp_path)
    assert isinstance(ours, Encoder)
    pair, real = Pair(ours, head, theirs, kind), real_tokens(LENGTHS["padded"])
    ids = random_ids(VOCAB_SIZE, *real.shape)
    with torch.no_grad():
        assert_near(pair.our_scores(ids, real, None), pair.their_scores(ids, real, None))
    save_file(old | {name: tensor + 1 for name, tensor in twice.items()}, path)
    with pytest.raises(FormatError, match="decoder"):
        read_huggingface_head(tmp_path)
