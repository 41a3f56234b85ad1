"""Opening the hub's database: SQLite with WAL and synchronous=FULL by default, migrated to the newest schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event

from federation.errors import Code, LiaisonError

_MIGRATIONS = Path(__file__).parent / "migrations"


def database_url(home: Path) -> str:
    """The default database of a hub's home."""
    return f"sqlite:///{home / 'hub.db'}"


def open_database(url: str) -> Engine:
    """An engine on the database at `url`. Every commit is on the disk before it is acknowledged."""
    # An error's text must never show what was being stored.
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema to its newest revision. Raises LiaisonError(INTERNAL) when it is newer than this program."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    # Immediate, so that of two processes that start at once the second finds the work done.
    with engine.connect().execution_options(immediate=True) as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise LiaisonError(
                Code.INTERNAL, "The database was made by a newer version of this program."
            ) from error
        connection.commit()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # autocommit off in the driver: SQLAlchemy's own BEGIN below decides how a transaction starts.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=10000",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
