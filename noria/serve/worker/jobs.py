"""What the worker does when it is asked: loads models, answers, scores, embeds, explains, predicts.

In: messages of the server, as they come. Out: messages through the sending thread. What takes time
runs in threads, so that the next message is read at once; a cancelled answer is cancelled here.
Nothing here opens a registry, a feedback store, or a key.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from noria.errors import NoriaError, UsageError
from noria.evaluate.explain import attention_before, explain, ids_of
from noria.feedback.interactions import Interaction
from noria.generate.batching import EngineSettings
from noria.generate.embedding import embed
from noria.generate.engines import Engines
from noria.generate.loaded import Bases, LanguageModel
from noria.model.headed import HeadedModel
from noria.runtime import release_memory
from noria.serve.worker.answering import Answering, error_told
from noria.serve.worker.form_check import FormReaders
from noria.serve.worker.frames import Message
from noria.serve.worker.outgoing import Outgoing
from noria.serve.worker.scored import prompt_ids
from noria.tasks.encoder_parts import ReadRows
from noria.tasks.task_model import TaskModel, load_task_model

Model = LanguageModel | TaskModel
_SPARE_THREADS = 8  # beside one for each answer: loading, and what waits for a place only briefly


@final
class Jobs:
    """Everything that one worker is doing."""

    def __init__(self, outgoing: Outgoing, max_running: int) -> None:
        self._outgoing = outgoing
        self._engines = Engines(EngineSettings(max_running=max_running))
        self._forms = FormReaders()
        self._threads = ThreadPoolExecutor(max_running + _SPARE_THREADS, "noria-job")
        self._bases = Bases()
        self._models: dict[int, Model] = {}
        self._answers: dict[int, Answering] = {}
        self._done: dict[str, Callable[[Message], Any]] = {
            "load": self._load,
            "decode": self._decode,
            "embed": self._embed,
            "explain": self._explain,
            "predict": self._predict,
            "state": self._state,
        }

    def take(self, message: Message) -> None:
        """Begin what a message asks for; returns at once."""
        match message["do"]:
            case "answer":
                request_id = message["id"]
                answering = Answering(
                    request_id,
                    self._outgoing,
                    self._forms,
                    lambda: self._answers.pop(request_id, None),
                )
                self._answers[request_id] = answering
                self._threads.submit(self._answer, answering, message)
            case "cancel":
                found = self._answers.get(message["of"])
                if found is not None:
                    found.cancel()
            case "unload":
                self._threads.submit(self._unload, message["model"])
            case other:
                self._threads.submit(self._reply, self._done[other], message)

    def _reply(self, do: Callable[[Message], Any], message: Message) -> None:
        try:
            told = {"id": message["id"], "result": do(message)}
        except Exception as error:  # whatever it is, the one who waits must hear of it
            told = {"id": message["id"], "error": error_told(error)}
        self._outgoing.put(told)

    def _answer(self, answering: Answering, message: Message) -> None:
        try:
            model = self._language(message)
            engine = self._engines.of(model)
        except Exception as error:
            answering.fail(error)
            return
        answering.begin(model, engine, message)

    def _language(self, message: Message) -> LanguageModel:
        model = self._models.get(message["model"])
        if not isinstance(model, LanguageModel):
            raise NoriaError("a model that is not loaded", "a language model")
        return model

    def _load(self, message: Message) -> dict[str, Any]:
        folder = Path(message["folder"])
        if message["kind"] == "task":
            task = self._load_task(folder)
            self._models[message["model"]] = task
            said = task.description
            return {
                "weight_hash": task.weight_hash,
                "kind": said.kind,
                "way": said.way,
                "labels": list(said.labels),
                "many": said.many,
                "makes_vectors": task.vectors is not None,
            }
        model = self._bases.load(folder)
        self._models[message["model"]] = model
        return {
            "weight_hash": model.weight_hash,
            "context_tokens": model.model.config.context_tokens,
            "chat_format": model.tokenizer.chat_format,
        }

    def _load_task(self, folder: Path) -> TaskModel:
        """An application whose encoders read the rows of concurrent requests together."""
        served: list[HeadedModel] = []

        def serve(model: HeadedModel, pad_id: int) -> ReadRows:
            served.append(model)
            return self._engines.encoder(model, pad_id).scored

        try:
            return load_task_model(folder, serve)
        except BaseException:
            for model in served:
                self._engines.drop(model)
            raise

    def _unload(self, number: int) -> None:
        model = self._models.pop(number, None)
        if isinstance(model, LanguageModel):
            self._engines.drop(model)
        elif model is not None:
            for one in model.encoders:
                self._engines.drop(one)
        del model
        release_memory()
        self._outgoing.put({"unloaded": number})

    def _decode(self, message: Message) -> str:
        return self._language(message).tokenizer.decode(message["ids"])

    def _embed(self, message: Message) -> dict[str, Any]:
        """The vectors of texts, each in base64 of little-endian float32."""
        asked = self._models.get(message["model"])
        if isinstance(asked, TaskModel):
            return _sentence_vectors(asked, message["texts"])
        model = self._language(message)
        before = list(model.tokenizer.start_ids)
        vectors, num_tokens = [], 0
        for index, text in enumerate(message["texts"]):
            _, ids = prompt_ids(model.tokenizer, text)
            try:
                vector = embed(model, before, ids)
            except UsageError as error:  # it counts tokens and says nothing of the text
                raise UsageError(f"input {index}: {error.given}", error.expected) from error
            vectors.append(_packed(vector.numpy()))
            num_tokens += len(before) + len(ids)
        return {"vectors": vectors, "num_tokens": num_tokens}

    def _explain(self, message: Message) -> dict[str, Any]:
        model = self._language(message)
        kept = Interaction(
            *("", "", "", ""),  # whose it is, nobody says here
            kind=message["kind"],
            prompt=message["prompt"],
            answer=message["answer"],
            created_at=0.0,
            num_prompt_tokens=message["num_read"],
        )
        prompt, answer = ids_of(model, kept)
        if message["token"] is not None:
            attention = attention_before(model, prompt, answer, message["token"])
            return {"token": message["token"], "attention": attention}
        return asdict(explain(model, prompt, answer))

    def _state(self, message: Message) -> dict[str, int]:
        """What the model's engine is doing; nothing before it was first asked."""
        state = self._engines.state(self._language(message))
        return {} if state is None else asdict(state)

    def _predict(self, message: Message) -> list[dict[str, Any]]:
        model = self._models.get(message["model"])
        if not isinstance(model, TaskModel):
            raise NoriaError("a model that is not loaded", "an application")
        return [answer.as_json() for answer in model.predict(message["texts"])]


def _sentence_vectors(model: TaskModel, texts: Sequence[str]) -> dict[str, Any]:
    parts = model.vectors
    if parts is None:
        raise NoriaError("an application that makes no vectors", "one over sentence vectors")
    for index, text in enumerate(texts):
        if not text.strip():
            raise UsageError(f"input {index}: a text of no token", "1 token or more")
    vectors = [_packed(one) for one in parts.vectors(texts)]
    return {"vectors": vectors, "num_tokens": parts.num_tokens(texts)}


def _packed(vector: NDArray[Any]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
