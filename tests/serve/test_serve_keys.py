"""Keys: shown once, stored as a hash, of one tenant, revoked or over for good."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.errors import UnknownName, UsageError
from noria.serve.auth import DAY_S, KEYS_FORMAT, KeyStore

STORED = Path(__file__).parent / "stored" / "keys-1.sqlite"
# The secrets of that file, which the first format's own code made; they open nothing.
OF_ACME = "nk-a7d02099f683-PSeJsLU5YDMU2caE5XBz7LkTD42iKT8ZmT-O9389_D0"
REVOKED = "nk-b35c4f3dc93a-aroCuj_6US1o-ZD_C8DWJVgXKfoX1mhjMPS5p2CkhOk"
OF_OTHER = "nk-b93d4afd01b8-OR4ZYhUxmYKBa_poE07DB6tA7Q-k_7MGRoTVawxJbMs"


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeyStore]:
    keys = KeyStore(tmp_path / "keys.sqlite")
    yield keys
    keys.close()


def test_a_secret_is_checked_but_never_stored(keys: KeyStore, tmp_path: Path) -> None:
    created = keys.create("acme", ("use", "rate"))
    assert created.secret.startswith("nk-")
    principal = keys.check(created.secret)
    assert principal is not None
    assert (principal.tenant, principal.key_id) == ("acme", created.key_id)
    assert principal.rights == {"use", "rate"}
    keys.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert created.secret.rsplit("-", 1)[1].encode() not in stored
    assert created.key_id.encode() in stored


def test_other_secrets_are_nobodys(keys: KeyStore) -> None:
    one, two = keys.create("acme", ("use",)), keys.create("acme", ("use",))
    swapped = f"nk-{one.key_id}-" + two.secret.split("-", 2)[2]
    for secret in ("", "nk-", one.secret[:-1], one.secret + "x", swapped, "nk-\ud800", "é" * 60):
        assert keys.check(secret) is None


def test_a_revoked_key_is_nobodys(keys: KeyStore) -> None:
    created, other = keys.create("acme", ("use",)), keys.create("acme", ("use",))
    for _ in range(2):
        keys.revoke("acme", created.key_id)
    assert keys.check(created.secret) is None
    assert keys.check(other.secret) is not None
    assert [key.revoked_at is None for key in keys.list("acme")] == [False, True]


def test_only_its_own_tenant_lists_and_revokes_a_key(keys: KeyStore) -> None:
    created = keys.create("acme", ("use",))
    assert keys.list("other") == ()
    with pytest.raises(UnknownName):
        keys.revoke("other", created.key_id)
    assert keys.check(created.secret) is not None


@pytest.mark.parametrize("rights", [(), ("fly",), ("use", "")])
def test_unknown_rights_are_refused(keys: KeyStore, rights: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="rights"):
        keys.create("acme", rights)
    with pytest.raises(UsageError, match="tenant"):
        keys.create("No Tenant!", ("use",))
    assert keys.list("acme") == ()


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_over_after_its_days_and_stays_so_when_the_clock_goes_back(
    tmp_path: Path,
) -> None:
    clock = Clock()
    keys = KeyStore(tmp_path / "keys.sqlite", clock)
    short, long, endless = (keys.create("acme", ("use",), days=days) for days in (0.5, 30, None))
    clock.now += DAY_S / 2 - 1
    assert keys.check(short.secret) is not None
    clock.now += 1
    assert keys.check(short.secret) is None
    clock.now -= DAY_S
    assert keys.check(short.secret) is None
    keys.close()
    keys = KeyStore(tmp_path / "keys.sqlite", clock)  # it is stored, not remembered
    assert keys.check(short.secret) is None
    states = {key.key_id: key.state(clock.now) for key in keys.list("acme")}
    assert states == {short.key_id: "expired", long.key_id: "active", endless.key_id: "active"}
    assert keys.check(long.secret) is not None and keys.check(endless.secret) is not None
    keys.close()


@pytest.mark.parametrize("jump_s", [-DAY_S, DAY_S])
def test_no_jump_of_the_clock_brings_a_revoked_key_back(tmp_path: Path, jump_s: float) -> None:
    clock = Clock()
    keys = KeyStore(tmp_path / "keys.sqlite", clock)
    created = keys.create("acme", ("use",), days=30)
    keys.revoke("acme", created.key_id)
    clock.now += jump_s
    assert keys.check(created.secret) is None
    assert keys.holder("acme", created.key_id) is None  # what a session asks
    assert [key.state(clock.now) for key in keys.list("acme")] == ["revoked"]
    keys.close()


@pytest.mark.parametrize("days", [0.0, -1.0, float("nan"), float("inf"), 3651.0])
def test_impossible_days_are_refused(keys: KeyStore, days: float) -> None:
    with pytest.raises(UsageError, match="days"):
        keys.create("acme", ("use",), days=days)


@pytest.mark.parametrize("limit", [0, -1, 10**9 + 1])
def test_impossible_limits_are_refused(keys: KeyStore, limit: int) -> None:
    with pytest.raises(UsageError, match="tokens a minute"):
        keys.create("acme", ("use",), tokens_per_minute=limit)


def test_a_store_of_the_first_format_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    shutil.copy(STORED, path)
    for _ in range(2):
        keys = KeyStore(path)
        mine, theirs = keys.check(OF_ACME), keys.check(OF_OTHER)
        assert mine is not None and theirs is not None
        assert (mine.tenant, mine.rights) == ("acme", {"use", "rate"})
        assert (theirs.tenant, theirs.rights) == ("other", {"use", "promote"})
        assert keys.check(REVOKED) is None
        assert [(key.expires_at, key.tokens_per_minute) for key in keys.list("acme")] == [
            (None, None)
        ] * 2
        keys.close()
    keys = KeyStore(path)
    new = keys.create("acme", ("use",), days=1, tokens_per_minute=5)
    principal = keys.check(new.secret)
    assert principal is not None and principal.tokens_per_minute == 5
    keys.close()
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (KEYS_FORMAT,)
    file.close()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    shutil.copy(STORED, path)
    with sqlite3.connect(path) as file:
        file.execute("ALTER TABLE keys ADD COLUMN tokens_per_minute INTEGER")  # the last step's
    file.close()
    with pytest.raises(Exception, match="duplicate column"):
        KeyStore(path)
    with sqlite3.connect(path) as file:
        columns = [row[1] for row in file.execute("PRAGMA table_info(keys)")]
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
    file.close()
    assert "expires_at" not in columns
