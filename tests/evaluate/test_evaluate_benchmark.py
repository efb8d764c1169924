"""lm-evaluation-harness on our model agrees with our own numbers, and slow ones beside them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_tasks import CHOICE, CONTEXT_TOKENS, questions, texts, write_model, write_tasks

from noria.errors import InputError, MissingExtra, UsageError
from noria.evaluate.benchmark import Measured, load_task, run_task
from noria.evaluate.classes import Classified, class_sums
from noria.evaluate.harness import measure_model
from noria.evaluate.intervals import measure
from noria.generate.loaded import LanguageModel, load_language_model
from noria.generate.sampling import Sampling
from noria.records import Document, Source, text_content
from noria.tasks.complete import complete


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    write_tasks(folder)
    write_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return load_language_model(folder / "model")


def by_name(measured: list[Measured]) -> dict[str, Measured]:
    return {one.metric: one for one in measured}


@torch.no_grad()
def log_probs(model: LanguageModel, ids: list[int]) -> torch.Tensor:
    """(T, V): of what follows each id, in one plain pass."""
    return model.model.logits(model.model(torch.tensor([ids]))[0]).double().log_softmax(dim=-1)


def end_nll(model: LanguageModel, text: str) -> float:
    """What our convention counts and the harness does not: the end token behind a text."""
    tokenizer = model.tokenizer
    ids = [*tokenizer.start_ids, *tokenizer.encode(text)]
    start = 0  # of the window in which the end is predicted; each moves on by half a context
    while start + CONTEXT_TOKENS < len(ids):
        start += CONTEXT_TOKENS // 2
    return -float(log_probs(model, ids[start:])[-1, tokenizer.end_id])


def test_perplexity_is_ours_but_for_the_end_of_each_text(
    folder: Path, model: LanguageModel
) -> None:
    found = by_name(run_task(load_task(folder / "texts.yaml"), model))
    ours = measure_model(
        model, [Document(text_content(one), Source("texts.jsonl", 1)) for one in texts()]
    )
    nll = ours.nll_nats.sum() - sum(end_nll(model, text) for text in texts())
    num_bytes = sum(len(text.encode()) for text in texts())
    bits = found["bits_per_byte"].value
    assert any(len(model.tokenizer.encode(text)) > 2 * CONTEXT_TOKENS for text in texts())
    assert bits.value == pytest.approx(nll / num_bytes / math.log(2), rel=1e-5)
    assert found["byte_perplexity"].value.value == pytest.approx(math.exp(nll / num_bytes))
    assert found["bits_per_byte"].num_examples == len(texts())
    for one in found.values():
        assert one.value.low < one.value.value < one.value.high < math.inf
        assert one.interval.startswith("bootstrap")
    of_a_byte = found["byte_perplexity"].value
    assert (of_a_byte.low, of_a_byte.high) == pytest.approx((2**bits.low, 2**bits.high))


def test_choice_by_likelihood_is_our_accuracy_with_our_interval(
    folder: Path, model: LanguageModel
) -> None:
    task = load_task(folder / "choice.yaml")
    found = by_name(run_task(task, model))
    rows = questions()
    greedy = np.ones((len(rows), 3), dtype=bool)
    likelihoods = np.zeros((len(rows), 3))
    for row, place in ((row, place) for row in range(len(rows)) for place in range(3)):
        tokenizer = model.tokenizer
        context = tokenizer.encode(rows[row]["question"])
        whole = tokenizer.encode(f"{rows[row]['question']} {rows[row]['choices'][place]}")
        ids = list(tokenizer.start_ids) + whole
        scores = log_probs(model, ids)
        for at in range(len(tokenizer.start_ids) + len(context), len(ids)):
            likelihoods[row, place] += float(scores[at - 1, ids[at]])
            greedy[row, place] &= int(scores[at - 1].argmax()) == ids[at]
    for one in task.harness_task.instances:
        ((likelihood, likeliest),) = one.resps
        assert likelihood == pytest.approx(likelihoods[one.doc_id, one.idx], abs=1e-3)
        assert likeliest == greedy[one.doc_id, one.idx]
    probabilities = np.exp(likelihoods - likelihoods.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    gold = np.array([row["answer"] for row in rows])
    ours = measure([class_sums(Classified(("first", "second", "third"), gold, probabilities))])
    assert found["acc"].value == ours["accuracy"]
    assert found["acc"].interval == "Clopper–Pearson"
    assert (
        0.1 < ours["accuracy"].value < 0.9
    )  # neither all nor none: an agreement that says something
    assert found["acc_norm"].num_examples == len(rows)


def test_answers_are_those_that_the_model_completes(folder: Path, model: LanguageModel) -> None:
    task = load_task(folder / "write.yaml")
    run_task(task, model, limit=4)
    asked = task.harness_task.instances[:4]
    sampling = Sampling(temperature=0, max_tokens=6, stop=("\n",))
    for one in asked:
        pieces = complete(model, one.args[0], sampling)
        assert one.resps == ["".join(piece.text for piece in pieces)]
    assert any(one.resps != [""] for one in asked)


def test_a_limit_measures_so_many_examples(folder: Path, model: LanguageModel) -> None:
    found = by_name(run_task(load_task(folder / "choice.yaml"), model, limit=5))
    assert found["acc"].num_examples == 5


def test_what_cannot_be_run_says_why(
    folder: Path, model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (
        ("empty", ""),
        ("elsewhere", CHOICE.replace("json\n", "cais/mmlu\n", 1)),
        ("no_data", CHOICE),
    ):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="one task of lm-evaluation-harness"):
            load_task(tmp_path / f"{name}.yaml")
    with pytest.raises(InputError, match="one task"):
        load_task(tmp_path / "absent.yaml")
    text = (
        (folder / "write.yaml").read_text(encoding="utf-8").replace("{until", "{best_of: 3, until")
    )
    (folder / "odd.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="best_of"):
        run_task(load_task(folder / "odd.yaml"), model)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(MissingExtra, match=r"noria\[harness\]"):
        load_task(folder / "choice.yaml")
