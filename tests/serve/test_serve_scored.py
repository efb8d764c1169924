"""`echo` and `logprobs` of /v1/completions: OpenAI's own client, and a slow reading beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from serving_world import NAME, TENANT, TEXTS, World

from noria.generate.loaded import LanguageModel, load_language_model
from noria.generate.scoring import score_tokens
from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash, save_model
from noria.tokenizer.train import train_tokenizer

CONTEXT_TOKENS = 64
PROMPT = "Where is 我的包裹 café?"


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server over a model of random weights, whose probabilities all differ."""
    world = World(tmp_path_factory.mktemp("scoring"))
    folder = world.root / "artifacts" / "random"
    facts = train_tokenizer(TEXTS, 300, folder, "chatml")
    model = build_decoder(preset("decoder-1m", facts["vocab_size"], CONTEXT_TOKENS), seed=3)
    with torch.no_grad():
        model.embedding.weight.mul_(40)  # far from uniform: the likeliest is clear
    save_model(folder, model)
    weights = model_weight_hash(model)
    world.registry.register(TENANT, NAME, weights, "artifacts/random", "made by hand", "")
    world.registry.promote(TENANT, NAME, weights, "test", "test")
    world.start()
    yield world
    world.close()


@pytest.fixture(scope="module")
def model(scoring: World) -> LanguageModel:
    return load_language_model(scoring.root / "artifacts" / "random")


@torch.no_grad()
def slow_log_probs(model: LanguageModel, ids: list[int]) -> list[float]:
    """ln P of each id but the first, one pass for each, from its own prefix alone."""
    found = []
    for place in range(1, len(ids)):
        logits = model.model.logits(model.model(torch.tensor([ids[:place]]))[0, -1])
        scores = logits[: model.tokenizer.vocab_size].double().log_softmax(dim=0)
        found.append(float(scores[ids[place]]))
    return found


def ask(world: World, **fields: Any) -> Any:
    return world.openai().completions.create(
        **{"model": NAME, "prompt": PROMPT, "temperature": 0, **fields}
    )


def test_an_echoed_prompt_is_scored_as_one_pass_for_each_token_scores_it(
    scoring: World, model: LanguageModel
) -> None:
    answer = ask(scoring, max_tokens=0, echo=True, logprobs=2)
    choice = answer.choices[0]
    ids = model.tokenizer.encode(PROMPT)
    assert choice.text == PROMPT
    assert answer.usage.completion_tokens == 0
    sequence = [*model.tokenizer.start_ids, *ids]
    assert answer.usage.prompt_tokens == len(sequence) == len(ids) + 1
    found = choice.logprobs
    assert found.token_logprobs == pytest.approx(slow_log_probs(model, sequence), abs=1e-4)
    for own, top in zip(found.token_logprobs, found.top_logprobs, strict=True):
        assert 2 <= len(top) <= 3
        assert own in top.values()
        assert max(top.values()) >= own


def test_tokens_and_offsets_spell_the_text_in_any_script(
    scoring: World, model: LanguageModel
) -> None:
    found = ask(scoring, max_tokens=0, echo=True, logprobs=0).choices[0].logprobs
    assert any(name.startswith("bytes:\\x") for name in found.tokens)  # 裹 is several tokens
    spelled = b"".join(
        bytes.fromhex(name.removeprefix("bytes:").replace("\\x", ""))
        if name.startswith("bytes:")
        else name.encode()
        for name in found.tokens
    )
    assert spelled.decode() == PROMPT
    for name, at in zip(found.tokens, found.text_offset, strict=True):
        if not name.startswith("bytes:"):
            assert PROMPT[at : at + len(name)] == name
    assert found.text_offset == sorted(found.text_offset)
    assert found.text_offset[-1] < len(PROMPT)


def test_an_answer_is_scored_with_its_prompt_and_alone(
    scoring: World, model: LanguageModel
) -> None:
    both = ask(scoring, max_tokens=5, echo=True, logprobs=1)
    alone = ask(scoring, max_tokens=5, logprobs=1)
    plain = ask(scoring, max_tokens=5)
    assert both.choices[0].text == PROMPT + alone.choices[0].text
    assert alone.choices[0].text == plain.choices[0].text
    assert plain.choices[0].logprobs is None
    num = alone.usage.completion_tokens
    answer, whole = alone.choices[0].logprobs, both.choices[0].logprobs
    assert len(answer.tokens) == num
    assert whole.tokens[-num:] == answer.tokens
    assert whole.token_logprobs[-num:] == pytest.approx(answer.token_logprobs)
    assert [at - len(PROMPT) for at in whole.text_offset[-num:]] == answer.text_offset
    for own, top in zip(answer.token_logprobs, answer.top_logprobs, strict=True):
        assert own == max(top.values())  # temperature 0 takes the likeliest


def test_a_prompt_of_ids_is_the_prompt_of_its_text(scoring: World, model: LanguageModel) -> None:
    ids = model.tokenizer.encode(PROMPT)
    by_text = ask(scoring, max_tokens=3, echo=True, logprobs=1).choices[0]
    for prompt in (ids, [ids]):
        answer = ask(scoring, prompt=prompt, max_tokens=3, echo=True, logprobs=1)
        assert answer.choices[0] == by_text
        assert scoring.feedback.find(TENANT, answer.id).prompt == PROMPT
    whole = [*model.tokenizer.start_ids, *ids]
    found = ask(scoring, prompt=whole, max_tokens=3, echo=True, logprobs=1).choices[0].logprobs
    assert found.token_logprobs[0] is None  # nothing stands before it
    assert found.top_logprobs[0] is None
    assert found.token_logprobs[1:] == pytest.approx(by_text.logprobs.token_logprobs)
    unscored = ask(scoring, prompt=ids, max_tokens=3)
    assert PROMPT + unscored.choices[0].text == by_text.text


def test_what_cannot_be_scored_whole_is_refused(scoring: World) -> None:
    long = {"prompt": [5] * (CONTEXT_TOKENS + 1), "echo": True, "max_tokens": 0}
    refused: list[dict[str, Any]] = [
        {**long, "logprobs": 1},
        {"prompt": [5] * CONTEXT_TOKENS, "echo": True, "max_tokens": 1, "logprobs": 1},
        {"prompt": [10**6], "echo": True, "max_tokens": 0},
        {"prompt": [10**6], "max_tokens": 1},
        {"prompt": [5, -1]},
        {"prompt": []},
        {"prompt": [[5], [6]]},
        {"max_tokens": 0},
        {"logprobs": 6},
        {"logprobs": 1, "stream": True},
        {"echo": True, "extra_headers": {"Idempotency-Key": "k"}},
        {"prompt": [5], "extra_headers": {"Idempotency-Key": "k"}},
    ]
    for fields in refused:
        with pytest.raises(openai.BadRequestError):
            ask(scoring, **fields)
    fits = ask(scoring, prompt=[5] * (CONTEXT_TOKENS - 1), echo=True, max_tokens=0, logprobs=1)
    assert len(fits.choices[0].logprobs.tokens) == CONTEXT_TOKENS - 1


def test_a_stop_string_and_the_end_token_end_the_scores_too(world: World) -> None:
    world.promote("a")
    world.start()
    client = world.openai()
    stopped = client.completions.create(
        model=NAME, prompt="Where", max_tokens=9, stop="aaa", logprobs=0, temperature=0
    ).choices[0]
    assert (stopped.text, stopped.finish_reason) == ("", "stop")
    assert stopped.logprobs.tokens == []
    world.wait_for(world.promote(""))
    ended = client.completions.create(model=NAME, prompt="Where", max_tokens=9, logprobs=1)
    choice = ended.choices[0]
    assert (choice.text, choice.finish_reason) == ("", "stop")
    assert len(choice.logprobs.tokens) == 1  # the end token itself, by its name
    assert choice.logprobs.token_logprobs[0] > math.log(0.9)


def test_scores_of_long_sequences_are_those_of_short_ones(model: LanguageModel) -> None:
    ids = [5 + place % 200 for place in range(CONTEXT_TOKENS + 1)]
    whole = score_tokens(model, ids, 1)
    assert whole.log_probs == pytest.approx(slow_log_probs(model, ids), abs=1e-4)
    assert score_tokens(model, ids[:1], 1).log_probs == ()


def test_a_prompt_that_is_only_echoed_has_no_scores(scoring: World, tmp_path: Path) -> None:
    choice = ask(scoring, max_tokens=0, echo=True).choices[0]
    assert (choice.text, choice.logprobs) == (PROMPT, None)
