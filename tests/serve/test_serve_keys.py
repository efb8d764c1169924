"""Keys: shown once, stored as a hash, of one tenant, revoked for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.errors import UnknownName, UsageError
from noria.serve.auth import KeyStore


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
