"""The store of interactions and feedback: on disk before anybody hears "ok".

In: interactions and what was said of them. Out: the same, in the order in which they came, of one
tenant at a time. Personal identities are replaced before a text touches the disk.
This module knows no HTTP, no model and no training.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from sqlalchemy import Connection, Table, func, insert, select

from noria.corpus.deidentify import Deidentifier
from noria.database import Database
from noria.errors import UnknownName, UsageError
from noria.feedback.interactions import (
    IMPLICIT_KINDS,
    Feedback,
    Interaction,
    check_feedback,
    check_idempotency_key,
    check_interaction,
    check_text,
    pseudonym,
)
from noria.feedback.migrations import MIGRATIONS
from noria.feedback.tables import (
    APPLICATION_ID,
    FEEDBACK_COLUMNS,
    INTERACTION_COLUMNS,
    STORE_FORMAT,
    feedback_from_row,
    feedback_table,
    interaction_from_row,
    interactions_table,
    tables,
)


def _messages(kind: str, prompt: str) -> list[dict[str, str]] | None:
    """The messages of a chat's prompt; None for a completion's."""
    if kind != "chat":
        return None
    try:
        return [
            {"role": str(turn["role"]), "content": str(turn["content"])}
            for turn in json.loads(prompt)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "a chat's prompt that is not a list of messages",
            'JSON: [{"role": …, "content": …}, …]',
            "make it with chat_prompt",
        ) from error


def _cleaned(asked: Interaction, deidentifier: Deidentifier) -> Interaction:
    """The interaction as it may be stored: no identities in its texts, no name of a person.

    Of a chat every content goes by itself, so that JSON stays JSON.
    """
    turns = _messages(asked.kind, asked.prompt)
    said = [asked.prompt] if turns is None else [turn["content"] for turn in turns]
    (*said, answer), _ = deidentifier.replace_together([*said, asked.answer])
    if turns is None:
        (prompt,) = said
    else:
        clean = [{**turn, "content": text} for turn, text in zip(turns, said, strict=True)]
        prompt = json.dumps(clean, ensure_ascii=False)
    return replace(
        asked, prompt=prompt, answer=answer, person=pseudonym(asked.tenant, asked.person)
    )


def _unknown_interaction() -> UnknownName:
    # The same words for "never was" and "is another tenant's": neither may be told apart.
    return UnknownName("no such interaction", "the id of an answer that this key was given")


def _next_position(connection: Connection, table: Table, tenant: str) -> int:
    highest = select(func.max(table.c.position)).where(table.c.tenant == tenant)
    return (connection.execute(highest).scalar() or 0) + 1


def _reused_key() -> UsageError:
    return UsageError(
        "an idempotency key that was used for something else",
        "a new key for new content",
        "send the same content again, or another key",
    )


class FeedbackStore:
    """Interactions and feedback in one SQLite file; safe for many threads and processes.

    `deidentifier` is asked for before the first text is stored, and its errors are the caller's.
    """

    def __init__(self, path: Path, deidentifier: Callable[[], Deidentifier] = Deidentifier) -> None:
        self._deidentifier = deidentifier
        self._database = Database(
            path,
            tables,
            kind="a feedback store",
            application_id=APPLICATION_ID,
            version=STORE_FORMAT,
            migrations=MIGRATIONS,
        )

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
        check_idempotency_key(idempotency_key)
        return self._insert_interaction(_cleaned(asked, self._deidentifier()), idempotency_key)

    def _insert_interaction(self, asked: Interaction, idempotency_key: str) -> Interaction:
        table = interactions_table.c
        same = table.id == asked.id
        if idempotency_key:
            same |= table.idempotency_key == idempotency_key
        query = select(*INTERACTION_COLUMNS).where(table.tenant == asked.tenant, same)
        with self._database.write() as connection:
            rows = connection.execute(query).mappings()
            stored = [interaction_from_row(dict(row)) for row in rows]
            if any(_request_of(one) != _request_of(asked) for one in stored):
                raise _reused_key()
            if stored:
                return stored[0]
            position = _next_position(connection, interactions_table, asked.tenant)
            keys = {"position": position, "idempotency_key": idempotency_key or None}
            connection.execute(insert(interactions_table), {**asdict(asked), **keys})
        return asked

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
        table = interactions_table.c
        query = select(*INTERACTION_COLUMNS).where(
            table.tenant == tenant, table.idempotency_key == idempotency_key
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        stored = interaction_from_row(dict(row))
        asked = replace(stored, model_name=model_name, kind=kind, prompt=prompt, person=person)
        if _request_of(stored) != _request_of(_cleaned(asked, self._deidentifier())):
            raise _reused_key()
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
        for what, text in (("interaction_id", interaction_id), ("person", person)):
            check_text(what, text)
        check_feedback(kind, value, origin)
        if kind == "preference" and value == interaction_id:
            raise UsageError("a preference of an answer to itself", "the ids of two answers")
        check_idempotency_key(idempotency_key)
        said = Feedback(
            tenant=tenant,
            id=f"fb-{uuid.uuid4().hex}",
            interaction_id=interaction_id,
            kind=kind,
            value=self._deidentified(kind, value),
            origin=origin,
            created_at=time.time() if created_at is None else created_at,
            person=pseudonym(tenant, person),
            key_id=key_id,
        )
        return self._insert_feedback(said, idempotency_key)

    def _deidentified(self, kind: str, value: str) -> str:
        if kind == "preference" or kind in IMPLICIT_KINDS:  # an id, or nothing
            return value
        return self._deidentifier().replace(value)[0]

    def _insert_feedback(self, said: Feedback, idempotency_key: str) -> Feedback:
        table = feedback_table.c
        same_key = (table.tenant == said.tenant, table.idempotency_key == idempotency_key)
        wanted = {said.interaction_id, said.value if said.kind == "preference" else ""} - {""}
        known = select(func.count()).where(
            interactions_table.c.tenant == said.tenant, interactions_table.c.id.in_(wanted)
        )
        with self._database.write() as connection:
            query = select(*FEEDBACK_COLUMNS).where(*same_key)
            row = connection.execute(query).mappings().first() if idempotency_key else None
            if row is not None:
                stored = feedback_from_row(dict(row))
                now = {"id": said.id, "created_at": said.created_at, "key_id": said.key_id}
                if replace(stored, **now) != said:
                    raise _reused_key()
                return stored
            if connection.execute(known).scalar_one() < len(wanted):
                raise _unknown_interaction()
            position = _next_position(connection, feedback_table, said.tenant)
            keys = {"position": position, "idempotency_key": idempotency_key or None}
            connection.execute(insert(feedback_table), {**asdict(said), **keys})
        return said

    def find(self, tenant: str, interaction_id: str) -> Interaction:
        """The tenant's interaction of that id. Raises UnknownName."""
        query = select(*INTERACTION_COLUMNS).where(
            interactions_table.c.tenant == tenant, interactions_table.c.id == interaction_id
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise _unknown_interaction()
        return interaction_from_row(dict(row))

    def interactions(self, tenant: str) -> list[Interaction]:
        """Every interaction of a tenant, in the order in which they were stored."""
        query = (
            select(*INTERACTION_COLUMNS)
            .where(interactions_table.c.tenant == tenant)
            .order_by(interactions_table.c.position)
        )
        with self._database.read() as connection:
            return [interaction_from_row(dict(row)) for row in connection.execute(query).mappings()]

    def feedback(self, tenant: str) -> list[Feedback]:
        """Everything a tenant's people said, in the order in which it was stored."""
        query = (
            select(*FEEDBACK_COLUMNS)
            .where(feedback_table.c.tenant == tenant)
            .order_by(feedback_table.c.position)
        )
        with self._database.read() as connection:
            return [feedback_from_row(dict(row)) for row in connection.execute(query).mappings()]

    def said(self, tenant: str) -> list[tuple[Interaction, Feedback]]:
        """Everything a tenant's people said, with what they said it of, in the order stored.

        Several people's words on one interaction are all there, and so are the same person's.
        """
        # Feedback is read first: what it speaks of was stored before it.
        feedback = self.feedback(tenant)
        asked = {one.id: one for one in self.interactions(tenant)}
        return [(asked[said.interaction_id], said) for said in feedback]

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
        """Close every connection to the file."""
        self._database.close()


def _request_of(interaction: Interaction) -> tuple[str, ...]:
    """What a retry has to share with the request that it repeats."""
    return (interaction.kind, interaction.model_name, interaction.prompt, interaction.person)
