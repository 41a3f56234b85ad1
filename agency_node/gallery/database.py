"""The SQLite file that holds the records: how it is opened, brought up to date and written."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from agency_node.gallery import tables as t
from agency_node.gallery.vault import Vault
from federation.errors import Code, LiaisonError

# The newest revision under migrations/versions; alembic is loaded only when the file is not there yet.
NEWEST_REVISION = "0001"


class RecordsFile:
    """The SQLite file that holds the records of all galleries of one node.

    Raises KEY_UNREADABLE when `vault` has another key than the one that the records were written with.
    """

    def __init__(self, path: Path, vault: Vault) -> None:
        self._vault = vault
        with _translated():
            self._engine = _open_database(path)
        self._writes = self._engine.execution_options(writes=True)
        try:
            self.instance = self._identify()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Read in one snapshot."""
        with _translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Write in one transaction, on the disk when the block ends."""
        with _translated(), self._writes.begin() as connection:
            yield connection

    def _identify(self) -> str:
        """Return this file's own name, made at first, and check that the vault's key is the right one."""
        expected = self._vault.mark("key-check")
        with self.write() as connection:
            insert = sa.insert(t.meta).prefix_with("OR IGNORE")
            connection.execute(insert.values(key="key-check", value=expected))
            connection.execute(insert.values(key="instance", value=secrets.token_bytes(8)))
            known = {row.key: bytes(row.value) for row in connection.execute(sa.select(t.meta))}
        if not secrets.compare_digest(known["key-check"], expected):
            detail = "It is not the vault key that this node's galleries were encrypted with."
            raise LiaisonError(Code.KEY_UNREADABLE, detail)
        return known["instance"].hex()


def _open_database(path: Path) -> sa.Engine:
    """Open the records' SQLite file, made and brought up to date first.

    Every commit is on the disk before it returns (WAL with synchronous=FULL), and what is deleted is overwritten.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = sa.create_engine(f"sqlite:///{path}")
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    try:
        if _revision(engine) != NEWEST_REVISION:
            _migrate(engine, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _prepare(connection: sa.engine.interfaces.DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: `_begin` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    # A transaction that will write takes the lock at once: one that reads first and writes later can fail when
    # another process wrote in between, however long it waits.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return None if revision is None else str(revision)


def _migrate(engine: sa.Engine, path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    # Two processes may open a new home at the same moment; the second finds the work done.
    with path.with_suffix(".migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.execution_options(writes=True).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what SQLite raises into errors of the catalogue."""
    try:
        yield
    except sa.exc.OperationalError as error:
        raise LiaisonError(Code.STORAGE_FAILED, "This concerns the gallery's records.") from error
    except sa.exc.DatabaseError as error:
        raise LiaisonError(Code.GALLERY_DAMAGED, "This concerns the gallery's records.") from error
