"""A conversation with a workspace's model in this process, and why it answered so."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from noria.corpus.deidentify import require_names
from noria.evaluate.explain import explain, ids_of
from noria.feedback.interactions import Interaction
from noria.generate.loaded import load_language_model
from noria.generate.sampling import Sampling
from noria.recipe import TENANT
from noria.records import Message, text_content
from noria.tasks.chat import chat
from noria.workspace import Workspace


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
