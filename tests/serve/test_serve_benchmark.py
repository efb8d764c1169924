"""lm-evaluation-harness asks our server by its own client of OpenAI's API: the model's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmark_tasks import CONTEXT_TOKENS, write_model, write_tasks
from serving_world import NAME, TENANT, World

from noria.evaluate.benchmark import load_task, run_task
from noria.export.huggingface import export_huggingface
from noria.generate.loaded import load_language_model


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("measured"))
    folder = world.root / "artifacts" / "model"
    weights = write_model(folder)
    write_tasks(world.root)
    export_huggingface(folder, world.root / "exported")
    world.registry.register(TENANT, NAME, weights, "artifacts/model", "made by hand", "")
    world.registry.promote(TENANT, NAME, weights, "test", "test")
    world.start()
    yield world
    world.close()


@pytest.mark.parametrize("name", ["texts", "choice", "write"])
def test_the_server_and_the_model_have_the_same_numbers(
    measured: World, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = load_task(measured.root / f"{name}.yaml")
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    monkeypatch.setenv("OPENAI_API_KEY", measured.key)
    server = LocalCompletionsAPI(
        base_url=f"{measured.url}/v1/completions",
        model=NAME,
        tokenizer=str(measured.root / "exported"),
        tokenizer_backend="huggingface",
        max_length=CONTEXT_TOKENS,
        max_retries=1,
    )
    limit = 10  # what is longer than the context is cut into other windows by the client
    ours = run_task(task, load_language_model(measured.root / "artifacts" / "model"), limit)
    our_answers = [one.resps[0] for one in task.harness_task.instances]
    theirs = run_task(task, server, limit)
    their_answers = [one.resps[0] for one in task.harness_task.instances]
    assert len(our_answers) >= limit
    for our_answer, their_answer in zip(our_answers, their_answers, strict=True):
        if name == "choice":  # a likelihood, and whether it is the likeliest
            assert their_answer[1] == our_answer[1]
            assert their_answer[0] == pytest.approx(our_answer[0], abs=1e-3)
        elif name == "write":
            assert their_answer == our_answer
    assert [one.metric for one in ours] == [one.metric for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert other.value.value == pytest.approx(one.value.value, rel=1e-5)
        assert other.num_examples == one.num_examples == 10
