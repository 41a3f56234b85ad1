"""The hub's log: group commit through the one writer, beside a bare SQLite commit per row on the same disk."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from concurrent.futures import wait
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure
from federation.identity.keys import new_signing_key
from federation.log import EntryType, NoteSigner
from hub.store.database import migrate, open_database
from hub.store.writer import Transaction, Writer

_LEAVES = 5000
_BARE = 300


def run() -> list[Figure]:
    """Leaves per second that are on the disk, hashed in and under a signed checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        bare = _bare(Path(folder))
        grouped = _grouped(Path(folder))
    name = "log"
    return [
        Figure(name, "sqlite FULL, a commit a row", bare, "rows/s"),
        Figure(
            name, "leaves through the writer", grouped, "leaves/s", "a commit a row", grouped / bare, ">= 1"
        ),
    ]


def _bare(folder: Path) -> float:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, entry BLOB)")
    start = time.perf_counter()
    for _ in range(_BARE):
        connection.execute("INSERT INTO row (entry) VALUES (?)", (b"x" * 300,))
    seconds = time.perf_counter() - start
    connection.close()
    return _BARE / seconds


def _grouped(folder: Path) -> float:
    engine = open_database(f"sqlite:///{folder / 'hub.db'}")
    migrate(engine)
    writer = Writer(engine, NoteSigner("bench.example/log", new_signing_key()), lambda: datetime.now(UTC))

    def append(transaction: Transaction) -> None:
        transaction.append(
            EntryType.REQUEST, {"request": "0" * 32, "purpose": "criminal-investigation"}, b"payload"
        )

    start = time.perf_counter()
    wait([writer.submit(append) for _ in range(_LEAVES)])
    seconds = time.perf_counter() - start
    writer.close()
    engine.dispose()
    return _LEAVES / seconds
