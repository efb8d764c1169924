"""What the server tells of itself: numbers, a log without texts, whether it is ready."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_world import NAME, TASK, TENANT, World

from noria.errors import StorageError
from noria.serve.log_lines import JsonLines, json_log

PLANTED = "planted-text-0815"


def numbers(world: World, key: str) -> dict[str, float]:
    """Every sample of /metrics, its labels beside its name."""
    answer = world.http(key).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        " ".join([one.name, *(f"{k}={v}" for k, v in sorted(one.labels.items()))]): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }


def test_the_numbers_are_those_of_what_was_asked(world: World) -> None:
    weights, task_weights = world.promote("a"), world.promote_task()
    world.start(max_running=1, max_waiting=0)
    client = world.http(world.key)
    whole = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    body = {"model": NAME, "prompt": "Where", "max_tokens": 5, "stream": True}
    client.post("/v1/completions", json=body)
    with client.stream("POST", "/v1/completions", json={**body, "max_tokens": 4000}) as held:
        lines = held.iter_lines()
        next(lines)  # held, for a forgotten iterator closes the connection
        assert client.post("/v1/completions", json=body).status_code == 429
        now = numbers(world, world.key)
        assert now["noria_running"] == now[f"noria_engine_running model={NAME}"] == 1
    world.until(lambda: world.health()["running"] == 0)
    said = {"interaction_id": whole.id, "kind": "thumb", "value": "up"}
    assert client.post("/v1/feedback", json=said).status_code == 200
    client.get(f"/v1/{PLANTED}")
    route = "noria_requests_total route=/v1/completions"
    world.until(lambda: numbers(world, world.key)[f"{route} status=200"] == 3)
    found = numbers(world, world.key)
    assert found[f"{route} status=429"] == 1
    assert found["noria_first_token_seconds_count"] == 2  # both streams
    assert found["noria_answer_seconds_count"] == 3
    assert found["noria_tokens_total kind=answer"] >= 3 + 5 + 1
    assert found["noria_tokens_total kind=prompt"] == 3 * whole.usage.prompt_tokens
    assert found["noria_feedback_total kind=thumb"] == 1
    assert found[f"noria_live_weights model={NAME} weight_hash={weights}"] == 1
    assert found[f"noria_live_weights model={NAME}.{TASK} weight_hash={task_weights}"] == 1
    assert (found["noria_running"], found["noria_waiting"]) == (0, 0)
    of_model = f"model={NAME}"
    assert found[f"noria_engine_waiting {of_model}"] == 0
    assert found[f"noria_engine_read_tokens {of_model}"] >= 3 + 5 + 1
    assert found[f"noria_engine_shared_tokens {of_model}"] == 0  # shorter than a block
    long = {**body, "prompt": "Where is my parcel? " * 20, "stream": False}
    read = found[f"noria_engine_read_tokens {of_model}"]
    counts = [client.post("/v1/completions", json=long).json()["usage"] for _ in range(2)]
    found = numbers(world, world.key)
    shared = found[f"noria_engine_shared_tokens {of_model}"]
    num_prompt = counts[0]["prompt_tokens"]
    assert num_prompt // 2 < shared < num_prompt  # whole blocks, and never the last token
    assert found[f"noria_engine_read_tokens {of_model}"] - read < 2 * num_prompt - shared + 12
    assert not any(PLANTED in name for name in found)
    second = world.promote("b")
    world.wait_for(second)
    live = [name for name in numbers(world, world.key) if f"model={NAME} weight" in name]
    assert live == [f"noria_live_weights model={NAME} weight_hash={second}"]


def test_a_tenant_sees_no_numbers_of_another(running: World) -> None:
    weights = running.promote("a")
    running.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    found = numbers(running, running.new_key("read", tenant="quiet"))
    assert not any(weights in name or "completions" in name for name in found)
    assert found["noria_answer_seconds_count"] == 0


def test_ready_says_when_answers_can_be_had(world: World) -> None:
    world.start()
    assert world.http().get("/ready").status_code == 503
    weights = world.promote("a")
    world.wait_for(weights)
    answer = world.http().get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_the_log_has_a_line_for_each_request_and_no_word_of_a_user(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.promote("a")
    world.promote_task()
    world.start()
    path = tmp_path / "log.jsonl"
    client = world.http(world.key)
    with json_log(str(path)):
        ask = {"model": NAME, "prompt": PLANTED, "max_tokens": 2, "user": PLANTED}
        asked = client.post("/v1/completions", json=ask, headers={"Idempotency-Key": PLANTED})
        answer_id = asked.json()["id"]
        chat = [{"role": "user", "content": PLANTED}]
        client.post("/v1/chat/completions", json={"model": NAME, "messages": chat, "stream": True})
        client.post(f"/v1/tasks/{TASK}", json={"input": PLANTED})
        client.post("/v1/embeddings", json={"model": NAME, "input": PLANTED})
        client.post("/v1/completions", json={**ask, PLANTED: PLANTED})
        client.post(f"/v1/tasks/{PLANTED}", json={"input": "x"})
        client.request(PLANTED.replace("-", ""), f"/v1/{PLANTED}?q={PLANTED}")
        said = {"interaction_id": answer_id, "kind": "comment", "value": PLANTED}
        client.post("/v1/feedback", json=said)
        world.http(f"nk-{PLANTED}").get("/v1/models")

        def broken(**_: object) -> None:
            raise RuntimeError(PLANTED)

        monkeypatch.setattr(world.feedback, "record_interaction", broken)
        for stream, status in ((False, 500), (True, 200)):  # after a 500 the connection is closed
            reply = world.http(world.key).post("/v1/completions", json={**ask, "stream": stream})
            assert reply.status_code == status
        # A line is written when a request has ended, which is after its client has heard so.
        world.until(lambda: path.read_text("utf-8").count('"event": "request"') == 11)
    text = path.read_text("utf-8")
    assert PLANTED not in text and PLANTED.replace("-", "") not in text
    assert world.key not in text and world.key.rsplit("-", 1)[1] not in text
    lines = [json.loads(line) for line in text.splitlines()]
    requests = [line for line in lines if line["logger"] == "noria.serve.requests"]
    assert [line["status"] for line in requests] == [
        *(200, 200, 200, 200, 400, 404, 404, 200, 401, 500, 200)
    ]
    first = requests[0]
    assert (first["route"], first["method"], first["tenant"]) == (
        "/v1/completions",
        "POST",
        TENANT,
    )
    assert first["interaction"] == answer_id and first["key"] and first["seconds"] > 0
    assert requests[5]["route"] == "/v1/tasks/{name}"
    errors = [line for line in lines if line.get("error") == "RuntimeError"]
    assert errors and all(line["frames"] for line in errors)


def test_another_librarys_record_is_its_pattern_only() -> None:
    def line(logger: str, *args: Any) -> dict[str, Any]:
        record = logging.LogRecord(logger, logging.WARNING, "x.py", 1, "said %s", args, None)
        found: dict[str, Any] = json.loads(JsonLines().format(record))
        return found

    assert line("uvicorn.error", PLANTED)["event"] == "said %s"
    assert line("noria.serve.live", "abc")["event"] == "said abc"


def test_a_log_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no"), json_log(str(tmp_path / "no" / "log")):
        pass


def test_at_warnings_there_is_no_line_for_each_request(running: World, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with json_log(str(path), logging.WARNING):
        running.http(running.key).get("/v1/models")
        logging.getLogger("noria.serve.live").warning("something is wrong")
    (line,) = path.read_text("utf-8").splitlines()
    assert json.loads(line)["event"] == "something is wrong"
