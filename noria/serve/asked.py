"""A checked request and whose it is: what the worker is asked for, and what is kept of it.

In: a request. Out: the plain values of a message, the prompt as an interaction keeps it.
This module knows no HTTP and no store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from noria.errors import NoriaError, UsageError
from noria.records import content_text
from noria.serve.policy import NO_POLICY, Policy
from noria.serve.protocol import ChatRequest, CompletionRequest
from noria.serve.worker.messages import Piece
from noria.serve.worker.models import LanguageHandle


class NothingLive(NoriaError):
    """No model is live for this tenant, or it can't be loaded."""


class AnsweredMeanwhile(NoriaError):
    """Another request with the same idempotency key was stored first; its answer stands."""


@dataclass(frozen=True)
class Asked:
    """A checked request and whose it is."""

    tenant: str
    request: ChatRequest | CompletionRequest
    idempotency_key: str = ""
    policy: Policy = NO_POLICY
    on_end: Callable[[Piece, float], None] | None = None  # told the last piece, and seconds
    number: int = 0  # of several answers to one request

    def __post_init__(self) -> None:
        request = self.request
        if not self.idempotency_key:
            return
        of_ids = isinstance(request, CompletionRequest) and not isinstance(request.given, str)
        if request.is_scored or of_ids or (request.n or 1) > 1:
            raise UsageError(
                "an Idempotency-Key",
                "none with n, echo, logprobs or a prompt of ids, since one answer's text is kept",
                "send the request without it",
            )

    @property
    def kind(self) -> str:
        """The kind of interaction that it becomes."""
        return "chat" if isinstance(self.request, ChatRequest) else "completion"

    @property
    def person(self) -> str:
        """Who asked, as the client calls them."""
        return self.request.user or ""

    @property
    def may_call(self) -> bool:
        """Whether the answer may be a call of a function."""
        return isinstance(self.request, ChatRequest) and self.request.may_call

    @property
    def said(self) -> str:
        """The last thing that was said, "" for ids: what tells one kind of request from another."""
        if isinstance(self.request, ChatRequest):
            return content_text(self.request.as_messages()[-1].content)
        return self.request.given if isinstance(self.request.given, str) else ""

    def wanted(self, model: LanguageHandle) -> dict[str, Any]:
        """What the worker is asked for. Raises UsageError for settings that can't be."""
        request = self.request
        sampling = request.sampling(model.context_tokens)
        if self.number and sampling.seed is not None:  # each of several has a seed of its own
            sampling = replace(sampling, seed=(sampling.seed + self.number) % 2**63)
        asked = {"tenant": self.tenant, "sampling": asdict(sampling), "is_scored": False}
        if isinstance(request, ChatRequest):
            turns = [
                (turn.role, [(part.text, part.kind) for part in turn.content])
                for turn in request.as_messages()
            ]
            return {**asked, "turns": turns}
        asked["prompt"] = request.given
        if not request.is_scored:
            return asked
        if request.max_tokens == 0:  # nothing is written, the prompt is only scored
            asked["sampling"] = None
        echo = bool(request.echo)
        return {**asked, "is_scored": True, "echo": echo, "num_best": request.logprobs}

    def prompt(self, model: LanguageHandle) -> str:
        """The prompt as an interaction keeps it: ids as the text that they stand for.

        It may wait for the worker. Raises UsageError for unknown ids, WorkerGone.
        """
        if isinstance(self.request, ChatRequest):
            return self.request.stored_prompt
        given = self.request.given
        return given if isinstance(given, str) else model.decode(given)
