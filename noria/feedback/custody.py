"""What is done with a store's keys and rows by hand: rotate, erase, delete what is old.

In: a store. Out: the same store under other keys, or with less in it. Each step is a transaction:
a kill leaves it done or not begun, and the same command again ends it.
"""

from __future__ import annotations

import time

from noria.feedback.cipher import MasterKeys, master_keys_of, new_key, replace_master_keys
from noria.feedback.retention import DAY_S, delete_before
from noria.feedback.store import FeedbackStore


def rotate_master_key(store: FeedbackStore) -> int:
    """Wrap every tenant's key by a new master key; returns how many tenants there are.

    The file of keys then has the new one, and the one before for what a running server may wrap
    meanwhile; older ones go. Keys of the environment are changed there, the new one first: then
    this only wraps by it.
    """
    keyring = store.keyring
    if keyring.master.path is not None:
        keyring.master = master_keys_of(keyring.master.path)
        rewrap_tenants(store)  # what a rotation that was killed has left
        newest, path = keyring.master.keys[0], keyring.master.path
        fresh = MasterKeys((new_key(), newest), path)
        replace_master_keys(fresh)
        keyring.master = fresh
    return rewrap_tenants(store)


def rewrap_tenants(store: FeedbackStore) -> int:
    """Wrap every tenant's key by the newest master key; returns how many tenants there are."""
    tenants = store.database.tenants("tenant_keys")
    for tenant in tenants:
        with store.database.write(tenant) as connection:
            store.keyring.rewrap(connection, tenant)
    store.database.forget_deleted()
    return len(tenants)


def rotate_tenant_key(store: FeedbackStore, tenant: str) -> bool:
    """Wrap a tenant's data keys by a new key of the tenant; False if it has none yet."""
    with store.database.write(tenant) as connection:
        rotated = store.keyring.rotate_tenant_key(connection, tenant)
    store.database.forget_deleted()
    return rotated is not None


def erase_person(store: FeedbackStore, tenant: str, person: str) -> bool:
    """Make everything that a person of a tenant asked and said unreadable, for ever.

    `person` is a name, or the pseudonym that the store shows. What others said of that person's
    interactions goes from sight with them. False if nothing of this person is there. (Backups
    made before still have the key.)
    """
    pseudonyms = {person, store.pseudonym(tenant, person)} - {""}
    with store.database.write(tenant) as connection:
        erased = [store.keyring.erase_person(connection, tenant, one) for one in pseudonyms]
    store.database.forget_deleted()
    return any(erased)


def delete_older(store: FeedbackStore, tenant: str, keep_days: float) -> int:
    """Delete what is older than so many days; returns how many interactions went."""
    with store.database.write(tenant) as connection:
        num_deleted = delete_before(connection, tenant, time.time() - keep_days * DAY_S)
    store.database.forget_deleted()
    return num_deleted
