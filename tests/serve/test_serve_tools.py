"""Functions that a chat may call, with OpenAI's own client: offered, called, streamed, brought."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from caller import ANSWER, ARGUMENTS, ASK, FIND, RESULT, learned_chat, write_caller
from pydantic import BaseModel
from serving_world import NAME, TENANT, World

from noria.improve.wishes import TextWishes
from noria.serve.policy import Policy
from noria.tokenizer.chat import render_chat
from noria.tokenizer.load import load_tokenizer

NOTE = {
    "type": "function",
    "function": {
        "name": "note",
        "parameters": {
            "type": "object",
            "properties": {"kind": {"$ref": "#/$defs/Kind"}},
            "required": ["kind"],
            "$defs": {"Kind": {"enum": ["late", "lost"]}},
        },
    },
}


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("caller"))
    weights = write_caller(world.root / "artifacts" / "caller")
    world.registry.register(TENANT, NAME, weights, "artifacts/caller", "made by hand")
    world.registry.promote(TENANT, NAME, weights, "test", "test")
    world.start()
    yield world
    world.close()


def ask(world: World, **options: Any) -> Any:
    settings: dict[str, Any] = {"model": "live", "messages": [ASK], "tools": [FIND]}
    settings |= {"temperature": 0, "max_tokens": 80, **options}
    return world.openai().chat.completions.create(**settings)


def test_a_model_that_may_call_calls_and_answers_with_what_came_of_it(caller: World) -> None:
    first = ask(caller)
    (choice,) = first.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert (call.type, call.function.name) == ("function", "find_parcel")
    assert call.function.arguments == ARGUMENTS
    result = {"role": "tool", "tool_call_id": call.id, "content": RESULT}
    second = ask(caller, messages=[ASK, choice.message, result])
    assert second.choices[0].message.content == ANSWER
    assert second.choices[0].message.tool_calls is None
    assert second.choices[0].finish_reason == "stop"
    # What was called and what it brought is part of the prompt, and is kept with it.
    stored = caller.feedback.find(TENANT, second.id)
    assert [one.role for one in stored.messages] == ["system", "user", "assistant", "tool"]
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_a_streamed_call_equals_the_whole_one(caller: World) -> None:
    stream = ask(caller, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    deltas = [one.choices[0].delta for one in chunks if one.choices]
    calls = [one.tool_calls[0] for one in deltas if one.tool_calls]
    assert calls[0].function.name == "find_parcel"
    assert calls[0].id == "call_" + chunks[0].id.removeprefix("chatcmpl-")
    assert all(one.id is None and one.function.name is None for one in calls[1:])
    assert len(calls) > 1
    assert "".join(one.function.arguments for one in calls) == ARGUMENTS
    assert not any(one.content for one in deltas)
    finishes = [one.choices[0].finish_reason for one in chunks if one.choices]
    assert [one for one in finishes if one] == ["tool_calls"]
    assert chunks[-1].usage.completion_tokens > 1
    assert ask(caller).choices[0].message.tool_calls[0].function.arguments == ARGUMENTS


def test_the_clients_own_accumulator_and_parser_read_calls(caller: World) -> None:
    class find_parcel(BaseModel):  # noqa: N801 - the client names the function by it
        number: int

    tool = openai.pydantic_function_tool(find_parcel)
    settings: dict[str, Any] = {"model": "live", "messages": [ASK], "tools": [tool]}
    settings |= {"tool_choice": "required", "temperature": 0, "max_tokens": 80, "stop": None}
    schema = tool["function"]["parameters"]
    schema["properties"]["number"] = {"enum": [7, 8]}
    parsed = caller.openai().chat.completions.parse(**settings)
    call = parsed.choices[0].message.tool_calls[0]
    assert call.function.parsed_arguments in (find_parcel(number=7), find_parcel(number=8))
    with caller.openai().chat.completions.stream(**settings) as stream:
        for _ in stream:
            pass
        last = stream.get_final_completion().choices[0]
    assert last.message.tool_calls[0].function.parsed_arguments == call.function.parsed_arguments
    assert last.finish_reason == "tool_calls"


@pytest.mark.parametrize("n", [1, 3])
def test_a_call_that_must_be_always_fits_its_schema(caller: World, n: int) -> None:
    asked = {"type": "function", "function": {"name": "note"}}
    tools = [FIND, NOTE]
    for seed in range(6):
        options: dict[str, Any] = {"temperature": 2, "seed": seed, "n": n, "tools": tools}
        for choice in ask(caller, tool_choice=asked, **options).choices:
            (call,) = choice.message.tool_calls
            assert (call.function.name, choice.finish_reason) == ("note", "tool_calls")
            assert json.loads(call.function.arguments) in ({"kind": "late"}, {"kind": "lost"})
    for seed in range(3):
        (choice,) = ask(caller, tool_choice="required", tools=tools, seed=seed).choices
        assert choice.message.tool_calls[0].function.name in ("find_parcel", "note")


def test_none_may_be_called_where_the_choice_is_none(caller: World) -> None:
    (choice,) = ask(caller, tool_choice="none").choices
    assert (choice.message.content, choice.message.tool_calls) == ("I can't look.", None)


def test_a_call_that_is_cut_says_so(caller: World) -> None:
    whole = ask(caller).usage.completion_tokens
    for num_left in range(2, whole - 4):
        (choice,) = ask(caller, max_tokens=whole - num_left).choices
        assert choice.finish_reason == "length"
        if choice.message.tool_calls is None:
            break
        assert ARGUMENTS.startswith(choice.message.tool_calls[0].function.arguments)
    (choice,) = ask(caller, max_tokens=3).choices
    assert (choice.finish_reason, choice.message.tool_calls) == ("length", None)
    assert "<tool_call>" not in choice.message.content


def test_asking_again_under_the_same_key_brings_the_same_call(caller: World) -> None:
    header = {"extra_headers": {"Idempotency-Key": "tools-1"}}
    first, again = ask(caller, **header), ask(caller, **header)
    assert again.id == first.id
    assert again.choices[0].message == first.choices[0].message
    assert again.choices[0].finish_reason == "tool_calls"
    chunks = list(ask(caller, stream=True, **header))
    call = next(
        one.choices[0].delta.tool_calls[0] for one in chunks if one.choices[0].delta.tool_calls
    )
    assert (call.id, call.function.arguments) == (
        first.choices[0].message.tool_calls[0].id,
        ARGUMENTS,
    )
    with pytest.raises(openai.BadRequestError):  # other functions are another request
        ask(caller, tools=[FIND, NOTE], **header)


def test_a_call_is_stored_as_the_model_wrote_it_and_teaches_so(caller: World) -> None:
    answer = ask(caller)
    stored = caller.feedback.find(TENANT, answer.id)
    assert (
        stored.answer
        == f'<tool_call>\n{{"name": "find_parcel", "arguments": {ARGUMENTS}}}\n</tool_call>'
    )
    record = TextWishes().record(stored, TextWishes().given(stored))
    tokenizer = load_tokenizer(caller.root / "artifacts" / "caller")
    taught = render_chat(tokenizer, record.messages, add_answer_prompt=False)
    learned = render_chat(tokenizer, learned_chat().messages[:3], add_answer_prompt=False)
    assert taught == learned


CALL = {"id": "c1", "type": "function", "function": {"name": "find_parcel", "arguments": "{}"}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
BROUGHT = {"role": "tool", "tool_call_id": "c1", "content": "x"}


def _function(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "secret", **fields}}]}


@pytest.mark.parametrize(
    "wrong",
    [
        _function(name="secret word"),
        _function(name=""),
        _function(parameters={"type": "string"}),
        _function(parameters=["secret"]),
        _function(parameters={"type": "object", "properties": {"secret": {"type": "secret"}}}),
        _function(parameters={"type": "object", "properties": {"a": {"$ref": "#/secret"}}}),
        _function(parameters={"type": "object", "x": "\ud800secret"}),
        {"tools": [FIND, FIND]},
        {"tools": [FIND] * 129},
        {"tools": "secret"},
        {"tools": [{"type": "secret"}]},
        {"tools": [], "tool_choice": "required"},
        {"tools": [], "parallel_tool_calls": True},
        {"tool_choice": "secret"},
        {"tool_choice": {"type": "function", "function": {"name": "secret"}}},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"regex": "secret"}},
        {"functions": [{"name": "secret"}]},
        {"messages": [ASK, CALLED]},
        {"messages": [ASK, CALLED, ASK]},
        {"messages": [ASK, BROUGHT]},
        {"messages": [ASK, CALLED, BROUGHT, BROUGHT]},
        {"messages": [ASK, CALLED, {**BROUGHT, "tool_call_id": "secret"}]},
        {"messages": [ASK, {**CALLED, "tool_calls": [CALL, CALL]}, BROUGHT]},
        {"messages": [ASK, CALLED, {"role": "tool", "content": "secret"}]},
        {"messages": [{**ASK, "tool_call_id": "secret"}]},
        {"messages": [{**ASK, "tool_calls": [CALL]}]},
        {"messages": [ASK, {"role": "assistant"}]},
        *(
            {
                "messages": [
                    ASK,
                    {
                        **CALLED,
                        "tool_calls": [{**CALL, "function": {"name": "f", "arguments": wrong}}],
                    },
                    BROUGHT,
                ]
            }
            for wrong in ("secret", "[]", '{"a": NaN}', "[" * 100_000, "\ud800", '{"a": 1', "")
        ),
    ],
)
def test_what_can_not_be_is_refused_without_an_echo(caller: World, wrong: dict[str, Any]) -> None:
    body = {"model": "live", "messages": [ASK], "tools": [FIND], "max_tokens": 3, **wrong}
    text = json.dumps(body)  # as ASCII: half a character can be spelled
    reply = caller.http(caller.key).post(
        "/v1/chat/completions", content=text, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 400, reply.text
    assert len(reply.content) < 4096
    assert "secret" not in reply.text and "find_parcel" not in reply.text
    assert reply.json()["error"]["message"]


def test_a_policy_reads_arguments_and_definitions_and_withholds_calls(world: World) -> None:
    weights = write_caller(world.root / "artifacts" / "caller")
    world.registry.register(TENANT, NAME, weights, "artifacts/caller", "made by hand")
    world.registry.promote(TENANT, NAME, weights, "test", "test")
    forbids = Policy(prompts=(re.compile("forbidden"),), answers=(re.compile(r'"number": 7'),))
    world.start(policy=forbids)
    for stream in (False, True):
        asked = ask(world, stream=stream)
        choices = [one.choices[0] for one in asked] if stream else asked.choices
        assert choices[-1].finish_reason == "content_filter"
        assert "find_parcel" not in str(choices)
    called = {**CALL, "function": {"name": "f", "arguments": '{"a": "forbidden"}'}}
    history = [ASK, {**CALLED, "tool_calls": [called]}, BROUGHT]
    with pytest.raises(openai.BadRequestError, match="policy"):
        ask(world, messages=history)
    described = {**FIND, "function": {**FIND["function"], "description": "forbidden"}}
    with pytest.raises(openai.BadRequestError, match="policy"):
        ask(world, tools=[described])
