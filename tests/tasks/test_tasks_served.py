"""Applications whose encoders read through an engine: the same answers, many requests in a step."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from noria.generate.engines import Engines
from noria.model.headed import HeadedModel, build_headed_model
from noria.model.heads import HeadConfig
from noria.model.labels import HeadLabels
from noria.model.presets import preset
from noria.tasks.encoder import EncoderClassifier
from noria.tasks.task_model import Description, Part, load_task_model, write_description
from noria.tasks.vectors import VectorClassifier, train_vectors
from noria.tokenizer.bert import load_bert_tokenizer

TEXTS = [
    "my card was stolen",
    "how much is a transfer",
    "the app does not open since the update, and nothing that I try on my phone helps at all",
    "wheel",
]


def saved(out: Path, way: str, part: EncoderClassifier | VectorClassifier) -> Path:
    (out / way).mkdir(parents=True)
    part.save(out / way)
    inside = Part(way, way, 1.0, part.weight_hash)
    description = Description("intent", "classify", way, part.labels, False, 1.0, 0.0, (inside,))
    write_description(out, description)
    return out


@pytest.fixture(scope="module")
def folders(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    tokenizer = load_bert_tokenizer(minilm)
    config = preset("encoder-1m", tokenizer.vocab_size, 64)
    model = build_headed_model(config, HeadConfig("sequence", 3), 1).eval()
    labels = HeadLabels(("a", "b", "c"), False, 64)
    vectors = train_vectors(minilm, TEXTS, [("a",), ("b",), ("c",), ("a",)], False)
    assert isinstance(vectors, VectorClassifier)
    root = tmp_path_factory.mktemp("served")
    scratch = EncoderClassifier(model, tokenizer, labels)
    return {
        "vectors": saved(root / "v", "vectors", vectors),
        "scratch": saved(root / "s", "scratch", scratch),
    }


@pytest.mark.parametrize("way", ["vectors", "scratch"])
def test_concurrent_requests_share_steps_and_get_what_they_get_alone(
    folders: dict[str, Path], way: str
) -> None:
    engines = Engines()
    engine = None

    def serve(model: HeadedModel, pad_id: int):  # type: ignore[no-untyped-def]
        nonlocal engine
        engine = engines.encoder(model, pad_id)
        return engine.scored

    served, alone = load_task_model(folders[way], serve), load_task_model(folders[way])
    assert served.weight_hash == alone.weight_hash
    wanted = [asdict(one) for one in alone.predict(TEXTS)]  # type: ignore[call-overload]
    found: list[list[dict[str, object]]] = []

    def ask() -> None:
        found.append([asdict(one) for one in served.predict(TEXTS)])  # type: ignore[call-overload]

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert engine is not None and engine.num_steps < 8 * 3  # of three lengths a request
    engines.close()
    assert len(found) == 8
    for answers in found:
        for one, other in zip(answers, wanted, strict=True):
            assert one["labels"] == other["labels"]
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_an_application_over_vectors_gives_them(folders: dict[str, Path], minilm: Path) -> None:
    model = load_task_model(folders["vectors"])
    assert model.vectors is not None and len(model.encoders) == 1
    found = model.vectors.vectors(TEXTS)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4))
    marks = 2 * len(TEXTS)
    pieces = sum(map(len, load_bert_tokenizer(minilm).encode_batch(TEXTS)))
    assert model.vectors.num_tokens(TEXTS) == marks + pieces
    assert load_task_model(folders["scratch"]).vectors is None
