"""A workspace as a server: its models in the worker, its stores here.

In: an open workspace and a worker that starts. Out: the server's application. This module and all
that it imports do without torch: whatever parses a model file is the worker's.
"""

from __future__ import annotations

from fastapi import FastAPI

from noria.corpus.deidentify import require_names
from noria.recipe import TENANT
from noria.serve.app import create_app
from noria.serve.asked import NothingLive
from noria.serve.live import LiveModels
from noria.serve.loop_route import Loop
from noria.serve.policy import check_topics, policy_of
from noria.serve.tracing import Tracer
from noria.serve.worker.keeper import Worker
from noria.serve.worker.models import LanguageHandle, TaskHandle
from noria.stages.task_names import task_name, task_version
from noria.workspace import Workspace


def build_app(workspace: Workspace, worker: Worker, tracer: Tracer | None = None) -> FastAPI:
    """The server's application for this workspace: its language model and its applications.

    It waits for the worker and loads what is live. Raises UnknownName if one of them is not live
    yet, what is wrong with one that can't be loaded, UsageError if names have to go from feedback
    and nothing here finds them.
    """
    require_names(workspace.recipe.corpus, personal=True)
    recipe, registry, root = workspace.recipe, workspace.registry, workspace.root
    models: LiveModels[LanguageHandle] | None = None
    versions = {name: task_version(registry, recipe, name) for name in recipe.tasks}
    if recipe.has_text or not recipe.tasks:
        version = workspace.version("")
        models = LiveModels(registry, recipe.name, root, worker.load_language_model)
        worker.wait()
        models.begin_with(TENANT, version)
    tasks = {
        name: LiveModels(registry, task_name(recipe, name), root, worker.load_task_model)
        for name in recipe.tasks
    }
    worker.wait()
    for name, one in tasks.items():
        one.begin_with(TENANT, versions[name])
    settings = recipe.serve

    def live_task(name: str, tenant: str) -> TaskHandle:
        live = tasks[name].get(tenant)
        if live is None:  # what can't be looked at is not answered
            raise NothingLive(f"{name} is not live", "a promoted version")
        return live.model

    check_topics(recipe, lambda name: live_task(name, TENANT).labels)
    names = [recipe.name] if models is not None else []
    names += [task_name(recipe, name) for name in recipe.tasks]

    def topics_of(tenant: str, text: str) -> dict[str, float]:
        return live_task(settings.topics_by, tenant).labels_of(text)

    return create_app(
        worker=worker,
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
        loop=Loop(
            registry,
            workspace.feedback,
            root,
            TENANT,
            names,
            workspace.recipe_path.name if recipe.gate.review else "",
        ),
    )
