"""Every kind of answer has an id and its weights; embeddings, applications, models, limits."""

from __future__ import annotations

import base64
import datetime
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from serving_world import NAME, TASK, TENANT, TEXTS, World

from noria.errors import UsageError
from noria.generate.loaded import load_language_model
from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash, save_model
from noria.serve.run import Tls
from noria.tokenizer.train import train_tokenizer

WEIGHTS, INTERACTION = "x-noria-weight-hash", "x-noria-interaction-id"
CHAT = {"model": NAME, "messages": [{"role": "user", "content": "Where?"}], "max_tokens": 2}
COMPLETION = {"model": NAME, "prompt": "Where?", "max_tokens": 2}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with an application and a language model of random weights."""
    world = World(tmp_path_factory.mktemp("both"))
    folder = world.root / "artifacts" / "random"
    facts = train_tokenizer(TEXTS, 300, folder, "chatml")
    model = build_decoder(preset("decoder-1m", facts["vocab_size"], 64), seed=3)
    save_model(folder, model)
    weights = model_weight_hash(model)
    world.registry.register(TENANT, NAME, weights, "artifacts/random", "made by hand", "")
    world.registry.promote(TENANT, NAME, weights, "test", "test")
    world.promote_task()
    world.start()
    yield world
    world.close()


def test_every_answer_names_its_interaction_and_its_weights(both: World) -> None:
    client = both.http(both.key)
    weights = both.health()["weight_hash"]
    (task,) = client.get("/v1/tasks").json()["data"]
    for path, body, expected in (
        ("/v1/chat/completions", CHAT, weights),
        ("/v1/chat/completions", {**CHAT, "stream": True}, weights),
        ("/v1/completions", COMPLETION, weights),
        ("/v1/completions", {**COMPLETION, "stream": True}, weights),
        ("/v1/embeddings", {"model": NAME, "input": "Where?"}, weights),
        (f"/v1/tasks/{TASK}", {"input": "Where?"}, task["weight_hash"]),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        interaction_id = answer.headers[INTERACTION]
        assert interaction_id in answer.text
        assert answer.headers[WEIGHTS] == expected and expected in answer.text
        if "embeddings" not in path:  # nothing of those is kept
            assert both.feedback.find(TENANT, interaction_id).weight_hash == expected


def test_an_embedding_is_the_mean_of_the_last_states(both: World) -> None:
    model = load_language_model(both.root / "artifacts" / "random")
    texts = ["Where is my parcel?", "我的包裹在哪里？"]
    reply = both.openai().embeddings.create(model=NAME, input=texts, encoding_format="float")
    for text, row in zip(texts, reply.data, strict=True):
        start = list(model.tokenizer.start_ids)
        ids = model.tokenizer.encode(text)
        with torch.no_grad():
            mean = model.model(torch.tensor([[*start, *ids]]))[0, len(start) :].mean(dim=0)
        expected = (mean / mean.norm()).tolist()
        assert row.embedding == pytest.approx(expected, abs=1e-6)
        assert sum(one * one for one in row.embedding) == pytest.approx(1, abs=1e-5)
    assert reply.usage.prompt_tokens == sum(
        len(model.tokenizer.encode(text)) + len(model.tokenizer.start_ids) for text in texts
    )


def test_an_embedding_in_base64_is_the_same_numbers(both: World) -> None:
    client = both.http(both.key)
    body = {"model": NAME, "input": "Where?"}
    plain = client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    packed = client.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()
    data = base64.b64decode(packed["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(plain)}f", data)) == pytest.approx(plain)
    by_client = both.openai().embeddings.create(model=NAME, input="Where?")  # asks for base64
    assert by_client.data[0].embedding == pytest.approx(plain)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"input": ""}, 400, "input 0"),
        ({"input": ["x", "word " * 300]}, 400, "input 1"),
        ({"input": [1, 2]}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": "x", "dimensions": 8}, 400, "unknown field"),
        ({"input": "x", "encoding_format": "int8"}, 400, "encoding_format"),
        ({"input": "x", "model": "secret-name"}, 404, "no such model"),
    ],
)
def test_embeddings_refuse_what_they_can_not_do(
    both: World, body: dict[str, Any], status: int, word: str
) -> None:
    answer = both.http(both.key).post("/v1/embeddings", json={"model": NAME, **body})
    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]
    assert "secret-name" not in answer.text
    assert both.health()["running"] == 0


def test_a_model_is_found_by_its_names_only(both: World) -> None:
    weights = both.health()["weight_hash"]
    for name in (NAME, "live"):
        found = both.openai().models.retrieve(name)
        assert (found.id, found.weight_hash) == (NAME, weights)  # type: ignore[attr-defined]
    with pytest.raises(openai.NotFoundError):
        both.openai().models.retrieve("other")
    theirs = both.new_key("use", tenant="other")
    with pytest.raises(openai.NotFoundError):
        both.openai(theirs).models.retrieve(NAME)


def test_a_task_asked_again_under_its_key_is_the_same_answer(both: World) -> None:
    client = both.http(both.key)
    headers = {"Idempotency-Key": "task-1"}
    body = {"input": ["Where is it?", "在哪里？"]}
    num_before = len(both.feedback.interactions(TENANT))
    one, again = (client.post(f"/v1/tasks/{TASK}", json=body, headers=headers) for _ in range(2))
    assert one.status_code == 200
    assert one.json() == again.json()
    assert one.headers[INTERACTION] == again.headers[INTERACTION]
    assert len(both.feedback.interactions(TENANT)) == num_before + 2
    other = client.post(f"/v1/tasks/{TASK}", json={"input": "Who?"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (400, "invalid_value")
    free = client.post(f"/v1/tasks/{TASK}", json=body)
    assert free.json()["data"][0]["id"] != one.json()["data"][0]["id"]


@pytest.mark.parametrize("field", ["tools", "response_format", "logit_bias"])
def test_what_would_change_the_answer_and_can_not_be_done_is_refused_by_name(
    both: World, field: str
) -> None:
    value = {"response_format": {"type": "secret"}}.get(field, [{"name": "secret"}])
    answer = both.http(both.key).post("/v1/chat/completions", json={**CHAT, field: value})
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"] and "secret" not in answer.text


def test_a_key_that_used_up_its_minute_is_told_when_to_come_again(world: World) -> None:
    world.promote("a")
    world.start(tenant_tokens_per_minute=100_000)
    limited = world.keys.create(TENANT, ("use",), tokens_per_minute=5).secret
    body = {**COMPLETION, "max_tokens": 20}
    assert world.http(limited).post("/v1/completions", json=body).status_code == 200
    refused = world.http(limited).post("/v1/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    embedded = world.http(limited).post("/v1/embeddings", json={"model": NAME, "input": "x"})
    assert embedded.status_code == 429
    assert world.http(world.key).post("/v1/completions", json=body).status_code == 200


def test_an_applications_texts_are_paid_for_by_their_size_and_once(world: World) -> None:
    world.promote("a")
    world.promote_task()
    world.start()
    client = world.http(world.keys.create(TENANT, ("use",), tokens_per_minute=10).secret)
    path, texts = f"/v1/tasks/{TASK}", ["x" * 12, "包裹在哪里", "?"]  # 3, 15 bytes, 1
    again = {"Idempotency-Key": "one"}

    def status(headers: dict[str, str], *given: str) -> int:
        return client.post(path, json={"input": list(given)}, headers=headers).status_code

    assert status({}, " ") == 400  # what is not answered is not paid for
    assert status(again, *texts) == 200  # 8 tokens
    assert status(again, *texts) == 200  # kept, so free
    assert status({}, "x" * 12) == 200  # 3 of the 2 that are left
    assert status({}, "x") == 429
    assert status(again, *texts) == 200


def test_who_has_an_answer_explained_pays_for_what_is_read(world: World) -> None:
    world.promote("a")
    world.start()
    body = {**COMPLETION, "max_tokens": 20}
    said = world.http(world.key).post("/v1/completions", json=body).json()
    num_read = said["usage"]["total_tokens"]
    for more, num_tokens in (({}, num_read), ({"token": 9}, 9)):
        ask = {"interaction_id": said["id"], **more}
        limit = num_tokens * 3 // 2  # for one and a half, of which the second may overdraw it
        client = world.http(world.keys.create(TENANT, ("use",), tokens_per_minute=limit).secret)
        answers = [client.post("/v1/explain", json=ask) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert answers[2].json()["error"]["code"] == "quota"


def test_who_waited_too_long_is_told_so(world: World) -> None:
    world.promote("a")
    world.start(max_running=1, max_wait_s=0.2)
    held = {**COMPLETION, "max_tokens": 4000, "stream": True}
    with world.http(world.key).stream("POST", "/v1/completions", json=held) as running:
        lines = running.iter_lines()
        next(lines)
        refused = world.http(world.key).post("/v1/completions", json=COMPLETION)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overdue")
    assert "retry-after" in refused.headers


def test_no_other_origin_may_ask(both: World) -> None:
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    for client in (both.http(), both.http(both.key)):
        for path in ("/v1/completions", "/health"):
            answer = client.options(path, headers=headers)
            assert answer.status_code in (401, 405)
            assert not any(name.startswith("access-control") for name in answer.headers)


def self_signed(folder: Path) -> Tls:
    """A certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    tls = Tls(folder / "cert.pem", folder / "key.pem")
    tls.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    tls.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return tls


def test_over_tls_the_certificate_is_checked_and_plain_text_is_not_answered(
    world: World, tmp_path: Path
) -> None:
    world.promote("a")
    tls = self_signed(tmp_path)
    world.start(tls=tls)
    assert world.url.startswith("https://127.0.0.1:")
    url = world.url.replace("127.0.0.1", "localhost")
    with httpx.Client(verify=ssl.create_default_context(cafile=str(tls.certificate))) as client:
        headers = {"Authorization": f"Bearer {world.key}"}
        answer = client.post(f"{url}/v1/completions", json=COMPLETION, headers=headers)
    assert answer.json()["choices"][0]["text"] == "aa"
    assert "max-age" in answer.headers["strict-transport-security"]
    with httpx.Client() as stranger, pytest.raises(httpx.ConnectError, match="certificate"):
        stranger.get(f"{url}/health")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{url.replace('https', 'http')}/health")


def test_a_certificate_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    tls = self_signed(tmp_path)
    other = tmp_path / "other.pem"
    for content in (b"", b"not a key", None):
        if content is not None:
            other.write_bytes(content)
        else:
            other = tmp_path / "missing.pem"
        with pytest.raises(UsageError, match="--tls-cert"):
            Tls(tls.certificate, other).check()
