"""Likelihoods against a slow reading of the same convention, token by token."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from noria.baselines.ngram import train_ngram
from noria.errors import UsageError
from noria.evaluate.harness import (
    data_digest,
    measure_model,
    measure_ngram,
)
from noria.generate.loaded import LanguageModel
from noria.model.config import ModelConfig
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash
from noria.records import (
    Conversation,
    Document,
    Labelled,
    Message,
    Pair,
    Record,
    Source,
    text_content,
)
from noria.tokenizer.description import description_json, our_description
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.pack import encode_record
from noria.tokenizer.train import train_tokenizer

CONTEXT_TOKENS = 16
TEXTS = (
    "The parcel was sent on Monday and has not arrived; please tell me where it is now.",
    "您好，我的包裹星期一寄出，到现在还没有收到。请帮我查一下它在哪里，谢谢。",
    "Refund.",
    "If you return the lamp within thirty days, the whole price is paid back to your card.",
)
SOURCE = Source("tickets.txt", 1)


def document(text: str) -> Document:
    return Document(text_content(text), SOURCE)


PAIR = Pair(text_content(TEXTS[0] + TEXTS[0]), text_content("It comes on Friday. 周五到。"), SOURCE)
CHAT = Conversation(
    (
        Message("user", text_content(TEXTS[1])),
        Message("assistant", text_content("星期五。")),
        Message("user", text_content("Thanks")),
        Message("assistant", text_content("You are welcome.")),
    ),
    SOURCE,
)
RECORDS: list[Record] = [*map(document, TEXTS), PAIR, CHAT]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS * 3, 320, folder, "chatml")
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> LanguageModel:
    torch.set_num_threads(1)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        context_tokens=CONTEXT_TOKENS,
        num_layers=2,
        width=32,
        num_heads=4,
        num_kv_heads=2,
        ffn_width=64,
    )
    decoder = build_decoder(config, seed=3)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(3.0)  # far from uniform, so that a wrong context shows
    return LanguageModel(decoder, tokenizer, model_weight_hash(decoder))


def slow_nll(model: LanguageModel, record: Record) -> float:
    """Each counted target alone, from the window that the convention gives it."""
    ids, mask = encode_record(model.tokenizer, record)
    line = [model.tokenizer.end_id, *ids]
    total = 0.0
    for at, counts in enumerate(mask):
        if counts:
            half = CONTEXT_TOKENS // 2
            start = 0 if at < CONTEXT_TOKENS else (at - half) // half * half
            with torch.no_grad():
                hidden = model.model(torch.tensor([line[start : at + 1]]))
                log_probs = torch.log_softmax(model.model.logits(hidden)[0, -1].double(), dim=-1)
            total -= float(log_probs[ids[at]])
    return total


def test_windows_predict_each_token_once_as_one_by_one(model: LanguageModel) -> None:
    measured = measure_model(model, RECORDS)
    assert measured.nll_nats == pytest.approx([slow_nll(model, one) for one in RECORDS], rel=1e-5)
    counted = sum(sum(encode_record(model.tokenizer, one)[1]) for one in RECORDS)
    assert measured.num_tokens == counted
    assert max(len(encode_record(model.tokenizer, one)[0]) for one in RECORDS) > 2 * CONTEXT_TOKENS


@pytest.mark.parametrize("start_ids", [[], [3]])
def test_a_record_starts_as_the_model_is_served(
    start_ids: list[int], model: LanguageModel, tmp_path: Path
) -> None:
    train_tokenizer(TEXTS * 3, 320, tmp_path, "chatml")
    meta = description_json(our_description("chatml")) | {"start_ids": start_ids}
    (tmp_path / "tokenizer_meta.json").write_text(json.dumps(meta))
    config = replace(model.model.config, context_tokens=256)
    wide = build_decoder(config, seed=3)
    wide.load_state_dict(model.model.state_dict())
    started = replace(model, model=wide, tokenizer=load_tokenizer(tmp_path))
    records: list[Record] = [document("Refund."), CHAT]
    found = measure_model(started, records)
    for record, nll in zip(records, found.nll_nats, strict=True):
        ids, mask = encode_record(started.tokenizer, record)
        if not start_ids and mask[0]:  # nothing stands before it: the end of another document does
            ids, mask = [model.tokenizer.end_id, *ids], [0, *mask]
        assert nll == pytest.approx(line_nll(started, ids, mask), rel=1e-5)
    assert found.num_tokens == measure_model(model, records).num_tokens


def line_nll(model: LanguageModel, line: list[int], mask: list[int]) -> float:
    """Each counted id of a line alone, from all that stands before it."""
    assert not mask[0]
    total = 0.0
    with torch.no_grad():
        hidden = model.model(torch.tensor([line]))
        scores = torch.log_softmax(model.model.logits(hidden)[0].double(), dim=-1)
    for at, counts in enumerate(mask):
        if counts:
            total -= float(scores[at - 1, line[at]])
    return total


def test_a_record_measures_the_same_alone_and_among_others(model: LanguageModel) -> None:
    together = measure_model(model, RECORDS).nll_nats
    alone = [measure_model(model, [one]).nll_nats[0] for one in RECORDS]
    assert together == pytest.approx(alone, rel=1e-5)


def test_bytes_are_those_of_the_counted_text(model: LanguageModel) -> None:
    expected = [len(text.encode()) for text in TEXTS]
    expected += [
        len("It comes on Friday. 周五到。".encode()),
        len("星期五。You are welcome.".encode()),
    ]
    assert measure_model(model, RECORDS).num_bytes.tolist() == expected


def test_progress_ends_at_its_total_and_training_mode_is_restored(model: LanguageModel) -> None:
    seen: list[tuple[int, int]] = []
    model.model.train()
    measure_model(model, RECORDS * 30, lambda done, total: seen.append((done, total)))
    assert model.model.training
    assert len(seen) > 1 and seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_ngram_is_measured_by_the_same_convention(tokenizer: Tokenizer) -> None:
    ids = [one for text in TEXTS for one in (*tokenizer.encode(text), tokenizer.end_id)]
    ngram = train_ngram(np.array(ids), tokenizer.vocab_size, end_id=tokenizer.end_id)
    measured = measure_ngram(ngram, tokenizer, RECORDS)
    for record, nll in zip(RECORDS, measured.nll_nats, strict=True):
        sequence, mask = encode_record(tokenizer, record)
        expected = -float((ngram.log_probs(sequence) * np.array(mask)).sum())
        assert nll == pytest.approx(expected)
    assert measured.num_tokens == sum(sum(encode_record(tokenizer, one)[1]) for one in RECORDS)


def test_nothing_to_measure_and_other_shapes_are_refused(model: LanguageModel) -> None:
    with pytest.raises(UsageError, match="no records"):
        measure_model(model, [])
    with pytest.raises(UsageError, match="labelled"):
        measure_model(model, [Labelled(text_content("a"), ("b",), SOURCE)])


def test_the_digest_of_a_set_depends_on_every_record_and_their_order() -> None:
    digest = data_digest(RECORDS)
    assert digest == data_digest(list(RECORDS))
    assert len({digest, data_digest(RECORDS[1:]), data_digest(RECORDS[::-1])}) == 3
