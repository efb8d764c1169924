"""A real server over tiny hand-made models, for the tests of this folder."""

from __future__ import annotations

import atexit
import json
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import openai
import torch

from noria.baselines.interface import Baseline
from noria.baselines.tfidf import train_tfidf
from noria.feedback.store import FeedbackStore
from noria.generate.loaded import load_language_model
from noria.model.config import ModelConfig
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash, save_model
from noria.registry import Registry
from noria.serve.app import create_app
from noria.serve.auth import KeyStore
from noria.serve.live import LiveModels
from noria.serve.loop_route import Loop
from noria.serve.policy import Policy
from noria.serve.run import Tls, serve
from noria.serve.tracing import Tracer
from noria.serve.worker.keeper import Worker
from noria.tasks.task_model import Description, Part, load_task_model, write_description
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.train import train_tokenizer

NAME = "helpdesk"
TENANT = "acme"
TASK = "tongue"
CONTEXT_TOKENS = 4096
BROKEN = "broken"
TEXTS = ["Where is my parcel? It is on its way to you.", "我的包裹在哪里？它在路上。"] * 4


def write_model(folder: Path, always: str) -> str:
    """A model that answers with one letter for ever; returns its weight hash.

    "" ends at once; BROKEN can be loaded, but its logits are not numbers.
    """
    train_tokenizer(TEXTS, 300, folder, "chatml")
    tokenizer = load_tokenizer(folder)
    word = always.removeprefix(BROKEN)
    token = tokenizer.encode(word)[0] if word else tokenizer.end_id
    config = ModelConfig(tokenizer.vocab_size, CONTEXT_TOKENS, 1, 16, 1, 1, 16)
    model = build_decoder(config, seed=1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if name == "final_norm.weight" else 0.0)
        model.embedding.weight.fill_(0.1)  # so every hidden vector points one way …
        model.embedding.weight[token].fill_(10.0)  # … where this token scores far above the rest
        if always.startswith(BROKEN):
            model.final_norm.weight.fill_(float("nan"))
    save_model(folder, model)
    return model_weight_hash(model)


def write_task(folder: Path) -> str:
    """A model that tells English from Chinese; returns its weight hash."""
    texts = [f"{text} {number}" for number, text in enumerate(TEXTS)]  # none of them twice
    part = train_tfidf(texts, ["en", "zh"] * 4)
    (folder / "classical").mkdir(parents=True)
    part.save(folder / "classical")
    parts = (Part("classical", "classical", 1.0, part.weight_hash),)
    said = Description("tongue", "classify", "classical", ("en", "zh"), False, 1.0, 0.0, parts)
    write_description(folder, said)
    return load_task_model(folder).weight_hash


@cache
def shared_worker() -> Worker:
    """One for all worlds of this process: to start it takes seconds, and it keeps nothing."""
    worker = Worker(num_threads=1)
    worker.start()
    atexit.register(worker.close)
    return worker


class World:
    """A workspace of one tenant, its server, and clients of it."""

    def __init__(self, root: Path) -> None:
        torch.set_num_threads(1)
        self.root = root
        self.registry = Registry(root / "registry.sqlite")
        self.feedback = FeedbackStore(root / "feedback.sqlite")
        self.keys = KeyStore(root / "keys.sqlite")
        self.key = self.new_key("use", "rate", "read")
        self.url = ""
        self.hashes: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._clients: list[openai.OpenAI | httpx.Client] = []
        self._watcher: httpx.Client | None = None

    def new_key(self, *rights: str, tenant: str = TENANT) -> str:
        return self.keys.create(tenant, rights).secret

    def write(
        self, always: str, tenant: str = TENANT, origin: str = "made by hand", parent: str = ""
    ) -> str:
        """Register the model that answers with this letter; returns its weight hash."""
        folder = self.root / "artifacts" / f"always-{always}"
        if (folder / "model.safetensors").exists():
            weights = load_language_model(folder).weight_hash
        else:
            weights = write_model(folder, always)
        path = f"artifacts/{folder.name}"
        self.registry.register(tenant, NAME, weights, path, origin, parent)
        self.hashes[always] = weights
        return weights

    def promote_part(
        self, name: str, kind: str, part: Baseline, labels: Sequence[str], way: str = "classical"
    ) -> str:
        """Make an application of one trained part live; returns its weight hash."""
        folder = self.root / "artifacts" / name
        (folder / way).mkdir(parents=True)
        part.save(folder / way)
        parts = (Part(way, way, 1.0, part.weight_hash),)
        said = Description(name, kind, way, tuple(labels), False, 1.0, 0.0, parts)
        write_description(folder, said)
        weights, whole = said.weight_hash, f"{NAME}.{name}"
        self.registry.register(TENANT, whole, weights, f"artifacts/{name}", "made by hand")
        self.registry.promote(TENANT, whole, weights, "test", "test")
        return weights

    def promote(self, always: str, tenant: str = TENANT) -> str:
        """Make the model that answers with this letter live; returns its weight hash."""
        weights = self.write(always, tenant)
        self.registry.promote(tenant, NAME, weights, "test", "test")
        return weights

    def promote_task(self) -> str:
        """Make the application `tongue` live; returns its weight hash."""
        weights = write_task(self.root / "artifacts" / "tongue")
        name = f"{NAME}.{TASK}"
        self.registry.register(TENANT, name, weights, "artifacts/tongue", "made by hand", "")
        self.registry.promote(TENANT, name, weights, "test", "test")
        return weights

    def start(
        self,
        max_running: int = 2,
        max_waiting: int = 8,
        max_wait_s: float | None = None,
        tenant_tokens_per_minute: int = 0,
        tls: Tls | None = None,
        tracer: Tracer | None = None,
        policy: Policy | None = None,
        worker: Worker | None = None,
        tasks: Sequence[str] = (),
    ) -> None:
        worker = worker or shared_worker()
        worker.wait()
        load, load_task = worker.load_language_model, worker.load_task_model
        models = LiveModels(self.registry, NAME, self.root, load, poll_s=0.05)
        has_task = (self.root / "artifacts" / "tongue").exists()
        app = create_app(
            worker=worker,
            models=models,
            tasks={
                one: LiveModels(self.registry, f"{NAME}.{one}", self.root, load_task)
                for one in (*tasks, *([TASK] if has_task else []))
            },
            keys=self.keys,
            feedback=self.feedback,
            max_running=max_running,
            max_waiting=max_waiting,
            max_wait_s=max_wait_s,
            tenant_tokens_per_minute=tenant_tokens_per_minute,
            tracer=tracer,
            policy=policy,
            loop=Loop(self.registry, self.feedback, self.root, TENANT, [NAME]),
        )
        self._stop.clear()
        urls: list[str] = []
        answering = threading.Event()

        def ready(url: str) -> None:
            urls.append(url)
            answering.set()

        self._thread = threading.Thread(
            target=serve,
            args=(app, "127.0.0.1", 0, ready),
            kwargs={"stop": self._stop, "drain": app.state.admission, "tls": tls},
        )
        self._thread.start()
        assert answering.wait(30)
        self.url = urls[0]

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)
            assert not self._thread.is_alive()
            self._thread = None

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.stop()
        for store in (self.registry, self.feedback, self.keys):
            store.close()

    def openai(self, key: str | None = None, **options: Any) -> openai.OpenAI:
        settings: dict[str, Any] = {"max_retries": 0, "timeout": 30, **options}
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, **settings)
        self._clients.append(client)
        return client

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30)
        self._clients.append(client)
        return client

    def http_of_page(self) -> httpx.Client:
        """As a browser asks that shows the page."""
        client = self.http()
        client.headers["origin"] = self.url
        return client

    def health(self) -> dict[str, Any]:
        if self._watcher is None:
            self._watcher = self.http(self.key)
        value: dict[str, Any] = self._watcher.get("/health").json()
        return value

    def wait_for(self, weights: str, seconds: float = 10.0) -> None:
        """Wait until the server says that these weights answer."""
        self.until(lambda: self.health()["weight_hash"] == weights, seconds)

    @staticmethod
    def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
        give_up_at = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < give_up_at
            time.sleep(0.02)


def events(text: str) -> list[Any]:
    """The JSON of a stream's events, "[DONE]" left as it is."""
    found = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in found]
