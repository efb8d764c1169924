"""OpenAI's routes with OpenAI's own client: whole, streamed, limited, swapped while streaming."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest
from serving_world import NAME, TENANT, World, events

from noria.errors import StorageError
from noria.feedback.interactions import Interaction
from noria.records import content_text

ASK = [{"role": "user", "content": "Where is my parcel?"}]


def test_a_chat_is_answered_counted_and_stored(world: World) -> None:
    weights = world.promote("a")
    world.start()
    raw = world.openai().chat.completions.with_raw_response.create(
        model=NAME, messages=ASK, max_tokens=5, user="Jo Doe"
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "aaaaa"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5
    assert raw.headers["x-noria-weight-hash"] == weights
    assert answer.system_fingerprint == answer.weight_hash == weights
    stored = world.feedback.find(TENANT, answer.id)
    assert (stored.answer, stored.weight_hash, stored.kind) == ("aaaaa", weights, "chat")
    assert [content_text(m.content) for m in stored.messages] == ["Where is my parcel?"]
    assert stored.person.startswith("p-")


def test_a_completion_is_answered_counted_and_stored(world: World) -> None:
    weights = world.promote("b")
    world.start()
    answer = world.openai().completions.create(model="live", prompt="Where is", temperature=0)
    assert answer.choices[0].text == "b" * 16
    assert answer.usage.completion_tokens == 16
    stored = world.feedback.find(TENANT, answer.id)
    assert (stored.prompt, stored.answer, stored.kind) == ("Where is", "b" * 16, "completion")
    assert stored.weight_hash == answer.weight_hash == weights


def test_a_streamed_chat_equals_the_whole_one(world: World) -> None:
    weights = world.promote("a")
    world.start()
    stream = world.openai().chat.completions.create(
        model=NAME,
        messages=ASK,
        max_completion_tokens=7,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "a" * 7
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 7
    assert {chunk.weight_hash for chunk in chunks} == {weights}
    assert len({chunk.id for chunk in chunks}) == 1
    assert world.feedback.find(TENANT, chunks[0].id).answer == text


def test_a_streamed_completion_equals_the_whole_one(world: World) -> None:
    world.promote("a")
    world.start()
    chunks = list(
        world.openai().completions.create(model=NAME, prompt="Where", max_tokens=7, stream=True)
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == "a" * 7
    assert world.feedback.find(TENANT, chunks[0].id).answer == "a" * 7


def test_a_stream_is_stored_before_its_last_byte(world: World) -> None:
    world.promote("a")
    world.start()
    body = {"model": NAME, "prompt": "Where", "max_tokens": 4, "stream": True}
    stored: list[Interaction] = []
    with world.http(world.key).stream("POST", "/v1/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if '"finish_reason": "length"' in line:
                chunk = json.loads(line.removeprefix("data: "))
                stored.append(world.feedback.find(TENANT, chunk["id"]))
    assert [one.answer for one in stored] == ["aaaa"]


def test_an_end_token_and_a_stop_string_end_the_answer(world: World) -> None:
    world.promote("")
    world.start()
    answer = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=50)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "stop")
    world.wait_for(world.promote("a"))
    answer = world.openai().completions.create(
        model=NAME, prompt="Where", max_tokens=50, stop=["zz", "aaa"]
    )
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "stop")


def test_a_swap_while_streaming_leaves_the_stream_with_its_model(world: World) -> None:
    first = world.promote("a")
    world.start()
    stream = world.openai().completions.create(
        model=NAME, prompt="Where", max_tokens=1500, stream=True
    )
    chunks = [next(stream) for _ in range(5)]
    second = world.promote("b")
    world.wait_for(second)
    meanwhile = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert world.health()["running"] == 1  # only the first is still being written
    chunks += list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "a" * 1500
    assert {chunk.weight_hash for chunk in chunks} == {first}
    assert (meanwhile.choices[0].text, meanwhile.weight_hash) == ("bbb", second)
    stored = world.feedback.find(TENANT, chunks[0].id)
    assert (stored.weight_hash, stored.answer) == (first, "a" * 1500)


def test_a_rollback_is_followed_like_a_promotion(world: World) -> None:
    first = world.promote("a")
    world.start()
    world.wait_for(world.promote("b"))
    world.registry.rollback(TENANT, NAME, "test", "worse")
    world.wait_for(first)
    answer = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert (answer.choices[0].text, answer.weight_hash) == ("aaa", first)


def test_a_version_that_can_not_be_loaded_leaves_the_old_one_live(
    world: World, tmp_path: Path
) -> None:
    first = world.promote("a")
    world.start()
    folder = tmp_path / "artifacts" / "broken"
    folder.mkdir()
    world.registry.register(TENANT, NAME, "f" * 64, "artifacts/broken", "broken", "")
    world.registry.promote(TENANT, NAME, "f" * 64, "test", "test")
    world.until(lambda: world.health()["status"] == "degraded")
    health = world.health()
    assert health["weight_hash"] == first and "broken" in health["load_error"]
    assert world.http().get("/health").json() == {"status": "degraded"}
    answer = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
    assert (answer.choices[0].text, answer.weight_hash) == ("aaa", first)
    world.registry.rollback(TENANT, NAME, "test", "broken")
    world.until(lambda: world.health()["status"] == "ok")


def test_a_folder_with_other_weights_than_registered_is_not_served(world: World) -> None:
    world.promote("a")
    world.start()
    world.registry.register(TENANT, NAME, "e" * 64, "artifacts/always-a", "forged", "")
    world.registry.promote(TENANT, NAME, "e" * 64, "test", "test")
    world.until(lambda: world.health()["status"] == "degraded")
    assert "IntegrityError" in world.health()["load_error"]


def test_without_a_live_model_the_server_says_so(world: World) -> None:
    world.start()
    assert world.http().get("/health").status_code == 503
    with pytest.raises(openai.InternalServerError) as refused:
        world.openai().completions.create(model=NAME, prompt="Where")
    assert refused.value.status_code == 503
    assert world.openai().models.list().data == []


def test_beyond_the_queue_a_request_is_sent_away_at_once(world: World) -> None:
    world.promote("a")
    world.start(max_running=1, max_waiting=1)
    body = {"model": NAME, "prompt": "Where", "max_tokens": 2000, "stream": True}
    with world.http(world.key).stream("POST", "/v1/completions", json=body) as running:
        lines = running.iter_lines()
        next(lines)  # held, for a forgotten iterator closes the connection
        waited: list[str] = []

        def wait_in_the_queue() -> None:
            answer = world.openai().completions.create(model=NAME, prompt="Where", max_tokens=3)
            waited.append(answer.choices[0].text)

        waiter = threading.Thread(target=wait_in_the_queue)
        waiter.start()
        world.until(lambda: world.health()["waiting"] == 1)
        began_at = time.monotonic()
        refused = world.http(world.key).post("/v1/completions", json={**body, "stream": False})
        assert time.monotonic() - began_at < 1.0
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert waited == []
    waiter.join()
    assert waited == ["aaa"]


def test_who_has_read_an_answer_to_its_end_finds_the_place_free(world: World) -> None:
    world.promote("a")
    world.start(max_running=1, max_waiting=0)
    client = world.http(world.key)
    for stream in [True, False] * 10:
        body = {"model": NAME, "prompt": "Where", "max_tokens": 2, "stream": stream}
        assert client.post("/v1/completions", json=body).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_frees_its_place(world: World, stream: bool) -> None:
    world.promote("a")
    world.start(max_running=1)
    body = {"model": NAME, "prompt": "Where", "max_tokens": 4000, "stream": stream}
    client = httpx.Client(
        base_url=world.url,
        headers={"Authorization": f"Bearer {world.key}"},
        timeout=httpx.Timeout(30, read=30 if stream else 0.2),
    )
    if stream:
        with client.stream("POST", "/v1/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            assert world.health()["running"] == 1
    else:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/completions", json=body)
    client.close()
    began_at = time.monotonic()
    world.until(lambda: world.health()["running"] == 0)
    assert time.monotonic() - began_at < 1.0  # a whole answer takes longer
    stored = world.feedback.interactions(TENANT)[0]
    assert stored.finish == "cancelled"
    assert 0 < len(stored.answer) < 4000


def test_one_who_waits_and_goes_leaves_the_queue(world: World) -> None:
    world.promote("a")
    world.start(max_running=1, max_waiting=4)
    body = {"model": NAME, "prompt": "Where", "max_tokens": 4000, "stream": True}
    with world.http(world.key).stream("POST", "/v1/completions", json=body) as running:
        lines = running.iter_lines()
        next(lines)  # held, for a forgotten iterator closes the connection
        with (
            httpx.Client(base_url=world.url, timeout=0.3) as client,
            pytest.raises(httpx.ReadTimeout),
        ):
            client.post(
                "/v1/completions", json=body, headers={"Authorization": f"Bearer {world.key}"}
            )
        world.until(lambda: world.health()["waiting"] == 0)
        assert world.health()["running"] == 1


def test_the_same_idempotency_key_brings_the_same_answer(world: World) -> None:
    first = world.promote("a")
    world.start()
    body = {"model": NAME, "prompt": "Where", "max_tokens": 3}
    headers = {"Idempotency-Key": "ask-1"}
    client = world.http(world.key)
    one = client.post("/v1/completions", json=body, headers=headers).json()
    world.wait_for(world.promote("b"))
    again = client.post("/v1/completions", json=body, headers=headers)
    assert again.json() == one
    assert again.headers["x-noria-weight-hash"] == first
    streamed = client.post("/v1/completions", json={**body, "stream": True}, headers=headers)
    chunks = events(streamed.text)
    assert (chunks[0]["id"], chunks[0]["choices"][0]["text"]) == (one["id"], "aaa")
    assert chunks[-1] == "[DONE]"
    other = client.post("/v1/completions", json={**body, "prompt": "Who"}, headers=headers)
    assert other.status_code == 400
    assert len(world.feedback.interactions(TENANT)) == 1


def test_an_answer_that_can_not_be_stored_is_not_finished(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.promote("a")
    world.start()

    def full(**_: object) -> Interaction:
        raise StorageError("no space left")

    monkeypatch.setattr(world.feedback, "record_interaction", full)
    body = {"model": NAME, "prompt": "Where", "max_tokens": 3}
    whole = world.http(world.key).post("/v1/completions", json=body)
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "storage")
    streamed = events(
        world.http(world.key).post("/v1/completions", json={**body, "stream": True}).text
    )
    assert streamed[-1]["error"]["code"] == "storage"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in streamed[:-1])


def test_a_stop_lets_a_running_answer_end(world: World) -> None:
    world.promote("a")
    world.start()
    stream = world.openai().completions.create(
        model=NAME, prompt="Where", max_tokens=400, stream=True
    )
    chunks = [next(stream)]
    stopper = threading.Thread(target=world.stop)
    stopper.start()
    chunks += list(stream)
    stopper.join()
    assert "".join(chunk.choices[0].text for chunk in chunks) == "a" * 400
