"""Encryption at rest: which key seals what, and how a sealed value is bound to its place.

In: keys, bytes, and where they stand. Out: sealed bytes, or IntegrityError for bytes that were
changed or moved. This module knows no database.

A master key wraps each tenant's key, the tenant's key wraps the data key of each person, and the
data key seals that person's texts: AES-256-GCM with a fresh random nonce (NIST SP 800-38D), the
place of the value as associated data. Keys for unlike uses are derived from one another by
HMAC-SHA-256, and never used for two things.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noria.errors import IntegrityError, StorageError, UsageError

KEY_BYTES = 32
NONCE_BYTES = 12  # 96 bits, which GCM is made for
SEALED_FORMAT = b"\x01"  # AES-256-GCM: format, nonce, ciphertext, tag


def new_key() -> bytes:
    """A random key of 256 bits."""
    return secrets.token_bytes(KEY_BYTES)


def _place(parts: tuple[str, ...]) -> bytes:
    """Parts as bytes from which the parts can be told: no two places look the same."""
    return json.dumps(parts, ensure_ascii=True).encode()


def _derived(key: bytes, use: str) -> bytes:
    return hmac.digest(key, f"noria {use}".encode(), "sha256")


def seal(cipher: AESGCM, data: bytes, place: tuple[str, ...]) -> bytes:
    """Data sealed for this place."""
    nonce = os.urandom(NONCE_BYTES)
    return SEALED_FORMAT + nonce + cipher.encrypt(nonce, data, _place(place))


def unseal(cipher: AESGCM, sealed: bytes, place: tuple[str, ...]) -> bytes:
    """What was sealed for this place. Raises IntegrityError for anything else."""
    try:
        if sealed[:1] != SEALED_FORMAT:
            raise InvalidTag
        return cipher.decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], _place(place))
    except (InvalidTag, ValueError) as error:
        raise IntegrityError(
            f"{' / '.join(place[:4])} can't be decrypted: it was changed, moved, or sealed with "
            "another key",
            "what was stored, under the key that it was stored with",
            "restore the store, or the key, from a backup",
        ) from error


@dataclass(frozen=True)
class DataKey:
    """The key of one person's texts; `id` names it in the rows that it sealed."""

    id: str
    tenant: str
    person: str
    key: bytes = field(repr=False)

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(_derived(self.key, "text"))

    @cached_property
    def _digest_key(self) -> bytes:
        return _derived(self.key, "digest")

    def seal(self, text: str, table: str, row: str, column: str) -> bytes:
        """Text, sealed for one column of one row of this person."""
        place = (self.tenant, table, row, column, self.person)
        return seal(self._cipher, text.encode("utf-8"), place)

    def unseal(self, sealed: bytes, table: str, row: str, column: str, person: str) -> str:
        """The text of one column of one row, which says whose it is. Raises IntegrityError."""
        place = (self.tenant, table, row, column, person)
        return unseal(self._cipher, sealed, place).decode("utf-8")

    def digest(self, *texts: str) -> str:
        """Says whether two requests are the same to whoever has the key, and nothing without it."""
        return hmac.digest(self._digest_key, _place(texts), "sha256").hex()


@dataclass(frozen=True)
class TenantKey:
    """A tenant's key, which wraps data keys, and its lookup key, which outlives rotations."""

    id: str
    tenant: str
    key: bytes = field(repr=False)
    lookup: bytes = field(repr=False)

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(_derived(self.key, "wrap"))

    @cached_property
    def _idempotency_key(self) -> bytes:
        return _derived(self.lookup, "idempotency")

    def wrap(self, data_key: DataKey) -> bytes:
        """A data key as it may be stored."""
        place = ("data key", self.tenant, data_key.id, data_key.person)
        return seal(self._cipher, data_key.key, place)

    def unwrap(self, wrapped: bytes, key_id: str, person: str) -> DataKey:
        """The data key of that id and person. Raises IntegrityError."""
        key = unseal(self._cipher, wrapped, ("data key", self.tenant, key_id, person))
        return DataKey(key_id, self.tenant, person, key)

    def pseudonym(self, person: str) -> str:
        """A stable name for a person, which nobody without the key can compute; "" stays "".

        It is made from the name that stores of formats 1 and 2 gave, so that theirs can be kept.
        """
        if not person:
            return ""
        unkeyed = hashlib.sha256(f"{self.tenant}\0{person}".encode()).hexdigest()[:32]
        return self.keyed_pseudonym(unkeyed)

    def keyed_pseudonym(self, unkeyed: str) -> str:
        """The pseudonym of a person whose plain digest is this."""
        return "p-" + hmac.digest(self.lookup, unkeyed.encode(), "sha256").hex()[:32]

    def idempotency_digest(self, key: str) -> str:
        """What is stored of an idempotency key, which may hold anything."""
        return hmac.digest(self._idempotency_key, key.encode(), "sha256").hex()


def master_key_id(key: bytes) -> str:
    """The name of a master key; it tells nothing of the key."""
    return _derived(key, "master key id").hex()[:16]


@dataclass(frozen=True)
class MasterKeys:
    """The keys that wrap tenants' keys: the first wraps, the others still open what they wrapped.

    `path` is their file, or None where they came from the environment.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    path: Path | None = None

    @property
    def id(self) -> str:
        """Which key wraps."""
        return master_key_id(self.keys[0])

    def has(self, key_id: str) -> bool:
        """Whether the key of that name is here."""
        return any(master_key_id(key) == key_id for key in self.keys)

    def _cipher(self, key_id: str) -> AESGCM:
        for key in self.keys:
            if master_key_id(key) == key_id:
                return AESGCM(_derived(key, "wrap"))
        raise IntegrityError(
            f"the store was sealed under the master key {key_id[:16]}, which is not here",
            "the master key that it was sealed with",
            "put it back: the file master.key beside the store, or NORIA_MASTER_KEY",
        )

    def wrap(self, tenant_key: TenantKey) -> bytes:
        """A tenant's key and lookup key as they may be stored."""
        place = ("tenant key", tenant_key.tenant, tenant_key.id)
        return seal(self._cipher(self.id), tenant_key.key + tenant_key.lookup, place)

    def unwrap(self, wrapped: bytes, tenant: str, key_id: str, master_id: str) -> TenantKey:
        """The tenant's key of that id. Raises IntegrityError."""
        both = unseal(self._cipher(master_id), wrapped, ("tenant key", tenant, key_id))
        return TenantKey(key_id, tenant, both[:KEY_BYTES], both[KEY_BYTES:])


def parse_master_keys(text: str, path: Path | None = None) -> MasterKeys:
    """Keys of 64 hexadecimal digits, the newest first, divided by commas or lines.

    Raises UsageError, which never repeats them.
    """
    try:
        keys = tuple(bytes.fromhex(part) for part in text.replace(",", " ").split())
    except ValueError:
        keys = ()
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise UsageError(
            f"no master key in {path or 'NORIA_MASTER_KEY'}",
            "64 hexadecimal digits for each key, the newest first",
            "make one: python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return MasterKeys(keys, path)


def master_keys_text(keys: MasterKeys) -> str:
    """The keys as a file holds them."""
    return "".join(key.hex() + "\n" for key in keys.keys)


def master_keys_of(path: Path) -> MasterKeys:
    """The keys of that file, which only its owner may read; made at first use, by one of many.

    Raises StorageError, UsageError.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _create_once(path, master_keys_text(MasterKeys((new_key(),))))
        if path.stat().st_mode & 0o077:
            raise UsageError(
                f"others may read {path}", "a key that only its owner reads", f"chmod 600 {path}"
            )
        return parse_master_keys(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} can't be read or made ({error})", "a file of keys") from error


def replace_master_keys(keys: MasterKeys) -> None:
    """Write a file of keys in the place of the one that is there; whole or not at all."""
    assert keys.path is not None
    temporary = _written(keys.path, master_keys_text(keys))
    temporary.replace(keys.path)
    _sync_folder(keys.path.parent)


def _create_once(path: Path, text: str) -> None:
    """Write a file whole, unless another process was first: a link fails where a file is."""
    temporary = _written(path, text)
    try:
        os.link(temporary, path)
        _sync_folder(path.parent)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _written(path: Path, text: str) -> Path:
    """A file beside the path that only its owner reads, on disk."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
