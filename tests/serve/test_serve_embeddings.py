"""Embeddings by an application's encoder, which was trained to compare texts, while one is live."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving_world import NAME, World

from noria.bases.catalogue import resolve_base
from noria.bases.importing import import_encoder
from noria.runtime import cache_folder
from noria.tasks.vectors import VectorClassifier, train_vectors

TEXTS = ["Where is my parcel?", "The package has not come yet.", "How do I bake bread?"]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> VectorClassifier:
    base = tmp_path_factory.mktemp("minilm")
    import_encoder(resolve_base("all-minilm-l6-v2", Path(), cache_folder()), base)
    found = train_vectors(base, TEXTS, [("post",), ("post",), ("food",)], False)
    assert isinstance(found, VectorClassifier)
    return found


@pytest.fixture(scope="module")
def served(
    vectors: VectorClassifier, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, str]]:
    world = World(tmp_path_factory.mktemp("served"))
    world.promote("a")
    weights = world.promote_part("intent", "classify", vectors, vectors.labels, "vectors")
    world.start(tasks=["intent"])
    yield world, weights
    world.close()


@pytest.mark.parametrize("name", ["live", NAME, f"{NAME}.intent"])
def test_vectors_are_the_encoders_under_its_own_weights(
    served: tuple[World, str], vectors: VectorClassifier, name: str
) -> None:
    world, weights = served
    reply = world.http(world.key).post("/v1/embeddings", json={"model": name, "input": TEXTS})
    said = reply.json()
    assert said["weight_hash"] == weights and said["model"] == f"{NAME}.intent"
    found = [one["embedding"] for one in said["data"]]
    for one, wanted in zip(found, vectors.vectors(TEXTS), strict=True):
        assert one == pytest.approx(wanted.tolist(), abs=1e-5)
    alike, unlike = (sum(a * b for a, b in zip(found[0], found[n], strict=True)) for n in (1, 2))
    assert alike > unlike + 0.2
    assert said["usage"]["prompt_tokens"] == vectors.num_tokens(TEXTS)


def test_concurrent_requests_get_what_each_gets_alone(
    served: tuple[World, str], vectors: VectorClassifier
) -> None:
    world, _ = served
    client = world.http(world.key)

    def ask(number: int) -> list[float]:
        body = {"model": "live", "input": f"{TEXTS[number % 3]} {'and again ' * number}"}
        found = client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
        return [float(one) for one in found]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    texts = [f"{TEXTS[number % 3]} {'and again ' * number}" for number in range(8)]
    for one, wanted in zip(found, vectors.vectors(texts), strict=True):
        assert one == pytest.approx(wanted.tolist(), abs=1e-5)
    answers = client.post("/v1/tasks/intent", json={"input": TEXTS}).json()
    assert [one["labels"] for one in answers["data"]] == [["post"], ["post"], ["food"]]


def test_a_text_of_nothing_and_an_unknown_name_are_refused(served: tuple[World, str]) -> None:
    world, _ = served
    client = world.http(world.key)
    empty = client.post("/v1/embeddings", json={"model": "live", "input": ["x", " "]})
    assert empty.status_code == 400 and "input 1" in empty.json()["error"]["message"]
    other = client.post("/v1/embeddings", json={"model": f"{NAME}.other", "input": "x"})
    assert other.status_code == 404
