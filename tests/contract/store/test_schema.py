"""The migrations make exactly the tables that the program uses, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from federation.errors import Code, LiaisonError
from hub.store.database import migrate
from hub.store.tables import Base


def test_the_migrated_schema_is_that_of_the_tables(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_twice_changes_nothing(open_engine: Callable[[], Engine]) -> None:
    first = open_engine()
    with first.begin() as connection:
        connection.execute(text("INSERT INTO agency (id, name, created_at) VALUES ('a', 'A', 'now')"))
    second = open_engine()
    assert set(inspect(second).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    with second.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM agency")) == 1


def test_a_database_of_a_newer_program_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LiaisonError) as caught:
        migrate(engine)
    assert caught.value.code is Code.INTERNAL


def test_sqlite_keeps_what_it_acknowledged_and_forgets_what_it_deleted(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("settings of SQLite")
    with engine.connect() as connection:
        settings = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
