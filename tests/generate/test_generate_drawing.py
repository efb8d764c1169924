"""Penalties, biases and probabilities of one answer's tokens."""

from __future__ import annotations

import pytest
import torch

from noria.errors import UsageError
from noria.generate.drawing import Drawer
from noria.generate.engine import draw_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.generate.scoring import score_tokens

LOGITS = torch.tensor([2.0, 3.0, -1.0, 0.5])


class Four:
    """A tokenizer of four ids."""

    vocab_size = 4


def weighed(sampling: Sampling, prompt: list[int], written: list[int]) -> list[float]:
    """The logits that the next token is drawn from."""
    drawer = Drawer(sampling, prompt, Four())  # type: ignore[arg-type]
    for one in written:
        only = torch.full((4,), -1e9)
        only[one] = 0.0
        assert drawer.draw(only).token_id == one
    return [round(one, 4) for one in drawer._weighed(LOGITS).tolist()]


def test_repetition_counts_prompt_and_answer_once_each_token() -> None:
    found = weighed(Sampling(repetition_penalty=2.0, seed=1), [0, 0, 2], [3, 3])
    assert found == [1.0, 3.0, -2.0, 0.25]


def test_presence_and_frequency_count_the_answer_alone() -> None:
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25, seed=1)
    assert weighed(sampling, [0, 1], []) == LOGITS.tolist()
    assert weighed(sampling, [0, 1], [1, 1, 3]) == [2.0, 2.0, -1.0, -0.25]


def test_a_bias_is_added_and_the_logits_given_stay() -> None:
    before = LOGITS.clone()
    assert weighed(Sampling(logit_bias=((2, 5.0), (0, -1.0))), [], []) == [1.0, 3.0, 4.0, 0.5]
    assert torch.equal(LOGITS, before)
    with pytest.raises(UsageError, match="logit_bias"):
        weighed(Sampling(logit_bias=((4, 1.0),)), [], [])


def test_probabilities_are_those_of_scoring_the_text_whatever_the_settings(
    plain: LanguageModel,
) -> None:
    sampling = Sampling(
        temperature=1.3, top_k=50, seed=2, max_tokens=8, presence_penalty=1.0, log_probs=3
    )
    drawn = list(draw_tokens(plain, [5, 6, 7], sampling))
    ids = [5, 6, 7, *[one.token_id for one in drawn]]
    scores = score_tokens(plain, ids, 3)
    assert [one.log_prob for one in drawn] == pytest.approx(scores.log_probs[2:], abs=1e-4)
    for one, best in zip(drawn, scores.best[2:], strict=True):
        assert [log_prob for _, log_prob in one.best] == pytest.approx(
            [log_prob for _, log_prob in best], abs=1e-4
        )


def test_probabilities_are_not_computed_unasked(plain: LanguageModel) -> None:
    (one,) = draw_tokens(plain, [5], Sampling(max_tokens=1))
    assert (one.log_prob, one.best) == (None, ())
    (one,) = draw_tokens(plain, [5], Sampling(max_tokens=1, log_probs=0))
    assert one.log_prob is not None and one.best == ()
