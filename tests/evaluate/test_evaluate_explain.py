"""Explanations against what the model itself computes, on real text and random weights."""

from __future__ import annotations

import math

import pytest
import torch

from noria.errors import UsageError
from noria.evaluate import explain as explain_module
from noria.evaluate.explain import attention_before, explain
from noria.generate.loaded import LanguageModel, load_language_model
from noria.model.config import ModelConfig
from noria.model.transformer import build_decoder
from noria.model.weights import save_model
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.train import train_tokenizer

PROMPT = "Call me Ishmael. Some years ago, never mind how long precisely"
ANSWER = " I thought I would sail about 看看世界上的水 a little."
LAYERS, HEADS = 3, 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("explained")
    train_tokenizer([PROMPT] * 4, 300, folder, "plain")
    config = ModelConfig(load_tokenizer(folder).vocab_size, 128, LAYERS, 32, HEADS, 1, 48)
    save_model(folder, build_decoder(config, seed=3))
    return load_language_model(folder)


def ids_of(model: LanguageModel) -> tuple[list[int], list[int]]:
    return model.tokenizer.encode(PROMPT), model.tokenizer.encode(ANSWER)


def test_tokens_spell_the_answer_and_have_the_models_own_probabilities(
    model: LanguageModel,
) -> None:
    prompt, answer = ids_of(model)
    found = explain(model, prompt, answer, num_alternatives=3)
    assert "".join(one.text for one in found.tokens[found.answer_start :]) == ANSWER
    assert found.tokens[0].probability is None and found.answer_start == len(prompt)
    ids = [*prompt, *answer]
    with torch.no_grad():
        logits = model.model.logits(model.model(torch.tensor([ids])))[0]
    expected = logits[:, : model.tokenizer.vocab_size].softmax(-1)
    for place in range(1, len(ids)):
        token = found.tokens[place]
        assert token.probability == pytest.approx(float(expected[place - 1, ids[place]]), rel=1e-4)
        shown = [one.probability for one in token.alternatives]
        assert shown[:3] == sorted(shown[:3], reverse=True)
        assert shown[0] == pytest.approx(float(expected[place - 1].max()), rel=1e-4)
        (chosen,) = [one for one in token.alternatives if one.chosen]
        assert chosen.probability == token.probability


def test_attention_is_the_heads_own_and_of_the_tokens_before(model: LanguageModel) -> None:
    prompt, answer = ids_of(model)
    place = len(prompt) + 3
    found = attention_before(model, prompt, answer, place)
    assert [len(heads) for heads in found] == [HEADS] * LAYERS
    for heads in found:
        for weights in heads:
            assert len(weights) == place and math.isclose(sum(weights), 1, abs_tol=1e-3)
    again = attention_before(model, prompt, [*answer[:4], *answer[:1]], place)
    assert again == found  # what comes after changes nothing


def test_what_is_too_long_loses_its_beginning_and_what_cannot_be_is_refused(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, answer = ids_of(model)
    found = explain(model, prompt * 9, answer)
    assert len(found.tokens) == model.model.config.context_tokens
    assert "".join(one.text for one in found.tokens[found.answer_start :]) == ANSWER
    for place in (0, len(prompt) + len(answer)):
        with pytest.raises(UsageError, match="1 to"):
            attention_before(model, prompt, answer, place)
    with pytest.raises(UsageError, match="without a token"):
        explain(model, prompt, [])
    monkeypatch.setattr(explain_module, "MAX_ATTENTION_BYTES", LAYERS * HEADS * 4 * 10**2)
    assert attention_before(model, prompt, answer, 10)
    with pytest.raises(UsageError, match="first 10 tokens"):
        attention_before(model, prompt, answer, 11)
