"""Our model as lm-evaluation-harness asks it: likelihoods of continuations and texts, and answers.

In: a loaded model and the harness's requests. Out: what it wants for each, in order. Likelihoods
are those of noria.evaluate.harness: the same start of a sequence, the same windows over what is
longer than the context. Only the end of a text is not counted here, since the harness gives none.
This module needs the extra `harness`; noria.evaluate.benchmark imports it when it is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM

from noria.errors import UsageError
from noria.evaluate.harness import Line, Progress, measure_lines
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.tasks.complete import complete

DEFAULT_ANSWER_TOKENS = 256  # the harness's own default
_KNOWN = {"until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k"}


class BenchmarkModel(TemplateLM):  # type: ignore[misc]  # the harness has no types
    """A language model of ours behind the harness's interface."""

    def __init__(self, model: LanguageModel, progress: Progress | None = None) -> None:
        super().__init__()
        self.model = model
        self._progress = progress

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text, and begins one where nothing else does."""
        return self.model.tokenizer.end_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that nothing else stands before."""
        return self._start()[-1]

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Ids of a text; what begins a sequence is put before it elsewhere, once."""
        return self.model.tokenizer.encode(string)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        """Likelihood of each continuation, and whether it is what would have been written."""
        lines = []
        for _texts, context, continuation in requests:
            begun = context[:1] == [self.prefix_token_id]  # by the harness, where no context is
            before = self._start()[:-1] if begun else self.model.tokenizer.start_ids
            ids = [*before, *context, *continuation]
            num_skipped = len(ids) - 1 - len(continuation)
            lines.append(Line(ids, [0] * num_skipped + [1] * len(continuation)))
        likeliest = np.ones(len(lines), dtype=np.bool_)
        nll = measure_lines(self.model, lines, self._progress, likeliest)
        pairs = zip(nll, likeliest, strict=True)
        return [(-float(one), bool(greedy)) for one, greedy in pairs]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Likelihood of each whole text, without an end."""
        lines = []
        for (text,) in (request.args for request in requests):
            ids = self.tok_encode(text)
            start = self._start()
            lines.append(Line([*start, *ids], [0] * (len(start) - 1) + [1] * len(ids)))
        return [-float(one) for one in measure_lines(self.model, lines, self._progress)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each text, up to the first of the strings that end it."""
        found = []
        for place, (context, settings) in enumerate(request.args for request in requests):
            pieces = complete(self.model, context, _sampling(settings))
            found.append("".join(piece.text for piece in pieces))
            if self._progress is not None:
                self._progress(place + 1, len(requests))
        return found

    def _start(self) -> tuple[int, ...]:
        tokenizer = self.model.tokenizer
        return tokenizer.start_ids or (tokenizer.end_id,)


def _sampling(settings: dict[str, Any]) -> Sampling:
    """The harness's settings of an answer; it asks for the likeliest unless it says do_sample.

    Raises UsageError for a setting that is not known here.
    """
    unknown = set(settings) - _KNOWN
    if unknown:
        raise UsageError(
            f"generation_kwargs {', '.join(sorted(unknown))}",
            f"some of {', '.join(sorted(_KNOWN))}",
            "take the others out of the task",
        )
    until = settings.get("until") or []
    sampled = bool(settings.get("do_sample", False))
    return Sampling(
        temperature=float(settings.get("temperature", 1.0)) if sampled else 0.0,
        top_p=float(settings.get("top_p", 1.0)),
        top_k=int(settings.get("top_k", 0)),
        max_tokens=int(settings.get("max_gen_toks", DEFAULT_ANSWER_TOKENS)),
        seed=0,
        stop=tuple(one for one in ([until] if isinstance(until, str) else until) if one),
    )
