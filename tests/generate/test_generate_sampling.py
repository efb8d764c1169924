import pytest
import torch

from noria.errors import IntegrityError, UsageError
from noria.generate.picking import choice_probabilities, pick, random_source
from noria.generate.sampling import Sampling

LOGITS = torch.tensor([1.0, 3.0, 2.0, -1.0, 0.5])


def test_temperature_zero_takes_the_likeliest() -> None:
    sampling = Sampling(temperature=0)
    assert {pick(LOGITS, sampling, random_source(sampling)) for _ in range(20)} == {1}


def test_same_seed_draws_the_same_tokens_and_another_seed_others() -> None:
    def draws(seed: int) -> list[int]:
        sampling = Sampling(seed=seed)
        generator = random_source(sampling)
        return [pick(LOGITS, sampling, generator) for _ in range(40)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_without_a_seed_answers_differ() -> None:
    sampling = Sampling()
    seeds = {random_source(sampling).initial_seed() for _ in range(5)}
    assert len(seeds) == 5


def test_draws_follow_the_probabilities() -> None:
    sampling = Sampling(temperature=0.7, seed=1)
    generator = random_source(sampling)
    counts = torch.zeros(5)
    for _ in range(4000):
        counts[pick(LOGITS, sampling, generator)] += 1
    assert torch.allclose(counts / 4000, (LOGITS / 0.7).softmax(0), atol=0.03)


def test_top_k_keeps_the_k_likeliest() -> None:
    kept = choice_probabilities(LOGITS, Sampling(top_k=2))
    assert torch.allclose(kept, torch.tensor([0.0, 1.0, 1.0, 0, 0]) * kept)
    assert float(kept.sum()) == pytest.approx(1)
    assert float(kept[1] / kept[2]) == pytest.approx(2.71828, rel=1e-4)
    whole = choice_probabilities(LOGITS, Sampling())
    assert torch.equal(choice_probabilities(LOGITS, Sampling(top_k=99)), whole)


@pytest.mark.parametrize(
    ("top_p", "num_kept"), [(0.01, 1), (0.6, 1), (0.7, 2), (0.9, 3), (0.999, 5), (1.0, 5)]
)
def test_top_p_keeps_the_smallest_set_with_that_share(top_p: float, num_kept: int) -> None:
    whole = LOGITS.softmax(0)
    kept = choice_probabilities(LOGITS, Sampling(top_p=top_p))
    assert int((kept > 0).sum()) == num_kept
    assert float(whole[kept > 0].sum()) >= top_p - 1e-6
    if num_kept > 1:
        smallest = whole[kept > 0].min()
        assert float(whole[kept > 0].sum() - smallest) < top_p
    assert float(kept.sum()) == pytest.approx(1)


@pytest.mark.parametrize("spread", [0.01, 3.0])  # nearly alike: no few hold the share; or apart
def test_top_p_of_a_large_vocabulary_keeps_what_sorting_all_keeps(spread: float) -> None:
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(1)) * spread
    whole = logits.softmax(0)
    ordered, ids = whole.sort(descending=True)
    wanted = set(ids[: int((ordered.cumsum(0) - ordered < 0.9).sum())].tolist())
    kept = choice_probabilities(logits, Sampling(top_p=0.9))
    assert set(kept.nonzero()[:, 0].tolist()) == wanted
    assert (len(wanted) > 1024) == (spread < 1)


@pytest.mark.parametrize(("min_p", "num_kept"), [(0.0, 5), (0.05, 4), (0.3, 2), (1.0, 1)])
def test_min_p_keeps_what_has_that_share_of_the_likeliest(min_p: float, num_kept: int) -> None:
    kept = choice_probabilities(LOGITS, Sampling(min_p=min_p))
    assert int((kept > 0).sum()) == num_kept
    assert float(kept.sum()) == pytest.approx(1)


def test_a_tiny_temperature_does_not_overflow() -> None:
    kept = choice_probabilities(LOGITS * 100, Sampling(temperature=1e-30))
    assert kept.tolist() == [0, 1, 0, 0, 0]


def test_logits_that_are_not_numbers_are_refused() -> None:
    for broken in (float("nan"), float("inf")):
        with pytest.raises(IntegrityError, match="not numbers"):
            pick(torch.tensor([0.0, broken]), Sampling(), torch.Generator())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", 1e9),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("max_tokens", 0),
        ("seed", 2**63),
        ("stop", ("",)),
        ("stop", ("x" * 2000,)),
        ("min_p", 1.5),
        ("min_p", float("nan")),
        ("repetition_penalty", 0.0),
        ("presence_penalty", float("inf")),
        ("frequency_penalty", -101.0),
        ("logit_bias", ((-1, 1.0),)),
        ("logit_bias", ((1, float("nan")),)),
        ("log_probs", 1000),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        Sampling(**{name: value})  # type: ignore[arg-type]
