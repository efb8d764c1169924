"""How an answer is to be drawn, as OpenAI's API says it, with what vLLM's adds to it.

In: fields of a request. Out: values of `Sampling`. This module knows no route and no model.

Beyond OpenAI's: `top_k`, `min_p`, `repetition_penalty`, and `structured_outputs` with one of
`json`, `regex`, `choice`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from noria.generate.forms import Constraint, choice_form, json_form, regex_form
from noria.generate.sampling import Sampling

MAX_ANSWERS = 8  # of one request
MAX_BIASES = 1024
MAX_ALTERNATIVES = 20  # OpenAI's, for chats

Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]


class JsonSchema(BaseModel):
    """The schema of a `response_format`; its name and description are for people."""

    name: str = Field("", max_length=200)
    description: str | None = Field(None, max_length=10_000)
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """OpenAI's `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with type json_schema, and with no other")
        return self


class StructuredOutputs(BaseModel):
    """vLLM's `structured_outputs`: one of these."""

    model_config = ConfigDict(extra="forbid")

    json_: dict[str, Any] | None = Field(None, alias="json")
    regex: str | None = Field(None, min_length=1, max_length=10_000)
    choice: list[Annotated[str, Field(min_length=1, max_length=1000)]] | None = Field(
        None, min_length=1, max_length=100
    )

    @model_validator(mode="after")
    def _one(self) -> StructuredOutputs:
        if sum(one is not None for one in (self.json_, self.regex, self.choice)) != 1:
            raise ValueError("one of json, regex, choice")
        return self


class Wishes(BaseModel):
    """The fields of a request that say how to draw, beside temperature and its like."""

    n: int | None = Field(None, ge=1, le=MAX_ANSWERS)
    top_k: int | None = Field(None, ge=0, le=2**31)
    min_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100, allow_inf_nan=False)
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[int, float] | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    @field_validator("logit_bias", mode="before")
    @classmethod
    def _biases(cls, value: Any) -> dict[int, float] | None:
        """Checked as a whole: an error that names a key would repeat the client's own text."""
        if value is None:
            return None
        try:
            found = {int(one): float(bias) for one, bias in value.items()}
        except (AttributeError, TypeError, ValueError, OverflowError):
            found = {-1: 0.0}
        good = all(0 <= one < 2**31 and -100 <= bias <= 100 for one, bias in found.items())
        if not good or len(found) > MAX_BIASES:
            raise ValueError(f"at most {MAX_BIASES} token ids with biases from -100 to 100")
        return found

    @model_validator(mode="after")
    def _one_form(self) -> Wishes:
        asked = self.response_format
        if self.structured_outputs is not None and asked is not None and asked.type != "text":
            raise ValueError("response_format or structured_outputs, not both")
        return self

    @property
    def has_form(self) -> bool:
        """Whether the answer must have a form."""
        asked = self.response_format
        return self.structured_outputs is not None or (asked is not None and asked.type != "text")

    def as_sampling(self, **rest: Any) -> Sampling:
        """The settings of one answer. Raises UsageError for a form that can't be."""
        return Sampling(
            top_k=self.top_k or 0,
            min_p=self.min_p or 0.0,
            repetition_penalty=self.repetition_penalty or 1.0,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=tuple((self.logit_bias or {}).items()),
            constraint=self._form(),
            **rest,
        )

    def _form(self) -> Constraint | None:
        form, asked = self.structured_outputs, self.response_format
        if form is not None:
            if form.regex is not None:
                return regex_form(form.regex)
            return choice_form(form.choice) if form.choice is not None else json_form(form.json_)
        if asked is None or asked.type == "text":
            return None
        return json_form(asked.json_schema.schema_ if asked.json_schema else None)
