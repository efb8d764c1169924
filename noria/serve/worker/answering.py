"""One answer of the worker: from a request's plain values to pieces of text.

In: a loaded model, what was asked, tokens as the engine draws them. Out: messages, the last of
which has a finish or an error. Tokens come on the engine's thread and only wait there; text is made
of them on the thread that sends it. This module knows no socket.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, final

from noria.errors import NoriaError
from noria.generate.batching import Engine, Stopped
from noria.generate.drawing import Drawn
from noria.generate.engine import fitted_prompt
from noria.generate.forms import Constraint
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.generate.sequences import Stream
from noria.records import Message as Turn
from noria.records import Part
from noria.serve.worker.form_check import FormReaders
from noria.serve.worker.frames import Message
from noria.serve.worker.messages import Piece, WorkerGone, error_to_json, piece_to_json
from noria.serve.worker.outgoing import Outgoing
from noria.serve.worker.scored import chat_log_probs, prompt_ids, scored_piece
from noria.tasks.answer import AnswerText
from noria.tasks.chat import chat_ids
from noria.tasks.complete import completion_ids
from noria.tokenizer.chat import answer_lead
from noria.tokenizer.load import Tokenizer

log = logging.getLogger(__name__)


def sampling_from_json(value: dict[str, Any]) -> Sampling:
    """The settings of an answer again. Raises UsageError for a value out of bounds."""
    form = value["constraint"]
    return Sampling(
        **{
            **value,
            "stop": tuple(value["stop"]),
            "logit_bias": tuple((one, bias) for one, bias in value["logit_bias"]),
            "constraint": None if form is None else Constraint(**form),
        }
    )


@final
class Answering:
    """An answer that is being written; `cancel` may come at any time, from any thread."""

    def __init__(
        self,
        request_id: int,
        outgoing: Outgoing,
        forms: FormReaders,
        over: Callable[[], object],
    ) -> None:
        self._id = request_id
        self._outgoing = outgoing
        self._forms = forms
        self._tell_over = over
        self._stream: Stream | None = None
        self._is_over = False  # nobody wants to hear more, or there is no more

    def cancel(self) -> None:
        """Nobody waits for it any more: the engine forgets it before its next step."""
        self._is_over = True
        self._tell_over()
        if self._stream is not None:
            self._stream.cancel()
        else:
            self._forms.look_again()

    def begin(self, model: LanguageModel, engine: Engine, asked: Message) -> None:
        """Read what is asked and hand it to the engine; what goes wrong becomes a message.

        It returns before the answer is written; only a scored completion is written here, whole.
        """
        if self._is_over:  # cancelled while it waited for a thread
            return
        try:
            sampling = sampling_from_json(asked["sampling"]) if asked["sampling"] else None
            if sampling is not None and sampling.constraint is not None:
                tenant, form = asked["tenant"], sampling.constraint
                self._forms.check(tenant, model.tokenizer, form, lambda: not self._is_over)
                if self._is_over:  # cancelled while its form waited to be read
                    return
            if sampling is None or asked["is_scored"]:
                self._write_scored(model, engine, asked, sampling)
            else:
                self._hand_over(model, engine, asked, sampling)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Tell what went wrong, and end."""
        self._outgoing.put(partial(self._ended, error))

    def _hand_over(
        self, model: LanguageModel, engine: Engine, asked: Message, sampling: Sampling
    ) -> None:
        ids, lead = _read(model, asked)
        num_prompt = len(fitted_prompt(ids, sampling, model.model.config.context_tokens))
        self._outgoing.put({"id": self._id, "read": num_prompt})
        text = AnswerText(model.tokenizer, num_prompt, sampling, lead)
        tells_tokens = sampling.log_probs is not None
        tokenizer = model.tokenizer if tells_tokens else None

        def hear(heard: Drawn | Exception | None) -> None:
            self._outgoing.put(partial(self._told, text, tokenizer, heard))

        self._begun(engine.submit(model, ids, sampling, asked["tenant"], hear))

    def _begun(self, stream: Stream) -> Stream:
        self._stream = stream
        if self._is_over:  # cancelled before there was a stream, or ended by its first token
            stream.cancel()
        return stream

    def _told(
        self, text: AnswerText, tokenizer: Tokenizer | None, heard: Drawn | Exception | None
    ) -> Message | None:
        """On the sending thread: what one token adds, if anything."""
        if self._is_over:
            return None
        if isinstance(heard, Exception):
            return self._ended(heard)
        try:
            written = text.end() if heard is None else text.push(heard)
        except Exception as error:  # the thread sends for everybody
            return self._ended(error)
        if written is None:
            return None
        tokens = () if tokenizer is None else tuple(chat_log_probs(tokenizer, written.drawn))
        return self._message(
            Piece(
                written.text,
                written.finish,
                written.num_prompt_tokens,
                written.num_answer_tokens,
                tokens,
            )
        )

    def _message(self, piece: Piece) -> Message:
        message: Message = {"id": self._id, "piece": piece_to_json(piece)}
        if piece.finish is not None:
            self.cancel()  # a stop string ends the answer, not the tokens
            message["last"] = True
        return message

    def _ended(self, error: Exception) -> Message | None:
        if self._is_over:
            return None
        self.cancel()
        return {"id": self._id, "error": error_told(error)}

    def _write_scored(
        self,
        model: LanguageModel,
        engine: Engine,
        asked: Message,
        sampling: Sampling | None,
    ) -> None:
        def draw(_: LanguageModel, ids: Sequence[int], settings: Sampling) -> Iterator[Drawn]:
            yield from self._begun(engine.submit(model, ids, settings, asked["tenant"]))

        prompt, echo, num_best = asked["prompt"], asked["echo"], asked["num_best"]
        piece = scored_piece(model, prompt, sampling, echo, num_best, draw)
        if not self._is_over:
            self._outgoing.put(self._message(piece))


def error_told(error: Exception) -> dict[str, str]:
    """The error as a message has it; of one that is not ours the log has the rest."""
    if isinstance(error, Stopped):
        error = WorkerGone("an engine that was closed", fix="send the request again")
    if not isinstance(error, NoriaError):
        log.error("a request failed", exc_info=error)
    return error_to_json(error)


def _read(model: LanguageModel, asked: Message) -> tuple[list[int], str]:
    """The ids that the model reads, and what its answer begins with that is no part of it."""
    tokenizer = model.tokenizer
    if "turns" in asked:
        turns = [Turn(role, tuple(Part(*part) for part in parts)) for role, parts in asked["turns"]]
        return chat_ids(tokenizer, turns), answer_lead(tokenizer)
    if isinstance(asked["prompt"], str):
        return completion_ids(tokenizer, asked["prompt"]), ""
    before, ids = prompt_ids(tokenizer, asked["prompt"])
    return [*before, *ids], ""
