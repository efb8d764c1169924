"""Answers of a form: what ends by itself always has it, whatever the model would rather say."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from arrivals import talker
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.errors import NoriaError, UsageError
from noria.generate.batching import Engine
from noria.generate.constrain import matcher_for
from noria.generate.engine import generate_tokens
from noria.generate.forms import Constraint, call_form, choice_form, json_form, regex_form
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.tokenizer.tools import AnswerReader

NUMBER = {
    "type": "object",
    "properties": {"n": {"$ref": "#/$defs/N"}},
    "required": ["n"],
    "$defs": {"N": {"type": "integer"}},
}
DRAWN = Sampling(temperature=1.0, max_tokens=90)


def answer(model: LanguageModel, form: Constraint, seed: int) -> tuple[str, bool]:
    """The text, and whether it ended by itself."""
    sampling = replace(DRAWN, constraint=form, seed=seed)
    ids = list(generate_tokens(model, [5], sampling))
    ended = ids[-1] in model.tokenizer.stop_ids
    return model.tokenizer.decode(ids), ended


LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(
        lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
        st.integers(-50, 50),
        st.integers(0, 100),
    ),
    st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(0, 6)),
    st.builds(
        lambda words: {"enum": words},
        st.lists(st.text(max_size=5), min_size=1, unique=True, max_size=4),
    ),
    st.just({"type": "string", "pattern": "^[a-c]{1,3}$"}),
)


def _object(properties: dict[str, Any], num_required: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties)[:num_required],
        "additionalProperties": False,
    }


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda items, most: {"type": "array", "items": items, "maxItems": most},
            inner,
            st.integers(0, 2),
        ),
        st.builds(
            _object,
            st.dictionaries(st.text("abé水", min_size=1, max_size=3), inner, max_size=3),
            st.integers(0, 3),
        ),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(SCHEMAS, st.integers(0, 1000), st.sampled_from(["llama", "gpt2"]))
def test_an_answer_that_ends_is_json_of_its_schema(
    plain: LanguageModel, schema: dict[str, Any], seed: int, shape: str
) -> None:
    model = talker(plain, shape, seed % 3)
    text, ended = answer(model, json_form(schema), seed)
    if ended:
        jsonschema.validate(json.loads(text), schema)
    else:  # cut by the context: a beginning of what it would have been
        assert len(model.tokenizer.encode(text)) >= 20


@settings(max_examples=30, deadline=None)
@given(SCHEMAS, SCHEMAS, st.integers(0, 1000), st.booleans())
def test_a_call_that_ends_has_a_name_and_arguments_of_its_schema(
    plain: LanguageModel, one: dict[str, Any], other: dict[str, Any], seed: int, must: bool
) -> None:
    schemas = {"first": _object({"a": one}, 1), "second": _object({"b": other}, 0)}
    form = call_form(schemas, must=must)
    text, ended = answer(talker(plain, "llama", seed % 3), form, seed)
    reader = AnswerReader()
    heard = reader.push(text).then(reader.finish())
    if must and ended:
        assert reader.called and not heard.text
    if reader.called:
        jsonschema.validate(json.loads(heard.arguments), schemas[heard.name])


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("It is < 5 and </tool_call>.", True),
        ("", True),
        ('I look.\n<tool_call>\n{"name": "f", "arguments": {"n": 12}}\n</tool_call>', True),
        ('<tool_call>\n{"name": "f", "arguments": {"n": 12}}\n</tool_call> So.', False),
        ('<tool_call>\n{"name": "g", "arguments": {"n": 12}}\n</tool_call>', False),
        ('<tool_call>\n{"name": "f", "arguments": {"n": "12"}}\n</tool_call>', False),
        ("the mark <tool_call> is for calls", False),
    ],
)
def test_who_may_call_says_anything_or_calls_at_the_end(
    plain: LanguageModel, text: str, good: bool
) -> None:
    matcher = matcher_for(plain.tokenizer, call_form({"f": NUMBER}, must=False))
    for token_id in plain.tokenizer.encode(text):
        if not matcher.allowed()[token_id]:
            assert not good
            return
        matcher.push(token_id)
    assert bool(matcher.allowed()[plain.tokenizer.end_id]) == good


def test_most_random_models_end_a_small_form(plain: LanguageModel) -> None:
    schema = {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}
    endings = [
        answer(talker(plain, "llama", seed), json_form(schema), seed)[1] for seed in range(9)
    ]
    assert all(endings)


@pytest.mark.parametrize("pattern", ["[a-f]{3}-[0-9]{2}", "(yes|no)!?", "水+车", "a(b|c)*d"])
def test_an_answer_matches_its_expression(plain: LanguageModel, pattern: str) -> None:
    num_ended = 0
    for seed in range(8):
        text, ended = answer(talker(plain, "llama", seed), regex_form(pattern), seed)
        num_ended += ended
        assert not ended or re.fullmatch(pattern, text)
    assert num_ended


def test_a_choice_is_one_of_the_choices_and_all_can_be(plain: LanguageModel) -> None:
    choices = ["positive", "negative", 'a "quoted" one', "水车", "back\\slash"]
    models = [talker(plain, "llama", seed) for seed in range(12)]
    found = {answer(models[seed % 12], choice_form(choices), seed) for seed in range(60)}
    assert {text for text, _ in found} <= set(choices)
    assert len(found) >= 3 and all(ended for _, ended in found)


def test_without_a_schema_it_is_an_object(plain: LanguageModel) -> None:
    bias = tuple((one, 100.0) for one in plain.tokenizer.encode("}"))
    sampling = replace(DRAWN, constraint=json_form(), seed=1, logit_bias=bias)
    text = plain.tokenizer.decode(generate_tokens(plain, [5], sampling))
    assert isinstance(json.loads(text), dict)


def test_forms_hold_under_batching_each_its_own(plain: LanguageModel) -> None:
    model = talker(plain, "llama", 2)
    forms = [
        choice_form(["left", "right"]),
        regex_form("[0-9]{4}"),
        None,
        json_form({"type": "null"}),
    ]
    wanted = []
    engine = Engine(model)
    streams = []
    for seed, form in enumerate(forms * 2):
        sampling = replace(DRAWN, constraint=form, seed=seed, max_tokens=20)
        wanted.append(list(generate_tokens(model, [5, 6], sampling)))
        streams.append(engine.submit(model, [5, 6], sampling))
    assert [[one.token_id for one in stream] for stream in streams] == wanted
    engine.close()


@pytest.mark.parametrize(
    "form",
    [
        Constraint("json", "{"),
        Constraint("json", "[1]"),
        json_form({"type": "nothing"}),
        json_form({"$ref": "#/nowhere"}),
        json_form({"$ref": "https://example.com/schema"}),
        regex_form("("),
        regex_form("(?<=a)b"),
        call_form({"f": {"type": "nothing"}}, must=False),
        call_form({"f": NUMBER, "g": {"type": "object", "$ref": "#/nowhere"}}, must=True),
    ],
)
def test_a_bad_form_is_refused_before_anything_is_drawn(
    plain: LanguageModel, form: Constraint
) -> None:
    with pytest.raises(UsageError, match="can't be enforced"):
        matcher_for(plain.tokenizer, form)


UNMET = r"can't be enforced|no answer can have"
ENDLESS = {"type": "array", "items": {"$ref": "#/$defs/endless"}, "minItems": 1}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"anyOf": [{"$ref": "#"}]},
        {"allOf": [{"$ref": "#"}]},
        {"allOf": [{"type": "string"}, {"type": "object"}]},
        {"enum": []},
        {"type": "integer", "minimum": 5, "maximum": 1},
    ],
)
def test_a_form_that_no_text_has_is_refused_before_anything_is_drawn(
    plain: LanguageModel, schema: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=UNMET):
        matcher_for(plain.tokenizer, json_form(schema))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/endless"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"prefixItems": [{"type": "boolean"}, {"$ref": "#/$defs/endless"}], "minItems": 2},
    ],
)
def test_a_form_without_an_end_is_the_fault_of_who_asks(
    plain: LanguageModel, schema: dict[str, Any]
) -> None:
    form = json_form({"type": "array", **schema, "$defs": {"endless": ENDLESS}})
    with pytest.raises(UsageError, match=UNMET):
        answer(talker(plain, "llama", 1), form, seed=1)


def test_arguments_that_can_not_be_are_the_fault_of_who_asks(plain: LanguageModel) -> None:
    form = call_form({"f": {"$ref": "#"}}, must=True)
    with pytest.raises(UsageError, match=UNMET):  # its name and its brackets can be written
        answer(talker(plain, "llama", 1), form, seed=1)


def test_a_schema_of_great_depth_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"anyOf": [schema]}
    with pytest.raises(UsageError, match="depth"):
        json_form(schema)


@pytest.mark.parametrize("choices", [[], [""], ["a"] * 2000])
def test_choices_that_are_none_are_refused(choices: list[str]) -> None:
    with pytest.raises(UsageError, match="choices"):
        choice_form(choices)
    with pytest.raises(UsageError, match="at most"):
        regex_form("a" * 200_000)


def test_a_monstrous_form_ends_in_an_error_or_an_answer_but_soon(plain: LanguageModel) -> None:
    deep: dict[str, Any] = {"type": "null"}
    for _ in range(400):
        deep = {"type": "array", "items": deep}
    model = talker(plain, "llama", 1)
    for form in (
        json_form(deep),
        regex_form("a{1,99999999}{99999}"),
        regex_form("(a|aa|aaa)*" * 40 + "b{1000}"),
        regex_form("(.*a.{200})"),
    ):
        with suppress(NoriaError):
            text, ended = answer(model, form, 1)
            assert text or ended
