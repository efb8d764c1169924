"""Objectives are their formulas, gradients included; what is cut out of a text can be put back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_training import CONFIG, VOCAB_SIZE
from torch import Tensor

from noria.errors import UsageError
from noria.model.headed import build_headed_model
from noria.model.heads import HeadConfig
from noria.model.transformer import EncoderDecoder, build_decoder, build_model
from noria.train.batch import LabelBatch, PreferenceBatch, SourceBatch, TokenBatch
from noria.train.objectives import losses
from noria.train.objectives.corruption import cut_spans, mask_tokens
from noria.train.objectives.distil import distillation_losses
from noria.train.objectives.preference import dpo_losses, kto_divergence, kto_losses

ENCODER = replace(CONFIG, family="encoder")
REAL = torch.ones(4, 12, dtype=torch.bool)
REAL[2, 7:] = False


def some_ids(rows: int = 4, num_tokens: int = 12, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, VOCAB_SIZE, (rows, num_tokens), generator=generator)


def numbers(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_dpo_is_its_formula_and_so_is_its_gradient(smoothing: float) -> None:
    parts = [numbers(6, seed).requires_grad_(seed < 3) for seed in (1, 2, 3, 4)]
    found = dpo_losses(*parts, 0.3, smoothing)
    for row, loss in enumerate(found.tolist()):
        a, b, c, d = (float(part.detach()[row]) for part in parts)
        margin = 0.3 * ((a - c) - (b - d))
        wanted = -(1 - smoothing) * log(sigmoid(margin)) - smoothing * log(sigmoid(-margin))
        assert loss == pytest.approx(wanted, rel=1e-9)
    found.sum().backward()
    chosen, rejected = parts[0].grad, parts[1].grad
    assert chosen is not None and rejected is not None
    assert torch.allclose(chosen, -rejected)
    margin = 0.3 * ((parts[0] - parts[2]) - (parts[1] - parts[3])).detach()
    slope = 0.3 * (torch.sigmoid(margin) - (1 - smoothing))
    assert torch.allclose(chosen, slope)


def test_kto_is_its_formula_and_its_divergence_has_no_gradient() -> None:
    answers, other = numbers(6, 1).requires_grad_(), numbers(6, 2).requires_grad_()
    reference, other_reference = numbers(6, 3), numbers(6, 4)
    thumbs = torch.tensor([True, False, True, True, False, False])
    divergence = kto_divergence(other, other_reference)
    wanted_divergence = max(0.0, float((other.detach() - other_reference).mean()))
    assert float(divergence) == pytest.approx(wanted_divergence)
    found = kto_losses(answers, reference, thumbs, divergence, 0.5, 1.0, 1.3)
    for row, loss in enumerate(found.tolist()):
        gain = float(answers.detach()[row] - reference[row]) - wanted_divergence
        wanted = 1 - sigmoid(0.5 * gain) if thumbs[row] else 1.3 * (1 - sigmoid(-0.5 * gain))
        assert loss == pytest.approx(wanted, rel=1e-9)
    found.sum().backward()
    assert other.grad is None
    assert answers.grad is not None and bool(((answers.grad < 0) == thumbs).all())


def test_distillation_equals_torchs_divergence_and_teaches_nothing_to_the_teacher() -> None:
    student = numbers(20, 1).view(4, 5).float().requires_grad_()
    teacher = numbers(20, 2).view(4, 5).float().requires_grad_()
    found = distillation_losses(student, teacher, 2.0).sum()
    found.backward()
    slope, student.grad = student.grad, None
    logs = F.log_softmax(student / 2, dim=-1)
    wanted = 4 * F.kl_div(logs, F.softmax(teacher.detach() / 2, dim=-1), reduction="sum")
    wanted.backward()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(slope, student.grad)
    assert teacher.grad is None


def test_the_distilled_objective_mixes_both_losses() -> None:
    student, teacher = build_decoder(CONFIG, 1), build_decoder(CONFIG, 2)
    ids = some_ids()
    batch = TokenBatch(ids, ids.roll(-1, 1), REAL)
    total = losses.distilled(teacher, 2.0, 0.25)(student, batch)
    found, wanted = student.logits(student(ids))[REAL], teacher.logits(teacher(ids))[REAL]
    plain = F.cross_entropy(found, ids.roll(-1, 1)[REAL], reduction="sum")
    mixed = 0.75 * plain + 0.25 * distillation_losses(found, wanted, 2.0).sum()
    torch.testing.assert_close(total, mixed, rtol=1e-4, atol=1e-4)


def test_masked_and_target_tokens_are_the_cross_entropy_of_what_counts() -> None:
    ids, mask = some_ids(), REAL & (some_ids(seed=3) % 3 == 0)
    model = build_headed_model(ENCODER, HeadConfig("masked"), 1)
    batch = TokenBatch(ids, ids.roll(1, 1), mask, lengths=REAL.sum(1))
    found = losses.masked_token()(model, batch)
    wanted = F.cross_entropy(model(ids, REAL)[mask], ids.roll(1, 1)[mask], reduction="sum")
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    config = replace(CONFIG, family="encoder-decoder", num_encoder_layers=1)
    translator = build_model(config, 1)
    assert isinstance(translator, EncoderDecoder)
    source = SourceBatch(some_ids(seed=5), REAL, ids, ids.roll(-1, 1), mask)
    found = losses.target_token()(translator, source)
    logits = translator.logits(translator(source.source_ids, ids, REAL))
    wanted = F.cross_entropy(logits[mask], ids.roll(-1, 1)[mask], reduction="sum")
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_labels_of_texts_tokens_and_spans_are_the_cross_entropy_of_what_counts() -> None:
    ids = some_ids()
    texts = build_headed_model(ENCODER, HeadConfig("sequence", num_classes=3), 1)
    labels, counted = torch.tensor([0, 2, 1, 1]), torch.tensor([1, 1, 0, 1])
    found = losses.one_class()(texts, LabelBatch(ids, REAL, labels, counted))
    kept = counted.bool()
    wanted = F.cross_entropy(texts(ids, REAL)[kept], labels[kept], reduction="sum")
    torch.testing.assert_close(found, wanted)
    many = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    found = losses.many_classes()(texts, LabelBatch(ids, REAL, many, counted))
    chances = torch.sigmoid(texts(ids, REAL))
    right = torch.where(many.bool(), chances, 1 - chances)
    torch.testing.assert_close(found, -right.log().mean(1)[kept].sum())
    tokens = build_headed_model(ENCODER, HeadConfig("token", num_classes=4), 1)
    found = losses.one_class()(tokens, LabelBatch(ids, REAL, ids % 4, REAL))
    wanted = F.cross_entropy(tokens(ids, REAL)[REAL], (ids % 4)[REAL], reduction="sum")
    torch.testing.assert_close(found, wanted)
    spans = build_headed_model(ENCODER, HeadConfig("span"), 1)
    ends = torch.tensor([[1, 3], [0, 0], [2, 6], [5, 11]])
    found = losses.span()(spans, LabelBatch(ids, REAL, ends, torch.ones(4)))
    scores = spans(ids, REAL)
    both = [F.cross_entropy(scores[:, :, one], ends[:, one], reduction="sum") for one in (0, 1)]
    torch.testing.assert_close(found, (both[0] + both[1]) / 2)


def test_preferences_are_read_from_the_models_own_answers_and_cut_in_pairs() -> None:
    model, ids = build_decoder(CONFIG, 1), some_ids()
    mask = REAL.clone()
    mask[:, :4] = False
    reference = numbers(4, 7).float()
    batch = PreferenceBatch(ids, ids.roll(-1, 1), mask, reference)
    logs = model.logits(model(ids)).log_softmax(-1).gather(-1, ids.roll(-1, 1)[..., None])[..., 0]
    answers = (logs * mask).sum(1)
    wanted = dpo_losses(answers[0::2], answers[1::2], reference[0::2], reference[1::2], 0.2).sum()
    whole = losses.preferred(0.2)(model, batch)
    torch.testing.assert_close(whole, wanted, rtol=1e-4, atol=1e-4)
    parts = batch.split(1)
    assert [len(part.ids) for part in parts] == [2, 2]
    torch.testing.assert_close(sum(losses.preferred(0.2)(model, part) for part in parts), whole)
    thumbs = replace(batch, liked=torch.tensor([True, False]))
    assert thumbs.split(1) == [thumbs]
    divergence = kto_divergence(answers[1::2], reference[1::2])
    wanted = kto_losses(answers[0::2], reference[0::2], thumbs.liked, divergence, 0.2).sum()
    torch.testing.assert_close(losses.liked(0.2)(model, thumbs), wanted, rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 200), st.integers(1, 30), st.integers(0, 10**6))
def test_cut_spans_can_be_put_back_and_never_touch(num: int, sentinels: int, seed: int) -> None:
    ids = np.arange(100, 100 + num)
    marks = list(range(1, sentinels + 1))
    source, target = cut_spans(ids, marks, 0, np.random.default_rng(seed))
    assert source[-1] == target[-1] == 0
    spans: dict[int, list[int]] = {}
    for token in target[:-1].tolist():
        if token in marks:
            spans[token] = []
            last = token
        else:
            spans[last].append(token)
    assert list(spans) == marks[: len(spans)] and all(spans.values())
    restored = [t for s in source[:-1].tolist() for t in spans.get(s, [s])]
    assert restored == ids.tolist()
    assert source[0] == 100
    assert not any(a in spans and b in spans for a, b in pairwise(source))
    with pytest.raises(UsageError, match="sentinels"):
        cut_spans(ids, [], 0, np.random.default_rng(seed))


def test_masked_tokens_have_berts_shares_and_spare_what_may_not_be_hidden() -> None:
    ids = np.full(40_000, 7)
    maskable = np.arange(40_000) % 10 != 0
    found = mask_tokens(ids, maskable, 1, 1000, np.random.default_rng(1))
    assert not found.mask[~maskable].any()
    assert found.mask[maskable].mean() == pytest.approx(0.15, abs=0.01)
    seen = found.ids[found.mask]
    assert (seen == 1).mean() == pytest.approx(0.8, abs=0.02)
    assert (seen == 7).mean() == pytest.approx(0.1, abs=0.02)
    assert (found.ids[~found.mask] == 7).all() and (found.targets == 7).all()
    few = mask_tokens(ids[:3], np.array([False, True, False]), 1, 1000, np.random.default_rng(2))
    assert few.mask.tolist() == [False, True, False]
