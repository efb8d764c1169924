"""The store of interactions and feedback: on disk before anybody hears "ok".

In: interactions and what was said of them. Out: the same, in the order in which they came, of one
tenant at a time. Personal identities are replaced before a text touches the disk, texts lie there
encrypted and persons as keyed pseudonyms. Writers that wait at the same time share a transaction.
This module knows no HTTP, no model and no training.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select

from noria.corpus.deidentify import Deidentifier
from noria.errors import NoriaError, UsageError
from noria.feedback.batches import ToStore, reused_key, store_batch, unknown_interaction
from noria.feedback.cipher import MasterKeys, TenantKey, master_keys_of
from noria.feedback.cleaning import cleaned_feedback, cleaned_interaction
from noria.feedback.counting import Count, Thumb, count_said, thumbs_after
from noria.feedback.interactions import (
    Feedback,
    Interaction,
    check_feedback,
    check_idempotency_key,
    check_interaction,
    check_name,
    check_text,
)
from noria.feedback.keyring import Keyring
from noria.feedback.opening import open_database
from noria.feedback.retention import Retention
from noria.feedback.tables import (
    Said,
    feedback_table,
    from_row,
    interactions_table,
    request_digest,
)
from noria.feedback.writer import GroupWriter


class FeedbackStore:
    """Interactions and feedback in one SQLite file or one PostgreSQL database.

    Safe for many threads and processes. `deidentifier` is asked for before the first text is
    stored, and its errors are the caller's. Without `master` its keys lie in `master.key` beside
    the file. What is older than `keep_days` goes; 0 keeps everything. `name` is the schema in
    PostgreSQL: stores of several recipes share a database and nothing else.
    """

    def __init__(
        self,
        where: Path | str,
        deidentifier: Callable[[], Deidentifier] = Deidentifier,
        *,
        master: MasterKeys | None = None,
        keep_days: int = 0,
        name: str = "noria",
    ) -> None:
        if master is None:
            if isinstance(where, str):
                raise UsageError("a database without a master key", "the keys that seal its texts")
            master = master_keys_of(where.parent / "master.key")
        self.path = where if isinstance(where, Path) else None
        self._deidentifier = deidentifier
        self.database = open_database(where, master, name)
        self.keyring = Keyring(master)
        self._retention = Retention(keep_days)
        self._pseudonym_keys: dict[str, TenantKey] = {}  # any of a tenant's gives the same ones
        self._writer = GroupWriter[ToStore, Said](self._store)

    def _store(self, tenant: str, values: Sequence[ToStore]) -> list[Said | NoriaError]:
        with self.database.write(tenant) as connection:
            self._retention.apply(connection, tenant)
            return store_batch(connection, self.keyring, tenant, values)

    def pseudonym(self, tenant: str, person: str) -> str:
        """The name that the store knows a person by; "" stays ""."""
        if not person:
            return ""
        check_text("person", person)
        check_name("tenant", tenant)
        key = self._pseudonym_keys.get(tenant)
        if key is None:
            with self.database.write(tenant) as connection:
                key = self.keyring.tenant_key(connection, tenant)
            self._pseudonym_keys[tenant] = key
        return key.pseudonym(person)

    def record_interaction(
        self,
        *,
        tenant: str,
        interaction_id: str,
        model_name: str,
        weight_hash: str,
        kind: str,
        prompt: str,
        answer: str,
        person: str = "",
        finish: str = "stop",
        num_prompt_tokens: int = 0,
        num_answer_tokens: int = 0,
        idempotency_key: str = "",
        created_at: float | None = None,
    ) -> Interaction:
        """Store a request and its answer; returns what is stored, on disk.

        `person` comes in as a name and is stored as a pseudonym. The same key with the same
        request returns the row that is there, whose answer stands. Raises UsageError for the same
        key or id with another request.
        """
        asked = Interaction(
            tenant=tenant,
            id=interaction_id,
            model_name=model_name,
            weight_hash=weight_hash,
            kind=kind,
            prompt=prompt,
            answer=answer,
            created_at=time.time() if created_at is None else created_at,
            person=person,
            finish=finish,
            num_prompt_tokens=num_prompt_tokens,
            num_answer_tokens=num_answer_tokens,
        )
        check_interaction(asked)
        named = replace(asked, person=self.pseudonym(tenant, person))
        return self.store_interaction(named, idempotency_key)

    def store_interaction(self, asked: Interaction, idempotency_key: str = "") -> Interaction:
        """As `record_interaction`, of a person who has the pseudonym already."""
        check_interaction(asked)
        check_idempotency_key(idempotency_key)
        clean = cleaned_interaction(asked, self._deidentifier())
        stored = self._writer.write(asked.tenant, ToStore(clean, idempotency_key))
        assert isinstance(stored, Interaction)
        return stored

    def answered(
        self,
        *,
        tenant: str,
        model_name: str,
        kind: str,
        prompt: str,
        idempotency_key: str,
        person: str = "",
    ) -> Interaction | None:
        """The stored answer to this request under this key, or None: a retry is not a new request.

        Raises UsageError if the key was used for another request.
        """
        check_idempotency_key(idempotency_key)
        table = interactions_table
        with self.database.read(tenant) as connection:
            tenant_key = self.keyring.find_tenant_key(connection, tenant)
            if tenant_key is None or not idempotency_key:
                return None
            digest = tenant_key.idempotency_digest(idempotency_key)
            same = (table.c.tenant == tenant, table.c.idempotency_key == digest)
            row = connection.execute(select(table).where(*same)).mappings().first()
            if row is None:
                return None
            keys = self.keyring.data_keys(connection, tenant, [row["data_key"]])
        stored = from_row(table, row, keys)
        if not isinstance(stored, Interaction) or stored.person != tenant_key.pseudonym(person):
            raise reused_key()  # another person's, or of one who was erased
        asked = replace(stored, model_name=model_name, kind=kind, prompt=prompt)
        asked = cleaned_interaction(asked, self._deidentifier())
        if request_digest(asked, keys[row["data_key"]]) != row["request"]:
            raise reused_key()
        return stored

    def record_feedback(
        self,
        tenant: str,
        interaction_id: str,
        kind: str,
        value: str,
        *,
        origin: str = "person",
        person: str = "",
        key_id: str = "",
        idempotency_key: str = "",
        created_at: float | None = None,
    ) -> Feedback:
        """Store what was said of an interaction; returns what is stored, on disk.

        `person` comes in as a name and is stored as a pseudonym; `key_id` is the key of the server
        that it came through, which may be another one when the same is said again. Raises
        UnknownName if the tenant has no such interaction, UsageError for a value that says
        nothing or an idempotency key that was used for other content.
        """
        said = Feedback(
            tenant=tenant,
            id=f"fb-{uuid.uuid4().hex}",
            interaction_id=interaction_id,
            kind=kind,
            value=value,
            origin=origin,
            created_at=time.time() if created_at is None else created_at,
            key_id=key_id,
        )
        check_feedback(said)
        named = replace(said, person=self.pseudonym(tenant, person))
        return self.store_feedback(named, idempotency_key)

    def store_feedback(self, said: Feedback, idempotency_key: str = "") -> Feedback:
        """As `record_feedback`, of a person who has the pseudonym already."""
        check_feedback(said)
        check_idempotency_key(idempotency_key)
        clean = cleaned_feedback(said, self._deidentifier())
        stored = self._writer.write(said.tenant, ToStore(clean, idempotency_key))
        assert isinstance(stored, Feedback)
        return stored

    def store_many(self, tenant: str, values: Sequence[Said]) -> list[Said | NoriaError]:
        """Store values of one tenant in one transaction, in their order, persons as pseudonyms.

        Returns for each what stands in the store, or why it does not.
        """
        ready = []
        for value in values:
            if isinstance(value, Interaction):
                check_interaction(value)
                ready.append(ToStore(cleaned_interaction(value, self._deidentifier())))
            else:
                check_feedback(value)
                ready.append(ToStore(cleaned_feedback(value, self._deidentifier())))
        return self._store(tenant, ready)

    def find(self, tenant: str, interaction_id: str) -> Interaction:
        """The tenant's interaction of that id. Raises UnknownName."""
        check_name("interaction_id", interaction_id)
        same = interactions_table.c.id == interaction_id
        with self.database.read(tenant) as connection:
            found = self._rows(connection, tenant, interactions_table, same)
        if not found:
            raise unknown_interaction()
        assert isinstance(found[0], Interaction)
        return found[0]

    def _rows(
        self, connection: Connection, tenant: str, table: Table, *conditions: Any
    ) -> list[Said]:
        """Rows of a tenant in the order stored, but those of erased persons."""
        query = select(table).where(table.c.tenant == tenant, *conditions)
        rows = connection.execute(query.order_by(table.c.position)).mappings().all()
        few = {row["data_key"] for row in rows} if conditions else None
        keys = self.keyring.data_keys(connection, tenant, few)
        found = (from_row(table, row, keys) for row in rows)
        return [one for one in found if one is not None]

    def answered_by(self, tenant: str, weight_hash: str, limit: int) -> list[str]:
        """The ids of the latest interactions that these weights answered, the last one first."""
        table = interactions_table
        mine = (table.c.tenant == tenant, table.c.weight_hash == weight_hash)
        query = select(table.c.id).where(*mine).order_by(table.c.position.desc()).limit(limit)
        with self.database.read(tenant) as connection:
            return list(connection.execute(query).scalars())

    def interactions(self, tenant: str) -> list[Interaction]:
        """Every interaction of a tenant, in the order in which they were stored."""
        with self.database.read(tenant) as connection:
            rows = self._rows(connection, tenant, interactions_table)
        return [one for one in rows if isinstance(one, Interaction)]

    def feedback(self, tenant: str, interaction_id: str = "") -> list[Feedback]:
        """Everything a tenant's people said, or all of one interaction, in the order stored."""
        check_name("interaction_id", interaction_id)
        of_one = feedback_table.c.interaction_id == interaction_id
        with self.database.read(tenant) as connection:
            rows = self._rows(
                connection, tenant, feedback_table, *([of_one] if interaction_id else [])
            )
        return [one for one in rows if isinstance(one, Feedback)]

    def tenants(self) -> list[str]:
        """Every tenant that was answered."""
        return self.database.tenants("interactions")

    def said(self, tenant: str) -> list[tuple[Interaction, Feedback]]:
        """Everything a tenant's people said, with what they said it of, in the order stored.

        Several people's words on one interaction are all there, and so are the same person's.
        """
        with self.database.read(tenant) as connection:
            feedback = self._rows(connection, tenant, feedback_table)
            asked = {
                one.id: one
                for one in self._rows(connection, tenant, interactions_table)
                if isinstance(one, Interaction)
            }
        return [
            (asked[said.interaction_id], said)
            for said in feedback
            if isinstance(said, Feedback) and said.interaction_id in asked
        ]

    def counts(
        self, tenant: str, since: Mapping[str, float] | None = None
    ) -> dict[tuple[str, str], Count]:
        """How much a tenant's people said, by model and kind; no text is opened.

        since: for a model, the time after which a piece counts as fresh; else all do.
        """
        with self.database.read(tenant) as connection:
            return count_said(connection, tenant, since or {})

    def thumbs(self, tenant: str, after: int = 0) -> list[Thumb]:
        """The thumbs of a tenant behind a position, in the order stored."""
        with self.database.read(tenant) as connection:
            return thumbs_after(connection, self.keyring, tenant, after)

    def corrections(self, tenant: str) -> list[tuple[Interaction, Feedback]]:
        """Every correction of a tenant with the interaction it corrects, in the order stored.

        Those of applications are left out: they are no text for a language model to write.
        """
        return [
            (asked, said)
            for asked, said in self.said(tenant)
            if said.kind == "correction" and asked.kind != "task"
        ]

    def close(self) -> None:
        """Close every connection to the database."""
        self.database.close()
