"""Beam search finds what looking at every answer finds, when it has beams enough."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from arrivals import talker

from noria.errors import UsageError
from noria.generate.beams import Beam, beam_search
from noria.generate.engine import generate_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling


class Few:
    """A tokenizer of four ids, of which the first ends an answer."""

    vocab_size = 4
    stop_ids = frozenset({0})


@pytest.fixture(scope="module")
def few(plain: LanguageModel) -> LanguageModel:
    return LanguageModel(talker(plain, "llama", 3).model, Few(), "few")  # type: ignore[arg-type]


def log_prob(model: LanguageModel, prompt: list[int], answer: tuple[int, ...]) -> float:
    ids = torch.tensor([[*prompt, *answer]])
    with torch.inference_mode():
        logits = model.model.logits(model.model(ids)[0])[:, : model.tokenizer.vocab_size]
    rows = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    return float(rows.gather(1, torch.tensor(answer)[:, None]).sum())


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
def test_with_beams_enough_it_finds_the_best_of_all_answers(
    few: LanguageModel, length_penalty: float
) -> None:
    prompt, max_tokens = [1, 2, 3, 2], 4
    answers = {
        answer[: answer.index(0) + 1] if 0 in answer else answer
        for answer in product(range(4), repeat=max_tokens)
    }
    wanted = sorted(
        (Beam(one, log_prob(few, prompt, one)) for one in answers),
        key=lambda one: -one.score(length_penalty),
    )
    found = beam_search(few, prompt, 64, max_tokens, length_penalty)
    assert [one.ids for one in found[:5]] == [one.ids for one in wanted[:5]]
    assert found[0].log_prob == pytest.approx(wanted[0].log_prob, abs=1e-4)


def test_one_beam_is_the_likeliest_token_each_time(plain: LanguageModel) -> None:
    for seed in range(3):
        model = talker(plain, "gpt2", seed)
        greedy = list(generate_tokens(model, [5, 6], Sampling(temperature=0, max_tokens=20)))
        (found,) = beam_search(model, [5, 6], 1, 20)
        assert list(found.ids) == greedy
        assert found.log_prob == pytest.approx(log_prob(model, [5, 6], found.ids), abs=1e-3)


def test_more_beams_find_no_worse_answers(plain: LanguageModel) -> None:
    gained = []
    for seed in range(6):
        model = talker(plain, "llama", seed)
        best = [beam_search(model, [9], beams, 8, 0.0)[0].log_prob for beams in (1, 4, 16)]
        assert best[1] <= best[2] + 1e-4
        gained.append(best[2] - best[0])
    assert min(gained) > -1e-4 and max(gained) > 0.01


@pytest.mark.parametrize(("beams", "penalty"), [(0, 1.0), (65, 1.0), (2, -1.0), (2, float("nan"))])
def test_beams_that_can_not_be_are_refused(
    plain: LanguageModel, beams: int, penalty: float
) -> None:
    with pytest.raises(UsageError, match="beams"):
        beam_search(plain, [5], beams, 4, penalty)
