"""A workspace's models for people and programs: an answer in this process, or the server's app."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from noria.corpus.deidentify import require_names
from noria.evaluate.explain import explain, ids_of
from noria.feedback.interactions import Interaction
from noria.generate.loaded import Bases, LanguageModel, load_language_model
from noria.generate.sampling import Sampling
from noria.recipe import TENANT
from noria.records import Message, text_content
from noria.serve.answers import NothingLive
from noria.serve.app import create_app
from noria.serve.live import LiveModels
from noria.serve.loop_route import Loop
from noria.serve.policy import policy_of
from noria.serve.tracing import Tracer
from noria.stages.policy import check_topics, labels_of
from noria.stages.task_names import task_name, task_version
from noria.tasks.chat import chat
from noria.tasks.task_model import load_task_model
from noria.workspace import Workspace

if TYPE_CHECKING:
    from fastapi import FastAPI


class Talk:
    """A conversation with one model; every answer is kept as an interaction."""

    def __init__(self, workspace: Workspace, prefix: str, sampling: Sampling) -> None:
        require_names(workspace.recipe.corpus, personal=True)
        version = workspace.version(prefix)
        self._workspace = workspace
        self._model = load_language_model(workspace.root / version.artifact_path)
        self._sampling = sampling
        self._messages: list[Message] = []

    @property
    def weight_hash(self) -> str:
        """The weights that answer."""
        return self._model.weight_hash

    def answer(self, text: str, show: Callable[[str], None] | None) -> dict[str, Any]:
        """Answer one message, piece by piece to `show`; returns answer, interaction id, hash."""
        self._messages.append(Message("user", text_content(text)))
        pieces = []
        finish = None
        for piece in chat(self._model, self._messages, self._sampling):
            pieces.append(piece.text)
            finish = piece.finish or finish
            if show is not None:
                show(piece.text)
        answer = "".join(pieces)
        prompt = [
            {"role": m.role, "content": "".join(part.text for part in m.content)}
            for m in self._messages
        ]
        self._messages.append(Message("assistant", text_content(answer)))
        kept: Interaction = self._workspace.feedback.record_interaction(
            tenant=TENANT,
            model_name=self._workspace.recipe.name,
            weight_hash=self.weight_hash,
            kind="chat",
            prompt=json.dumps(prompt, ensure_ascii=False),
            answer=answer,
            interaction_id=f"chat-{uuid.uuid4().hex}",
        )
        return {
            "answer": answer,
            "id": kept.id,
            "weight_hash": self.weight_hash,
            "finish": finish,
        }


def explained(workspace: Workspace, interaction_id: str) -> dict[str, Any]:
    """Why an answer is what it is, by the weights that gave it, live or not.

    Raises UnknownName for an unknown answer or version, UsageError for an application's.
    """
    interaction = workspace.feedback.find(TENANT, interaction_id)
    version = workspace.version(interaction.weight_hash)
    model = load_language_model(workspace.root / version.artifact_path)
    found = explain(model, *ids_of(model, interaction))
    return {"id": interaction.id, "weight_hash": interaction.weight_hash, **asdict(found)}


def build_app(workspace: Workspace, tracer: Tracer | None = None) -> FastAPI:
    """The server's application for this workspace: its language model and its applications.

    Raises UnknownName if one of them is not live yet, UsageError if names have to go from feedback
    and nothing here finds them.
    """
    require_names(workspace.recipe.corpus, personal=True)
    recipe, registry, root = workspace.recipe, workspace.registry, workspace.root
    models: LiveModels[LanguageModel] | None = None
    if recipe.has_text or not recipe.tasks:
        version = workspace.version("")
        load_language_model(root / version.artifact_path)  # or say now why it can't be
        models = LiveModels(registry, recipe.name, root, Bases().load)
    for name in recipe.tasks:
        load_task_model(root / task_version(registry, recipe, name).artifact_path)
    check_topics(workspace)
    settings = recipe.serve
    names = [recipe.name] if models is not None else []
    names += [task_name(recipe, name) for name in recipe.tasks]
    tasks = {
        name: LiveModels(registry, task_name(recipe, name), root, load_task_model)
        for name in recipe.tasks
    }

    def topics_of(tenant: str, text: str) -> tuple[str, ...]:
        live = tasks[settings.topics_by].get(tenant)
        if live is None:  # what can't be looked at is not answered
            raise NothingLive(f"{settings.topics_by} is not live", "a promoted version")
        return labels_of(live.model, text)

    return create_app(
        models=models,
        keys=workspace.keys,
        feedback=workspace.feedback,
        max_running=settings.max_running,
        max_waiting=settings.max_waiting,
        max_wait_s=settings.max_wait_s,
        tenant_tokens_per_minute=settings.tenant_tokens_per_minute,
        tasks=tasks,
        tracer=tracer,
        policy=policy_of(settings, topics_of),
        loop=Loop(registry, workspace.feedback, root, TENANT, names),
    )
