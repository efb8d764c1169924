"""Tokens a minute: a key's and a tenant's, paid after each answer, earned back by time."""

from __future__ import annotations

import pytest

from noria.serve.auth import Principal
from noria.serve.quota import OverQuota, Quotas, num_text_tokens


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def who(tenant: str = "acme", key_id: str = "k", limit: int | None = None) -> Principal:
    return Principal(tenant, key_id, frozenset({"use"}), limit)


def test_an_empty_account_is_refused_until_it_is_earned_back() -> None:
    clock = Clock()
    quotas = Quotas(now=clock)
    one = who(limit=60)
    quotas.spend(one, 70)  # the last answer may overdraw it
    with pytest.raises(OverQuota) as refused:
        quotas.check(one)
    assert refused.value.retry_after_s == 11  # 10 to pay back, 1 to begin with
    clock.now += 10
    with pytest.raises(OverQuota):
        quotas.check(one)
    clock.now += 1
    quotas.check(one)
    clock.now += 10_000
    quotas.spend(one, 60)  # it never holds more than a minute's worth
    with pytest.raises(OverQuota):
        quotas.check(one)


def test_keys_pay_for_themselves_and_for_their_tenant() -> None:
    quotas = Quotas(tenant_tokens_per_minute=100, now=Clock())
    limited, free, other = who("acme", "a", 10), who("acme", "b"), who("other", "a")
    quotas.spend(limited, 10)
    with pytest.raises(OverQuota):
        quotas.check(limited)
    quotas.check(free)
    quotas.spend(free, 90)
    with pytest.raises(OverQuota):
        quotas.check(free)
    quotas.check(other)


def test_without_limits_nothing_is_refused() -> None:
    quotas = Quotas(now=Clock())
    quotas.spend(who(), 10**12)
    quotas.check(who())


def test_a_texts_size_is_told_in_tokens() -> None:
    told = [num_text_tokens([one]) for one in ("", "x", "xxxx", "xxxxx", "在哪里")]
    assert told == [1, 1, 1, 2, 3]
    assert num_text_tokens(["x", "xxxxx"]) == 3
