"""How answers are drawn, over HTTP: several at once, probabilities, forms, penalties."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import torch
from serving_world import CONTEXT_TOKENS, NAME, TENANT, TEXTS, World

from noria.model.config import ModelConfig
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash, save_model
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.train import train_tokenizer

ASK: list[Any] = [{"role": "user", "content": "Where is my parcel?"}]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server whose model has random weights, and so something to say each time."""
    world = World(tmp_path_factory.mktemp("talking"))
    folder = world.root / "artifacts" / "random"
    folder.mkdir(parents=True)
    train_tokenizer(TEXTS, 300, folder, "chatml")
    vocab_size = load_tokenizer(folder).vocab_size
    config = ModelConfig(vocab_size, CONTEXT_TOKENS, 1, 32, 2, 1, 32)
    model = build_decoder(config, seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(3)
    save_model(folder, model)
    weights = model_weight_hash(model)
    world.registry.register(TENANT, NAME, weights, "artifacts/random", "made by hand", "")
    world.registry.promote(TENANT, NAME, weights, "test", "test")
    world.start(max_running=8)
    yield world
    world.close()


def chat(world: World, **options: Any) -> Any:
    settings = {"model": NAME, "messages": ASK, "max_tokens": 12, "seed": 7, **options}
    return world.openai().chat.completions.create(**settings)


def test_several_answers_come_together_each_with_its_own_interaction(talking: World) -> None:
    whole = chat(talking, n=3)
    texts = [choice.message.content for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    alone = [chat(talking, seed=7 + number).choices[0].message.content for number in range(3)]
    assert texts == alone
    ids = [choice.interaction_id for choice in whole.choices]
    assert ids[0] == whole.id and len(set(ids)) == 3
    assert [talking.feedback.find(TENANT, one).answer for one in ids] == texts
    one = chat(talking).usage
    assert whole.usage.prompt_tokens == one.prompt_tokens
    assert whole.usage.completion_tokens > one.completion_tokens


def test_several_streamed_answers_equal_the_whole_ones(talking: World) -> None:
    whole = chat(talking, n=3)
    texts = {0: "", 1: "", 2: ""}
    ends, usage = [], None
    for chunk in chat(talking, n=3, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                ends.append((choice.index, choice.interaction_id))
    assert list(texts.values()) == [choice.message.content for choice in whole.choices]
    assert len({one for _, one in ends}) == 3
    assert usage == whole.usage


def test_a_chat_tells_the_probabilities_of_its_tokens(talking: World) -> None:
    whole = chat(talking, logprobs=True, top_logprobs=4, stop=["zz"])
    content = whole.choices[0].logprobs.content
    data = b"".join(bytes(one.bytes) for one in content)
    assert data.decode("utf-8", "replace") == whole.choices[0].message.content
    for one in content:
        assert len(one.top_logprobs) == 4
        found = {other.token: other.logprob for other in one.top_logprobs}
        assert one.logprob <= max(found.values()) + 1e-6
        assert found.get(one.token, one.logprob) == one.logprob
    streamed = []
    for chunk in chat(talking, logprobs=True, top_logprobs=4, stop=["zz"], stream=True):
        for choice in chunk.choices:
            streamed += choice.logprobs.content if choice.logprobs else []
    assert [(one.token, one.logprob) for one in streamed] == [
        (one.token, one.logprob) for one in content
    ]


def test_an_answer_has_the_form_that_was_asked_for(talking: World) -> None:
    schema = {
        "type": "object",
        "properties": {"late": {"type": "boolean"}, "days": {"type": "integer", "maximum": 9}},
        "required": ["late", "days"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "parcel", "schema": schema}}
    for seed in range(6):
        answer = chat(talking, response_format=form, max_tokens=200, seed=seed).choices[0]
        if answer.finish_reason == "stop":
            value = json.loads(answer.message.content)
            assert set(value) == {"late", "days"} and isinstance(value["late"], bool)
    choice = {"structured_outputs": {"choice": ["on its way", "lost"]}}
    assert chat(talking, extra_body=choice).choices[0].message.content in ("on its way", "lost")
    regex = {"structured_outputs": {"regex": "[0-9]{2}:[0-9]{2}"}}
    told = chat(talking, extra_body=regex).choices[0].message.content
    assert len(told) == 5 and told[2] == ":"
    stream = chat(talking, extra_body=regex, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == told


def test_biases_and_penalties_are_heard(talking: World) -> None:
    tokenizer = load_tokenizer(talking.root / "artifacts" / "random")
    (letter,) = tokenizer.encode("z")
    always = chat(talking, logit_bias={str(letter): 100}).choices[0].message.content
    assert always == "z" * 12
    other = chat(talking, logit_bias={str(letter): 100}, frequency_penalty=2, temperature=0)
    assert other.choices[0].message.content.startswith("zzz")
    often = {str(letter): 5.5}  # about every second time
    plain = chat(talking, logit_bias=often).choices[0].message.content
    assert 2 < plain.count("z") < 12
    for name, value in (
        ("presence_penalty", 2),
        ("frequency_penalty", 2),
        ("extra_body", {"top_k": 1}),
        ("extra_body", {"min_p": 1.0}),
        ("extra_body", {"repetition_penalty": 50.0}),
    ):
        changed = chat(talking, logit_bias=often, **{name: value}).choices[0].message.content
        assert changed != plain, name


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "xml"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "nothing"}},
            }
        },
        {"extra_body": {"structured_outputs": {"regex": "("}}},
        {"extra_body": {"structured_outputs": {"regex": "a", "choice": ["b"]}}},
        {"extra_body": {"structured_outputs": {}}},
        {"extra_body": {"structured_outputs": {"choice": []}}},
        {"n": 0},
        {"n": 100_000},
        {"top_logprobs": 3},
        {"logprobs": True, "top_logprobs": 21},
        {"presence_penalty": 3},
        {"frequency_penalty": float("inf")},
        {"logit_bias": {"100000": 1}},
        {"logit_bias": {"-1": 1}},
        {"logit_bias": {"a": 1}},
        {"logit_bias": {"5": 101}},
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_can_not_be_drawn_is_refused(
    talking: World, wrong: dict[str, Any], stream: bool
) -> None:
    body = {"model": NAME, "messages": ASK, "max_tokens": 4, "stream": stream, **wrong}
    body |= body.pop("extra_body", {})
    refused = talking.http(talking.key).post(
        "/v1/chat/completions",
        content=json.dumps(body),
        headers={"content-type": "application/json"},
    )
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert len(refused.content) < 4096


def test_several_answers_are_not_kept_for_a_second_asking(talking: World) -> None:
    for options in ({"n": 2}, {"logprobs": True}):
        with pytest.raises(openai.BadRequestError):
            chat(talking, extra_headers={"Idempotency-Key": "k"}, **options)


def test_a_refused_form_is_not_repeated(talking: World) -> None:
    body = {"model": NAME, "messages": ASK, "structured_outputs": {"regex": "a" * 20_000}}
    refused = talking.http(talking.key).post("/v1/chat/completions", json=body)
    assert refused.status_code == 400
    assert b"aaaa" not in refused.content
