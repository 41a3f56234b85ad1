"""The databases that the store must work on; each URL is a template in which `{folder}` is a fresh folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from federation.log import NoteSigner
from hub.store.database import migrate, open_database

# Another database is tested by naming it, e.g. LIAISON_TEST_DATABASES="postgresql+psycopg://...".
URLS = ["sqlite:///{folder}/hub.db", *filter(None, os.environ.get("LIAISON_TEST_DATABASES", "").split())]


@pytest.fixture(params=URLS, ids=lambda url: url.partition(":")[0])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return str(request.param).format(folder=tmp_path)


@pytest.fixture
def open_engine(url: str) -> Iterator[Callable[[], Engine]]:
    """Open the database, as a process would; migrated."""
    opened: list[Engine] = []

    def open_it() -> Engine:
        engine = open_database(url)
        opened.append(engine)
        migrate(engine)
        return engine

    yield open_it
    for engine in opened:
        engine.dispose()


@pytest.fixture
def engine(open_engine: Callable[[], Engine]) -> Engine:
    """The database, open."""
    return open_engine()


@pytest.fixture
def signer() -> NoteSigner:
    """The log's key."""
    return NoteSigner("delta.liaison/log", Ed25519PrivateKey.from_private_bytes(bytes(32)))
