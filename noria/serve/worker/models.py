"""Models that are loaded in the worker, as the server holds them.

In: a line and what the worker said of a model. Out: answers. The worker keeps a model for as long
as the server holds its handle; when the last who held it lets go, it is unloaded there.
This module knows no registry and no HTTP.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, final

from noria.errors import FormatError, NoriaError
from noria.serve.worker.frames import Message
from noria.serve.worker.link import Link
from noria.serve.worker.messages import Piece, piece_from_json

Told = Callable[[int | Piece | NoriaError], None]  # tokens read of the prompt; pieces; an error


class _Handle:
    """What every model has: its line, its number there, the hash of its weights."""

    def __init__(self, link: Link, number: int, said: Mapping[str, Any]) -> None:
        self._link = link
        self._number = number
        self.weight_hash = str(said["weight_hash"])
        self._unload = weakref.finalize(self, link.tell, {"do": "unload", "model": number})
        self._unload.atexit = False  # the worker ends with the server

    @property
    def is_loaded(self) -> bool:
        """Whether it can be asked: false once its worker has ended."""
        return not self._link.has_ended

    def embed(self, texts: Sequence[str]) -> tuple[list[str], int]:
        """Vectors in base64 of little-endian float32, and the tokens read.

        Raises UsageError for a text of no token, or of too many.
        """
        found = self._call("embed", texts=list(texts))
        return [str(one) for one in found["vectors"]], int(found["num_tokens"])

    def _call(self, do: str, **asked: Any) -> Any:
        return self._link.call({"do": do, "model": self._number, **asked})


@final
class LanguageHandle(_Handle):
    """A language model in the worker."""

    def __init__(self, link: Link, number: int, said: Mapping[str, Any]) -> None:
        super().__init__(link, number, said)
        self.context_tokens = int(said["context_tokens"])
        self.chat_format = str(said["chat_format"])

    def answer(self, asked: Message, told: Told) -> Answering:
        """Ask for an answer; `told` hears of it on the line's thread and must return at once.

        First come the tokens that are read of the prompt, then pieces up to one with a finish, or
        an error. Raises WorkerGone.
        """
        return Answering(self._link, {**asked, "do": "answer", "model": self._number}, told)

    def whole_text(self, asked: Message) -> str:
        """Wait for a whole answer. Raises what went wrong."""
        heard: SimpleQueue[int | Piece | NoriaError] = SimpleQueue()
        self.answer(asked, heard.put)
        texts = []
        while True:
            match heard.get():
                case NoriaError() as error:
                    raise error
                case Piece() as piece:
                    texts.append(piece.text)
                    if piece.finish is not None:
                        return "".join(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids. Raises UsageError for one that the tokenizer does not have."""
        return str(self._call("decode", ids=list(ids)))

    def engine_state(self) -> dict[str, int]:
        """What its engine is doing and has done, as `EngineState` has it; {} before any request.

        Models over one base share an engine. Raises WorkerGone.
        """
        found = self._call("state")
        return {str(name): int(value) for name, value in found.items()}

    def explain(
        self, kind: str, prompt: str, answer: str, num_read: int, token: int | None
    ) -> dict[str, Any]:
        """Why a stored answer is what it is, as `noria.evaluate.explain` has it.

        num_read: the tokens that were read of its prompt. With `token`: where the model read
        before that one. Raises UsageError.
        """
        asked = {"kind": kind, "prompt": prompt, "answer": answer, "num_read": num_read}
        found = self._call("explain", **asked, token=token)
        if not isinstance(found, dict):
            raise FormatError("an explanation of another form", "an object")
        return found


@final
class TaskHandle(_Handle):
    """An application in the worker.

    makes_vectors: whether it is over an encoder's sentence vectors, which `embed` then gives.
    """

    def __init__(self, link: Link, number: int, said: Mapping[str, Any]) -> None:
        super().__init__(link, number, said)
        self.kind = str(said["kind"])
        self.way = str(said["way"])
        self.labels = tuple(map(str, said["labels"]))
        self.many = bool(said["many"])
        self.makes_vectors = bool(said["makes_vectors"])

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """An answer to each text, as JSON has it. Raises UsageError for an empty text."""
        found = self._call("predict", texts=list(texts))
        if not isinstance(found, list) or len(found) != len(texts):
            raise FormatError("answers of another form", f"a list of {len(texts)}")
        return found

    def labels_of(self, text: str) -> dict[str, float]:
        """The labels that a classifier gives a text, each with its probability."""
        (answer,) = self.predict([text])
        return {str(one): float(answer["probabilities"][one]) for one in answer["labels"]}


@final
class Answering:
    """An answer that the worker writes."""

    def __init__(self, link: Link, asked: Message, told: Told) -> None:
        self._link = link
        self._told = told
        self._number = link.ask(asked, self._hear)

    def _hear(self, message: Message | NoriaError) -> None:
        told: int | Piece | NoriaError
        if isinstance(message, NoriaError):
            told = message
        elif "read" in message:
            told = int(message["read"])
        else:
            try:
                told = piece_from_json(message.get("piece"))
            except FormatError as error:
                told = error
        self._told(told)

    def cancel(self) -> None:
        """Nobody waits for it any more: nothing is told from now on."""
        self._link.forget(self._number)
        self._link.tell({"do": "cancel", "of": self._number})
