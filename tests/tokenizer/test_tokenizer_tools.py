"""How functions, calls and results are spelled, and how calls are read from answers."""

from __future__ import annotations

import json

import pytest

from noria.errors import UsageError
from noria.records import CALL, TOOLS, Message, Part, text_content
from noria.tokenizer.chat import render_chat
from noria.tokenizer.formats import FORMATS, QWEN2_SYSTEM
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.tools import APIGEN, HERMES, AnswerReader, Heard, arguments_span, spelled_turns
from noria.tokenizer.train import train_tokenizer

TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
OFFER = Part(json.dumps([TOOL, TOOL]), TOOLS)
FIRST = Part('{"name": "find", "arguments": {"n": 1}}', CALL)
SECOND = Part('{"name": "find", "arguments": {"n": 2}}', CALL)


def say(role: str, text: str, *more: Part) -> Message:
    return Message(role, (text_content(text) if text else ()) + more)


CHAT = [
    say("system", "", OFFER),
    say("user", "Where?"),
    say("assistant", "I look.", FIRST, SECOND),
    say("tool", "here"),
    say("tool", "there"),
    say("assistant", "Here and there."),
]
# As Qwen2.5's own template writes them.
HERMES_SYSTEM = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
</tools>

For each function call, return a json object with function name and arguments \
within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def test_calls_are_spelled_as_qwen_was_trained_on_them() -> None:
    turns = spelled_turns(HERMES, QWEN2_SYSTEM, True, CHAT)
    assert turns == [
        ("system", f"{QWEN2_SYSTEM}\n\n{HERMES_SYSTEM}"),
        ("user", "Where?"),
        (
            "assistant",
            'I look.\n<tool_call>\n{"name": "find", "arguments": {"n": 1}}\n</tool_call>\n'
            '<tool_call>\n{"name": "find", "arguments": {"n": 2}}\n</tool_call>',
        ),
        (
            "user",
            "<tool_response>\nhere\n</tool_response>\n<tool_response>\nthere\n</tool_response>",
        ),
        ("assistant", "Here and there."),
    ]
    own = [say("system", "Be brief.", OFFER), *CHAT[1:]]
    assert spelled_turns(HERMES, QWEN2_SYSTEM, True, own)[0][1] == f"Be brief.\n\n{HERMES_SYSTEM}"


def test_calls_are_spelled_as_smollm2_was_trained_on_them() -> None:
    turns = spelled_turns(APIGEN, "unwanted", True, CHAT)
    assert turns[0][1].startswith("You are an expert in composing functions.")
    assert f"<tools>{json.dumps([TOOL, TOOL])}</tools>" in turns[0][1]
    assert turns[2][1] == (
        'I look.\n<tool_call>[{"name": "find", "arguments": {"n": 1}}, '
        '{"name": "find", "arguments": {"n": 2}}]</tool_call>'
    )


def test_where_there_is_no_system_message_the_user_brings_the_functions() -> None:
    turns = spelled_turns(HERMES, None, False, CHAT)
    assert turns[0] == ("user", f"{HERMES_SYSTEM}\n\nWhere?")
    assert [role for role, _ in turns] == ["user", "assistant", "user", "assistant"]
    with pytest.raises(UsageError):
        spelled_turns(HERMES, None, False, CHAT[:1])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["Where? Here and there. <tool_call>"] * 30, 300, folder, "chatml")
    return load_tokenizer(folder)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_renders_a_chat_with_calls(name: str, tokenizer: Tokenizer) -> None:
    tokenizer.chat_format = name  # its own special tokens aside
    whole = render_chat(tokenizer, CHAT, add_answer_prompt=False)
    counted = [one for one, counts in zip(whole.ids, whole.mask, strict=True) if counts]
    said = tokenizer.decode(counted)
    assert said.count('"name": "find"') == 2  # the calls are learned, the definitions are not
    assert "Here and there." in said
    assert "tool_response" not in said
    # What a model reads before its answer is how what it learned from begins.
    asked = render_chat(tokenizer, CHAT[:-1], add_answer_prompt=True)
    assert list(asked.ids) == list(whole.ids[: len(asked.ids)])


ARGUMENTS = r'{"a": "}\n</tool_call>", "b": "}]</tool_call>", "c": [1, {"d": "é"}]}'


@pytest.mark.parametrize("form", [HERMES, APIGEN])
@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_a_call_is_read_however_its_text_comes(form: object, step: int) -> None:
    assert form in (HERMES, APIGEN)
    call = '{"name": "find", "arguments": ' + ARGUMENTS + "}"
    before, after = (
        (HERMES.before, HERMES.after) if form is HERMES else (APIGEN.before, APIGEN.after)
    )
    text = "I <look> at <tool_.\n" + before + call + after
    reader, heard = AnswerReader(), Heard()
    for start in range(0, len(text), step):
        new = reader.push(text[start : start + step])
        heard = heard.then(new)
    heard = heard.then(reader.finish())
    assert reader.called
    assert heard == Heard("I <look> at <tool_.\n", "find", ARGUMENTS)
    span = arguments_span(text)
    assert span is not None and text[span[1] : span[2]] == ARGUMENTS


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("just text", Heard("just text")),
        ("it ends with <tool_", Heard("it ends with <tool_")),
        ("", Heard()),
        ("a <tool_call>\n", Heard("a ")),
        ('a <tool_call>\n{"name": "fi', Heard("a ")),
        ('<tool_call>\n{"name": "find", "arguments": ', Heard("", "find")),
        ('<tool_call>\n{"name": "find", "arguments": {"n"', Heard("", "find", '{"n"')),
        (
            '<tool_call>[{"name": "find", "arguments": {"n": 1}}]</tool',
            Heard("", "find", '{"n": 1}'),
        ),
    ],
)
def test_an_answer_that_was_cut_has_no_whole_call(text: str, heard: Heard) -> None:
    reader = AnswerReader()
    assert reader.push(text).then(reader.finish()) == heard
    assert not reader.called
    assert arguments_span(text) is None
