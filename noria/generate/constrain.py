"""Answers that must have a form: JSON of a schema, a regular expression, a choice, a call.

In: a form and a tokenizer. Out: which tokens may come next, after each one that came. The grammar
is llguidance's; this module hides the library.
An answer that ends by itself has the form; one that is cut at max_tokens has its beginning.
This module does not know models or logits. Legend: V vocabulary.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from noria.errors import MissingExtra, UsageError
from noria.generate.forms import Constraint
from noria.tokenizer.chat import tool_form
from noria.tokenizer.load import Tokenizer
from noria.tokenizer.tools import CALL_KEYS, MARKER, ToolForm

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

# As Python's json module writes by itself. Free white space is no part of a schema's meaning, and a
# model that has little to say would write it for ever.
_JSON_STYLE: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


@final
class Matcher:
    """How far one answer is in its form."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def allowed(self) -> Bool[Tensor, " V"]:
        """The tokens that may come next; those that end the answer once it is whole.

        Raises UsageError where the form can't be met, or is more than the library follows.
        """
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        bits = np.unpackbits(mask, bitorder="little")[: self._vocab_size]
        if not bits.any():
            raise _unmet("no token of this model continues it")
        return torch.from_numpy(bits).bool()

    def push(self, token_id: int) -> None:
        """One more token, of those that were allowed. Raises UsageError as `allowed` does."""
        self._matcher.consume_token(token_id)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise _unmet(self._matcher.get_error())


def _unmet(told: str) -> UsageError:
    """Who asked for the form can mend it: whoever serves has done nothing wrong."""
    return UsageError(
        f"a form that no answer can have, or that is too large to be followed ({told})",
        "a form that some text has, such as a schema that does not only refer to itself",
        "ask for a simpler form",
    )


def matcher_for(tokenizer: Tokenizer, constraint: Constraint) -> Matcher:
    """Begin an answer of this form.

    Raises UsageError for a schema or expression that is malformed, too large, that no text has, or
    that uses what the library can't enforce, and MissingExtra without it.
    """
    grammar = grammar_of(tokenizer, constraint)
    from llguidance import LLMatcher

    matcher = LLMatcher(_library_tokenizer(tokenizer), grammar, log_level=0)
    if matcher.is_error():
        raise not_enforced(constraint, matcher.get_error())
    begun = Matcher(matcher, tokenizer.vocab_size)
    begun.allowed()  # a form without a beginning is refused before the prompt is read
    return begun


def grammar_of(tokenizer: Tokenizer, constraint: Constraint) -> str:
    """The form as the library reads it, which says what is malformed when it does.

    Raises UsageError for what is no JSON, and MissingExtra without the library.
    """
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        raise MissingExtra("constrained output (llguidance)", "constrain") from error
    try:
        match constraint.kind:
            case "json":
                return LLMatcher.grammar_from_json_schema(constraint.source, overrides=_JSON_STYLE)
            case "regex":
                return LLMatcher.grammar_from_regex(constraint.source)
            case "call":
                spelled = _call_grammar(constraint.source, tool_form(tokenizer))
                return LLMatcher.grammar_from_lark(spelled)
        choices = (json.dumps(one) for one in json.loads(constraint.source))
        return LLMatcher.grammar_from_lark(f"start: {' | '.join(choices)}")
    except (ValueError, RecursionError) as error:
        raise not_enforced(constraint, str(error)) from error


def grammars_of(tokenizer: Tokenizer, constraint: Constraint) -> tuple[str, ...]:
    """Of a call the arguments of each function alone, in order; last the whole form.

    Raises as `grammar_of`.
    """
    whole = grammar_of(tokenizer, constraint)
    if constraint.kind != "call":
        return (whole,)
    schemas = json.loads(constraint.source)["functions"].values()
    alone = (Constraint("json", json.dumps(one)) for one in schemas)
    return (*(grammar_of(tokenizer, one) for one in alone), whole)


def not_enforced(constraint: Constraint, told: str, place: int | None = None) -> UsageError:
    """The error for a form that the library does not take; `told` is why.

    place: of the grammar that it does not take, among those of `grammars_of`.
    """
    wanted = {
        "json": "a JSON schema",
        "regex": "a regular expression",
        "call": "JSON schemas of parameters",
    }.get(constraint.kind, "texts")
    if constraint.kind == "call" and place is not None:
        num_functions = len(json.loads(constraint.source)["functions"])
        which = f"function {place + 1} of the {num_functions} that may be called"
        wanted = f"a JSON schema of the parameters of {which}"
        if place == num_functions:
            wanted = "fewer or smaller functions, all together"
    return UsageError(
        f"a {constraint.kind} that can't be enforced ({told})",
        f"{wanted} that llguidance can follow",
        "ask for a simpler form",
    )


def _call_grammar(source: str, spelling: ToolForm) -> str:
    """Each function's arguments are a grammar of their own, so that `$ref` finds its own schema."""
    asked = json.loads(source)
    name_key, arguments_key, end = CALL_KEYS
    rest = spelling.before.removeprefix(MARKER)
    begin, text = (json.dumps(MARKER), "") if asked["must"] else ("begin", "TEXT | ")
    lines = [f"start: {text}{begin} {json.dumps(rest)} called {json.dumps(spelling.after)}"]
    if text:  # the marker is found as soon as it is there, so no text goes on behind it
        lines += [f"begin[lazy]: TEXT {json.dumps(MARKER)}", r"TEXT: /(.|\n)*/"]
    lines.append("called: " + " | ".join(f"call_{one}" for one in range(len(asked["functions"]))))
    for number, (name, schema) in enumerate(asked["functions"].items()):
        before = json.dumps(name_key + json.dumps(name) + arguments_key)
        styled = json.dumps({**schema, "x-guidance": _JSON_STYLE})
        lines.append(f"call_{number}: {before} %json {styled} {json.dumps(end)}")
    return "\n".join(lines)


class _Words:
    """A vocabulary as the library reads one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id = tokenizer.end_id
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = sorted(tokenizer.specials)
        self.tokens = [
            tokenizer.specials[one].encode("utf-8")
            if one in tokenizer.specials
            else tokenizer.token_bytes(one)
            for one in range(tokenizer.vocab_size)
        ]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        if not isinstance(text, str):  # the library asks whether bytes are taken
            raise TypeError("a text is expected")
        return self._tokenizer.encode(text, continues=True)


_TOKENIZERS: WeakKeyDictionary[Tokenizer, LLTokenizer] = WeakKeyDictionary()
_LOCK = threading.Lock()


def _library_tokenizer(tokenizer: Tokenizer) -> LLTokenizer:
    """The tokenizer as the library's, built once: it takes a moment for a large vocabulary."""
    from llguidance import LLTokenizer, TokenizerWrapper

    with _LOCK:
        found = _TOKENIZERS.get(tokenizer)
        if found is None:
            ends = sorted(tokenizer.stop_ids)
            words = TokenizerWrapper(_Words(tokenizer))
            found = _TOKENIZERS[tokenizer] = LLTokenizer(words, eos_token=ends)
        return found
