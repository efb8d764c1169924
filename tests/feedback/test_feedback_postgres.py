"""PostgreSQL keeps tenants apart by itself, whatever a query forgets to say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from places import Place
from postgres_server import Server
from sqlalchemy import insert, text, update

from noria.errors import FormatError, StorageError, UsageError
from noria.feedback.cipher import MasterKeys, new_key
from noria.feedback.store import FeedbackStore
from noria.feedback.tables import STORE_FORMAT, feedback_table, tables
from noria.postgres import PostgresDatabase


@pytest.fixture
def place(server: Server) -> Iterator[Place]:
    place = Place(server.new_database(), MasterKeys((new_key(),)))
    yield place
    for store in place.opened:
        store.close()


@pytest.fixture
def store(place: Place) -> FeedbackStore:
    store = place.open()
    for tenant in ("acme", "other"):
        store.record_interaction(
            tenant=tenant,
            interaction_id="cmpl-1",
            model_name="m",
            weight_hash="ab" * 32,
            kind="completion",
            prompt="p",
            answer="a",
            person="jo",
        )
        store.record_feedback(tenant, "cmpl-1", "thumb", "up")
    return store


def test_a_query_that_names_no_tenant_sees_nothing(store: FeedbackStore) -> None:
    database = store.database
    assert isinstance(database, PostgresDatabase)
    for table in tables.tables:
        count = text(f"SELECT count(*) FROM {table}")
        with database._engine.connect() as connection:
            assert connection.execute(count).scalar_one() == 0
        with database.read() as connection:
            assert connection.execute(count).scalar_one() == 0
        with database.read("acme") as connection:
            num_mine = connection.execute(count).scalar_one()
            tenants = connection.execute(text(f"SELECT DISTINCT tenant FROM {table}")).scalars()
            assert num_mine > 0 and list(tenants) == ["acme"]
        with database._engine.connect() as connection:  # the setting ended with its transaction
            assert connection.execute(count).scalar_one() == 0


def test_a_tenants_transaction_writes_no_other_tenants_rows(store: FeedbackStore) -> None:
    with store.database.read("other") as connection:
        row = dict(connection.execute(feedback_table.select()).mappings().one())
    moved = {**row, "id": "fb-new", "position": 9}
    with (
        pytest.raises(StorageError, match="row-level security"),
        store.database.write("acme") as connection,
    ):
        connection.execute(insert(feedback_table), moved)
    with store.database.write("acme") as connection:
        changed = connection.execute(update(feedback_table).values(kind="comment"))
        assert changed.rowcount == 1
    assert [one.kind for one in store.feedback("other")] == ["thumb"]


def test_the_policies_bind_after_every_tenant_was_listed(store: FeedbackStore) -> None:
    assert store.database.tenants("tenant_keys") == ["acme", "other"]
    test_a_query_that_names_no_tenant_sees_nothing(store)


def test_a_role_that_no_policy_binds_is_refused(server: Server, place: Place) -> None:
    with pytest.raises(UsageError, match="row-level security does not bind"):
        FeedbackStore(server.url("postgres", "postgres"), master=place.master)


def test_tables_of_somebody_else_are_left_alone(place: Place) -> None:
    database = PostgresDatabase(
        str(place.where), tables, kind="a test", application_id=1, version=1, schema="noria"
    )
    database.close()
    with pytest.raises(FormatError, match="somebody else"):
        place.open()


def test_tables_of_the_format_before_are_migrated(store: FeedbackStore, place: Place) -> None:
    database = store.database
    assert isinstance(database, PostgresDatabase)
    with database._engine.connect() as connection, connection.begin():
        connection.execute(text("DROP INDEX interactions_of_weights"))
        connection.execute(text("UPDATE noria_formats SET format = 3"))
    again = place.open()
    assert again.answered_by("acme", "ab" * 32, 5) == ["cmpl-1"]
    with database._engine.connect() as connection:
        found = connection.execute(text("SELECT format FROM noria_formats")).scalars()
        names = connection.execute(text("SELECT indexname FROM pg_indexes")).scalars()
        assert set(found) == {STORE_FORMAT} and "interactions_of_weights" in set(names)


def test_recipes_share_a_database_and_nothing_else(store: FeedbackStore, place: Place) -> None:
    assert place.open(name="help-desk").said("acme") == []
    assert len(place.open().said("acme")) == 1


def test_a_server_that_is_not_there_is_a_storage_error(place: Place) -> None:
    with pytest.raises(StorageError, match="did not do it"):
        FeedbackStore("postgresql://noria@127.0.0.1:1/nothing", master=place.master)
    for wrong in ("mysql://a@b/c", "nothing"):
        with pytest.raises(UsageError, match="no address of PostgreSQL"):
            FeedbackStore(wrong, master=place.master)


def test_what_was_acknowledged_survives_a_crash_of_the_server(
    server: Server, place: Place, store: FeedbackStore
) -> None:
    said = store.record_feedback("acme", "cmpl-1", "correction", "It arrived.")
    server.stop("immediate")
    with pytest.raises(StorageError):
        store.record_feedback("acme", "cmpl-1", "correction", "lost")
    server.start()
    assert store.corrections("acme")[-1][1] == said
    assert place.open().corrections("acme")[-1][1] == said
