"""The requests of OpenAI's API that this server takes, and what it refuses of them.

In: the JSON of a request. Out: a checked request.
A field that would change the answer and that is not known here is refused, never ignored.
This module knows no model, no key and no store.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from noria.feedback.interactions import chat_prompt
from noria.generate.sampling import Sampling
from noria.records import Message
from noria.serve.tools import ChatMessage, Offer, Text, check_results
from noria.serve.wishes import MAX_ALTERNATIVES, Wishes

COMPLETION_TOKENS = 16  # OpenAI's default for /v1/completions
MAX_LOGPROBS = 5  # likewise: the most alternatives to each token
MAX_PROMPT_IDS = 2**20
MAX_STOPS = 4
MAX_TEXTS = 64  # of one request to an application: each answer is on disk before it is heard
MAX_TASK_CHARACTERS = 500_000  # of all its texts; a body has a megabyte at most
LIVE = "live"  # a name that every server answers to, beside its model's own
# The values of unknown fields that say "as usual"; of any other field: empty, zero, false.
_USUAL: dict[str, Any] = {
    "best_of": 1,
    "modalities": ["text"],
    "service_tier": "auto",
}

# Fields of OpenAI's that are refused by name; any other name may be a client's own text.
_OTHERS = frozenset(
    [
        "audio",
        "best_of",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "metadata",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "store",
        "suffix",
        "tool_choice",
        "tools",
        "top_logprobs",
        "web_search_options",
    ]
)

Stop = Annotated[str, Field(min_length=1, max_length=1000)]


class StreamOptions(BaseModel):
    """What a stream says beside the answer."""

    include_usage: bool = False


class _Request(Wishes):
    """What both kinds of request have in common."""

    model_config = ConfigDict(extra="allow")

    model: str
    max_tokens: int | None = Field(None, ge=1, le=2**31)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, ge=1e-6, le=1, allow_inf_nan=False)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop | list[Stop] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=1000)

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, value: str | list[str] | None) -> str | list[str] | None:
        if isinstance(value, list) and len(value) > MAX_STOPS:
            raise ValueError(f"at most {MAX_STOPS} stop strings")
        return value

    @model_validator(mode="after")
    def _nothing_unknown(self) -> _Request:
        for name, value in (self.model_extra or {}).items():
            if value and value != _USUAL.get(name):
                known = ", ".join(sorted(type(self).model_fields))
                what = name if name in _OTHERS else "a field"
                raise ValueError(f"{what} that this server does not have; it has {known}")
        return self

    @property
    def wants_usage(self) -> bool:
        """Whether the stream should end with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def _drawn(self, max_tokens: int, log_probs: int | None = None) -> Sampling:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return self.as_sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            max_tokens=max_tokens,
            seed=self.seed,
            stop=tuple(stop),
            log_probs=log_probs,
        )


Ids = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**31, strict=True)]],
    Field(min_length=1, max_length=MAX_PROMPT_IDS),
]
Item = TypeVar("Item")
One = Annotated[list[Item], Field(min_length=1, max_length=1)]


class ChatRequest(_Request, Offer):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_ALTERNATIVES)

    @model_validator(mode="after")
    def _alternatives_to_something(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs = true")
        return self

    @model_validator(mode="after")
    def _calls_in_order(self) -> Self:
        check_results(self.messages)
        if self.may_call and self.has_form:
            raise ValueError("tools or a form of the answer, not both, unless tool_choice is none")
        return self

    @property
    def is_scored(self) -> bool:
        """Whether the reply has more than the answer's text."""
        return bool(self.logprobs)

    def as_messages(self) -> tuple[Message, ...]:
        """The conversation so far, with what may be called."""
        return self.offered([message.as_message() for message in self.messages])

    @property
    def stored_prompt(self) -> str:
        """The conversation as an interaction keeps it."""
        return chat_prompt(self.as_messages())

    def sampling(self, context_tokens: int) -> Sampling:
        """How to draw the answer; without a limit it may fill half of the context."""
        wanted = self.max_completion_tokens or self.max_tokens
        log_probs = (self.top_logprobs or 0) if self.logprobs else None
        drawn = self._drawn(wanted or max(1, context_tokens // 2), log_probs)
        return replace(drawn, constraint=self.call_constraint) if self.may_call else drawn


class CompletionRequest(_Request):
    """POST /v1/completions: one prompt, as text or as ids of the model's own tokenizer.

    With `echo` the prompt stands before the answer, which may then be of no token at all; with
    `logprobs` the tokens come with their probabilities, and so many of the likeliest beside each.
    """

    prompt: Text | One[Text] | Ids | One[Ids]
    max_tokens: int | None = Field(None, ge=0, le=2**31)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens = 0 needs echo = true: else there is nothing to return")
        if self.is_scored and self.stream:
            raise ValueError("echo and logprobs come with the whole answer: stream = false")
        return self

    @field_validator("logprobs", mode="before")
    @classmethod
    def _none_wanted(cls, value: Any) -> Any:
        return None if value is False else value  # as the chat's own field says it

    @property
    def is_scored(self) -> bool:
        """Whether the reply has more than the answer's text."""
        return bool(self.echo) or self.logprobs is not None

    @property
    def given(self) -> str | list[int]:
        """The prompt, as text or as ids."""
        prompt = self.prompt
        if isinstance(prompt, list) and not isinstance(prompt[0], int):
            return prompt[0]
        return prompt

    @property
    def stored_prompt(self) -> str:
        """The prompt as an interaction keeps it, if it is text; ids need a tokenizer first."""
        return self.given if isinstance(self.given, str) else ""

    def sampling(self, context_tokens: int) -> Sampling:
        """How to draw the answer; without a limit it is short, whatever the context."""
        return self._drawn(self.max_tokens or min(COMPLETION_TOKENS, context_tokens))


class TaskRequest(BaseModel):
    """POST /v1/tasks/NAME; `input` may come as one text."""

    model_config = ConfigDict(extra="forbid")

    input: Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
    user: str | None = Field(None, max_length=1000)

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("input")
    @classmethod
    def _not_too_long(cls, value: list[str]) -> list[str]:
        characters = sum(map(len, value))
        if characters > MAX_TASK_CHARACTERS:
            raise ValueError(f"{characters:,} characters; at most {MAX_TASK_CHARACTERS:,} together")
        return value


class EmbeddingRequest(BaseModel):
    """POST /v1/embeddings: texts, not ids of another model's tokenizer."""

    model_config = ConfigDict(extra="forbid")

    model: str
    input: Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = Field(None, max_length=1000)

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class FeedbackRequest(BaseModel):
    """POST /v1/feedback; what `value` may be depends on the kind and is the store's to say."""

    model_config = ConfigDict(extra="forbid")

    interaction_id: str = Field(min_length=1, max_length=200)
    kind: Literal[
        "thumb", "label", "correction", "comment", "preference", "regenerate", "copy", "abandon"
    ]
    value: str = ""
    origin: Literal["person", "simulated"] = "person"
    user: str | None = Field(None, max_length=1000)
