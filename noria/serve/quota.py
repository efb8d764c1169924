"""How many tokens a key and a tenant may use in a minute.

In: a principal, and the tokens of its answers when they are known. Out: nothing, or OverQuota.
An account fills steadily up to one minute's worth and may be overdrawn by the answers that are
being written when it runs out; until it is paid back nothing new begins. It measures time by a
clock that only goes forward and begins full with every start of the server.
This module knows no HTTP.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

from noria.serve.admission import MAX_RETRY_AFTER_S, Refused
from noria.serve.auth import Principal

MINUTE_S = 60.0
TOKEN_BYTES = 4  # of a text that no tokenizer counts: about those of an English token


def num_text_tokens(texts: Sequence[str]) -> int:
    """What texts cost that not every way of answering has tokens for: by their size in UTF-8."""
    return sum(max(1, -(-len(text.encode()) // TOKEN_BYTES)) for text in texts)


class OverQuota(Refused):
    """The key's or the tenant's tokens of this minute are used up."""


class _Account:
    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self.tokens = float(per_minute)
        self.seen_at = now

    def at(self, now: float) -> float:
        """The tokens that are there now."""
        earned = (now - self.seen_at) * self.per_minute / MINUTE_S
        self.tokens = min(float(self.per_minute), self.tokens + earned)
        self.seen_at = now
        return self.tokens


class Quotas:
    """The accounts of all keys and tenants; safe for many threads.

    tenant_tokens_per_minute 0: tenants have no limit, only keys that were given one.
    """

    def __init__(
        self, tenant_tokens_per_minute: int = 0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._of_tenant = tenant_tokens_per_minute
        self._now = now
        self._accounts: dict[tuple[str, str], _Account] = {}
        self._lock = threading.Lock()

    def check(self, who: Principal) -> None:
        """Raise OverQuota if one of its accounts is empty."""
        with self._lock:
            for account in self._accounts_of(who):
                tokens = account.at(self._now())
                if tokens <= 0:
                    wait_s = math.ceil((1 - tokens) * MINUTE_S / account.per_minute)
                    raise OverQuota(min(MAX_RETRY_AFTER_S, max(1, wait_s)))

    def spend(self, who: Principal, num_tokens: int) -> None:
        """Take an answer's tokens, those of its prompt too, off its accounts."""
        with self._lock:
            for account in self._accounts_of(who):
                account.at(self._now())
                account.tokens -= num_tokens

    def _accounts_of(self, who: Principal) -> list[_Account]:
        limits = {
            (who.tenant, who.key_id): who.tokens_per_minute or 0,
            (who.tenant, ""): self._of_tenant,
        }
        return [self._account(name, limit) for name, limit in limits.items() if limit]

    def _account(self, name: tuple[str, str], per_minute: int) -> _Account:
        if name not in self._accounts:
            self._accounts[name] = _Account(per_minute, self._now())
        return self._accounts[name]
