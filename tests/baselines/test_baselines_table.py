"""Every baseline and a Transformer in one table, measured in one way on the same held-out data."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from baseline_data import Corpus
from safetensors.torch import save_file

from noria.baselines.glove import GlovePlan, train_glove
from noria.baselines.hmm import train_hmm
from noria.baselines.interface import Baseline, Classifier, LanguageModel, Tagger
from noria.baselines.lstm_classifier import train_lstm_classifier
from noria.baselines.lstm_language import train_lstm_language_model
from noria.baselines.ngram import train_ngram
from noria.baselines.recurrent import LstmPlan
from noria.baselines.table import (
    ACCURACY,
    BITS_PER_BYTE,
    TAG_ACCURACY,
    Contender,
    Example,
    Row,
    class_contender,
    language_contender,
    measure,
    tag_contender,
    timed,
    to_markdown,
)
from noria.baselines.tfidf import train_tfidf
from noria.baselines.vectors import with_vectors
from noria.baselines.word2vec import Word2VecPlan, train_word2vec
from noria.errors import UsageError
from noria.evaluate.harness import measure_ngram
from noria.evaluate.metrics import Interval, Likelihoods, bits_per_byte
from noria.model.config import ModelConfig
from noria.model.heads import HeadConfig, SequenceHead
from noria.model.masks import Rows
from noria.model.transformer import Decoder, Encoder, build_decoder, build_model
from noria.model.weights import save_model
from noria.records import Document, Source, text_content

torch.set_num_threads(1)
CONTEXT_TOKENS = 64
WIDTH = 32


def interval(over: np.ndarray, under: np.ndarray) -> Interval:
    """The ratio and its interval, as the harness finds them for bits per byte."""
    return bits_per_byte(Likelihoods(over * math.log(2), under, 0), num_resamples=500)


def fake(name: str = "fake", answer: str = "yes", train_s: float = 0.0) -> Contender[str, str]:
    def save(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "weights").write_bytes(b"1234567")
        (folder / "facts").write_bytes(b"123")

    return Contender(name, lambda _: answer, save, train_s)


def test_a_row_holds_what_was_measured() -> None:
    examples = [Example("a", "yes"), Example("b", "no"), Example("c", "yes"), Example("d", "yes")]
    asked: list[str] = []

    def slowly(text: str) -> str:
        asked.append(text)
        time.sleep(0.01)
        return "yes"

    contender = Contender("slow", slowly, fake().save, 2.0)
    row = measure(contender, examples, ACCURACY, interval)
    assert (row.name, row.metric, row.train_s, row.size_bytes) == ("slow", "accuracy", 2.0, 10)
    assert row.low < row.value == 0.75 < row.high
    assert 0.01 <= row.latency_s < 0.1
    assert asked == ["a", "a", "b", "c", "d"]  # the first one once more, to wake up
    with pytest.raises(UsageError, match="no examples"):
        measure(contender, [], ACCURACY, interval)


def test_tags_are_counted_one_by_one_and_bits_over_all_bytes() -> None:
    tagger = Contender("x", lambda tokens: ["X"] * len(tokens), fake().save, 0.0)
    sentences = [Example(["a"], ["X"]), Example(["a", "b", "c"], ["X", "Y", "Y"])]
    assert measure(tagger, sentences, TAG_ACCURACY, interval).value == 0.5
    coin = Contender("coin", lambda ids: np.full(len(ids), math.log(0.5)), fake().save, 0.0)
    documents = [Example([1, 2], 8), Example([1] * 6, 8)]
    assert measure(coin, documents, BITS_PER_BYTE, interval).value == pytest.approx(0.5)


def test_training_is_timed() -> None:
    contender = tag_contender("hmm", lambda: (time.sleep(0.02), train_hmm([(["a"], ["X"])]))[1])
    assert 0.02 <= contender.train_s < 1
    assert contender.answer(["a"]) == ("X",)


def test_every_baseline_has_what_its_task_asks_for() -> None:
    tokens = np.array([1, 2, 1, 2, 0] * 9)
    plan = LstmPlan(width=4, num_epochs=1)
    for language_model in (
        train_ngram(tokens, 3, end_id=0),
        train_lstm_language_model(tokens, 3, end_id=0, plan=plan),
    ):
        assert isinstance(language_model, LanguageModel)
    assert isinstance(train_hmm([(["a"], ["X"])]), Tagger)
    assert isinstance(train_tfidf(["a b", "a c"], ["x", "y"]), Classifier)
    assert isinstance(train_glove(tokens, 3, end_id=0), Baseline)


def test_the_table_is_markdown() -> None:
    rows = [
        Row("5-gram", "bits per byte", 2.1234, 2.0, 2.25, 1.26, 0.00123, 4_560_000),
        Row("decoder-1m", "bits per byte", 2.0, 1.9, math.inf, 61.0, 0.02, 8_000_000),
    ]
    assert to_markdown(rows) == (
        "| model | metric | value (95%) | training | one answer | size |\n"
        "|---|---|---:|---:|---:|---:|\n"
        "| 5-gram | bits per byte | 2.123 (2.000 to 2.250) | 1.3 s | 1.23 ms | 4.56 MB |\n"
        "| decoder-1m | bits per byte | 2.000 (1.900 to inf) | 61.0 s | 20.00 ms | 8.00 MB |\n"
    )


def tiny(family: str, vocab_size: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab_size,
        context_tokens=512,
        num_layers=2,
        width=WIDTH,
        num_heads=2,
        num_kv_heads=2,
        ffn_width=2 * WIDTH,
        family=family,
    )


def trained_decoder(model: Decoder, tokens: np.ndarray, num_steps: int) -> Decoder:
    ids = torch.from_numpy(np.concatenate([[0], tokens]).astype(np.int64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    for _ in range(num_steps):
        starts = torch.randint(len(ids) - CONTEXT_TOKENS - 1, (8, 1), generator=generator)
        windows = ids[starts + torch.arange(CONTEXT_TOKENS + 1)]
        logits = model.logits(model(windows[:, :-1]))
        loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def log_probs(model: Decoder, ids: Sequence[int]) -> np.ndarray:
    with torch.inference_mode():
        scores = model.logits(model(torch.tensor([[0, *ids[:-1]]])))[0].log_softmax(dim=-1)
    return scores[torch.arange(len(ids)), torch.tensor(ids)].double().numpy()


def test_language_models_and_transformers_share_one_table(corpus: Corpus) -> None:
    tokenizer, tokens = corpus.tokenizer, corpus.tokens
    size, end = tokenizer.vocab_size, tokenizer.end_id
    examples = []
    for text in corpus.held_out[:40]:
        text = text[:200]
        examples.append(Example([*tokenizer.encode(text), end], tokenizer.num_bytes(text)))
    plan = LstmPlan(width=WIDTH, num_epochs=3, batch_sequences=4, learning_rate=0.02)
    contenders = [
        language_contender("unigram", lambda: train_ngram(tokens, size, 1, end_id=end)),
        language_contender("5-gram", lambda: train_ngram(tokens, size, 5, end_id=end)),
        language_contender(
            "LSTM", lambda: train_lstm_language_model(tokens, size, end_id=end, plan=plan)
        ),
    ]
    fresh = build_decoder(tiny("decoder", size), seed=1)
    vectors = {
        "Word2Vec": train_word2vec(
            tokens, size, end_id=end, plan=Word2VecPlan(WIDTH, num_epochs=2)
        ),
        "GloVe": train_glove(tokens, size, end_id=end, plan=GlovePlan(WIDTH, 5, num_epochs=2)),
    }
    begun = {name: with_vectors(fresh, one) for name, one in vectors.items()}
    for name, one in {"drawn": fresh, **begun}.items():
        model, train_s = timed(partial(trained_decoder, one, tokens, 60))
        save = partial(save_model, model=model)
        answer = partial(log_probs, model)
        contenders.append(Contender(f"decoder, {name}", answer, save, train_s))
    rows = [measure(one, examples, BITS_PER_BYTE, interval) for one in contenders]
    value = {row.name: row.value for row in rows}
    assert value["5-gram"] < value["unigram"]
    assert value["LSTM"] < value["unigram"] - 0.1
    assert value["decoder, drawn"] < value["unigram"] + 0.1  # a few steps: it has begun to learn
    parameters = sum(one.numel() for one in fresh.parameters())
    assert rows[-1].size_bytes == pytest.approx(4 * parameters, rel=0.03)
    table = to_markdown(rows)
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        f"| {one.name}" for one in contenders
    ]


def test_the_harness_and_the_table_agree_on_the_n_gram_model(corpus: Corpus) -> None:
    tokenizer = corpus.tokenizer
    model = train_ngram(corpus.tokens, tokenizer.vocab_size, end_id=tokenizer.end_id)
    texts = corpus.held_out[:9]
    records = [Document(text_content(text), Source("speech.txt")) for text in texts]
    harness = bits_per_byte(measure_ngram(model, tokenizer, records)).value
    examples = [
        Example([*tokenizer.encode(text), tokenizer.end_id], tokenizer.num_bytes(text))
        for text in texts
    ]
    contender = Contender("5-gram", model.log_probs, model.save, 0.0)
    row = measure(contender, examples, BITS_PER_BYTE, interval)
    assert row.value == pytest.approx(harness, rel=1e-12)


class Reader(torch.nn.Module):
    """A small encoder under a head for classes."""

    def __init__(self, corpus: Corpus, labels: Sequence[str]) -> None:
        super().__init__()
        self.tokenizer, self.labels = corpus.tokenizer, labels
        config = tiny("encoder", self.tokenizer.vocab_size)
        encoder = build_model(config, 1)
        assert isinstance(encoder, Encoder)
        self.encoder = encoder
        self.head = SequenceHead(config, HeadConfig("sequence", num_classes=len(labels)))

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        rows = [torch.tensor(ids) for ids in self.tokenizer.encode_batch(texts)]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        real = ids >= 0
        return self.head(self.encoder(ids.clamp(min=0), Rows(real=real)), real)

    @torch.inference_mode()
    def answer(self, text: str) -> str:
        return self.labels[int(self([text]).argmax())]

    def save(self, folder: Path) -> None:
        save_model(folder, self.encoder)
        save_file(self.head.state_dict(), folder / "head.safetensors")


def trained_reader(corpus: Corpus, pairs: Sequence[tuple[str, str]]) -> Reader:
    labels = sorted({label for _, label in pairs})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        reader = Reader(corpus, labels)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=5e-3)
    for _ in range(12):
        for start in range(0, len(pairs), 16):
            texts, wanted = zip(*pairs[start : start + 16], strict=True)
            loss = F.cross_entropy(reader(texts), torch.tensor([*map(labels.index, wanted)]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return reader.eval()


def test_classifiers_and_a_transformer_share_one_table(
    corpus: Corpus, labelled: list[tuple[str, str]]
) -> None:
    pairs = [(text[:120], label) for text, label in labelled]
    training, held_out = pairs[::2], pairs[1::4]
    texts, labels = zip(*training, strict=True)
    plan = LstmPlan(width=WIDTH, num_epochs=10, learning_rate=0.01)
    reader, train_s = timed(lambda: trained_reader(corpus, training))
    contenders = [
        class_contender("TF-IDF", lambda: train_tfidf(texts, labels)),
        class_contender(
            "LSTM", lambda: train_lstm_classifier(texts, labels, corpus.tokenizer_folder, plan)
        ),
        Contender("encoder", reader.answer, reader.save, train_s),
    ]
    examples = [Example(text, label) for text, label in held_out]
    rows = [measure(one, examples, ACCURACY, interval) for one in contenders]
    chance = max(Counter(label for _, label in held_out).values()) / len(held_out)
    assert all(row.value > chance + 0.15 for row in rows), to_markdown(rows)
    assert all(row.train_s > 0 < row.latency_s for row in rows), to_markdown(rows)


def spaced(texts: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Letters beside each other, and whether a word ends between them: the spaces are the gold."""
    for text in texts:
        letters = " ".join(re.findall("[a-z]+", text.lower()))
        pairs = re.findall(r"(?=(\w)( ?)(\w))", letters)
        yield (
            [a + b for a, _, b in pairs],
            ["ends" if space else "goes on" for _, space, _ in pairs],
        )


def test_taggers_share_one_table_with_the_most_frequent_tag(corpus: Corpus) -> None:
    training = list(spaced(corpus.training))
    examples = [Example(*one) for one in spaced(corpus.held_out)]
    counts = Counter(pair for one in training for pair in zip(*one, strict=True))

    def most_frequent(tokens: Sequence[str]) -> list[str]:
        return [max(("goes on", "ends"), key=lambda tag: counts[one, tag]) for one in tokens]

    rows = [
        measure(one, examples, TAG_ACCURACY, interval)
        for one in (
            Contender("most frequent", most_frequent, lambda folder: None, 0.0),
            tag_contender("HMM, first order", lambda: train_hmm(training, 1)),
            tag_contender("HMM, second order", lambda: train_hmm(training, 2)),
        )
    ]
    assert rows[0].value < rows[1].value < rows[2].value, to_markdown(rows)
