"""The keys that a feedback store holds, each wrapped by the one above it.

In: master keys, and a connection inside a transaction of one tenant. Out: that tenant's key and
its persons' data keys. What a transaction may use is what its own rows say: a key that another
process has erased is not used again, however long this process has known it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from functools import lru_cache

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from noria.feedback.cipher import DataKey, MasterKeys, TenantKey, master_keys_of, new_key
from noria.feedback.tables import data_keys_table, tenant_keys_table

MAX_KNOWN_KEYS = 65_536  # unwrapped in memory

# Statements of every write are built once: building costs as much as running them.
_KEY_OF_TENANT = select(tenant_keys_table).where(
    tenant_keys_table.c.tenant == bindparam("of_tenant")
)
_KEYS_OF_PERSONS = select(data_keys_table).where(
    data_keys_table.c.tenant == bindparam("of_tenant"),
    data_keys_table.c.person.in_(bindparam("persons", expanding=True)),
)


class Keyring:
    """Unwraps the keys of all tenants, and remembers what it unwrapped."""

    def __init__(self, master: MasterKeys) -> None:
        self.master = master
        self._tenant_key = lru_cache(1024)(self._unwrap_tenant_key)
        self._data_key = lru_cache(MAX_KNOWN_KEYS)(_unwrap)

    def _unwrap_tenant_key(
        self, wrapped: bytes, tenant: str, key_id: str, master_id: str
    ) -> TenantKey:
        self._refresh_master(master_id)
        return self.master.unwrap(wrapped, tenant, key_id, master_id)

    def _refresh_master(self, master_id: str) -> None:
        """Read the file of master keys again if another process has rotated it."""
        if self.master.path is not None and not self.master.has(master_id):
            self.master = master_keys_of(self.master.path)

    def find_tenant_key(self, connection: Connection, tenant: str) -> TenantKey | None:
        """The tenant's key, or None if nothing of this tenant was ever stored."""
        row = connection.execute(_KEY_OF_TENANT, {"of_tenant": tenant}).first()
        if row is None:
            return None
        return self._tenant_key(bytes(row.wrapped), tenant, row.id, row.master_id)

    def tenant_key(self, connection: Connection, tenant: str) -> TenantKey:
        """The tenant's key, made if there is none; the transaction has to be one that writes."""
        found = self.find_tenant_key(connection, tenant)
        if found is None:
            if self.master.path is not None:  # the newest, whatever this process began with
                self.master = master_keys_of(self.master.path)
            found = TenantKey(secrets.token_hex(8), tenant, new_key(), new_key())
            connection.execute(insert(tenant_keys_table), self._tenant_row(found))
        return found

    def _tenant_row(self, key: TenantKey) -> dict[str, object]:
        wrapped = self.master.wrap(key)
        return {"tenant": key.tenant, "id": key.id, "master_id": self.master.id, "wrapped": wrapped}

    def data_keys(
        self, connection: Connection, tenant: str, ids: Collection[str] | None = None
    ) -> dict[str, DataKey]:
        """The data keys of these ids by id, or all of a tenant's; erased ones are not there."""
        mine = data_keys_table.c.tenant == tenant
        if ids is not None:
            mine &= data_keys_table.c.id.in_(ids)
        rows = connection.execute(select(data_keys_table).where(mine)).mappings().all()
        return {key.id: key for key in self._unwrapped(connection, tenant, rows)}

    def keys_of_persons(
        self, connection: Connection, tenant: str, persons: Collection[str]
    ) -> dict[str, DataKey]:
        """A data key for each of these persons, made where there is none, by person."""
        wanted = {"of_tenant": tenant, "persons": list(persons)}
        rows = connection.execute(_KEYS_OF_PERSONS, wanted).mappings().all()
        keys = {key.person: key for key in self._unwrapped(connection, tenant, rows)}
        new = [
            DataKey(secrets.token_hex(8), tenant, person, new_key())
            for person in sorted(set(persons) - set(keys))
        ]
        if new:
            tenant_key = self.tenant_key(connection, tenant)
            connection.execute(insert(data_keys_table), [_row(key, tenant_key) for key in new])
        return keys | {key.person: key for key in new}

    def _unwrapped(
        self, connection: Connection, tenant: str, rows: Iterable[RowMapping]
    ) -> list[DataKey]:
        tenant_key = self.find_tenant_key(connection, tenant)
        if tenant_key is None:
            return []
        return [
            self._data_key(tenant_key, bytes(row["wrapped"]), row["id"], row["person"])
            for row in rows
        ]

    def erase_person(self, connection: Connection, tenant: str, person: str) -> bool:
        """Forget a person's data key; whether there was one."""
        table = data_keys_table.c
        mine = (table.tenant == tenant, table.person == person)
        return connection.execute(delete(data_keys_table).where(*mine)).rowcount > 0

    def rotate_tenant_key(self, connection: Connection, tenant: str) -> TenantKey | None:
        """Wrap a tenant's data keys by a new key of the tenant; None if it has no key yet."""
        old = self.find_tenant_key(connection, tenant)
        if old is None:
            return None
        fresh = TenantKey(secrets.token_hex(8), tenant, new_key(), old.lookup)
        table = data_keys_table.c
        for key in self.data_keys(connection, tenant).values():
            mine = (table.tenant == tenant, table.id == key.id)
            wrapped = fresh.wrap(key)
            connection.execute(update(data_keys_table).where(*mine).values(wrapped=wrapped))
        self._replace(connection, fresh)
        return fresh

    def rewrap(self, connection: Connection, tenant: str) -> None:
        """Wrap a tenant's key by the newest master key."""
        key = self.find_tenant_key(connection, tenant)
        if key is not None:
            self._replace(connection, key)

    def _replace(self, connection: Connection, key: TenantKey) -> None:
        mine = tenant_keys_table.c.tenant == key.tenant
        connection.execute(update(tenant_keys_table).where(mine).values(**self._tenant_row(key)))


def _unwrap(tenant_key: TenantKey, wrapped: bytes, key_id: str, person: str) -> DataKey:
    return tenant_key.unwrap(wrapped, key_id, person)


def _row(key: DataKey, tenant_key: TenantKey) -> dict[str, object]:
    wrapped = tenant_key.wrap(key)
    return {"tenant": key.tenant, "id": key.id, "person": key.person, "wrapped": wrapped}
