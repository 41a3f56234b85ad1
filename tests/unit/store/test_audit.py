"""Whoever changes the log in the database is found out by verifying it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from federation.log import EntryType, KeyType, LogEntry, NoteSigner, Report, cosign
from hub.store.audit import verify_database
from hub.store.database import migrate, open_database
from hub.store.log import LogReader
from hub.store.tables import CosignatureRow
from hub.store.writer import Transaction, Writer

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SIGNER = NoteSigner("delta.liaison/log", Ed25519PrivateKey.from_private_bytes(bytes(32)))
WITNESS = NoteSigner("a/main", Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))
WITNESS_KEY = WITNESS.verifier_key(KeyType.COSIGNATURE)


def fill(engine: Engine, name: str = "event") -> None:
    def job(transaction: Transaction) -> None:
        for number in range(3):
            transaction.append(EntryType.REQUEST, {name: number}, f"secret {number}".encode())

    writer = Writer(engine, SIGNER, lambda: AT)
    writer.write(lambda transaction: transaction.append(EntryType.REGION, {"version": 1}))
    for _ in range(5):
        writer.write(job)
    writer.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A log of sixteen entries under six checkpoints, one of them witnessed."""
    engine = open_database(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(engine)
    fill(engine)
    with Session(engine) as session, session.begin():
        note = LogReader(session).cosigned(13)
        session.add(CosignatureRow(size=13, witness="a/main", line=cosign(note, WITNESS, 1_772_366_400)))
    yield engine
    engine.dispose()


def report(engine: Engine, since: bytes | None = None) -> Report:
    with Session(engine) as session:
        return verify_database(session, SIGNER.verifier_key(), [WITNESS_KEY], since)


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_an_untouched_log_verifies(engine: Engine) -> None:
    found = report(engine)
    assert found.problems == ()
    assert (found.size, found.entries) == (16, {"region": 1, "request": 15})
    assert found.witnesses == (("a/main", 1_772_366_400),)


def test_an_erased_payload_does_not_break_the_log(engine: Engine) -> None:
    run(engine, 'DELETE FROM log_payload WHERE "index" = 5')
    assert report(engine).verified


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ('DELETE FROM log_leaf WHERE "index" = 7', "only 7 are there"),
        ('DELETE FROM log_leaf WHERE "index" = 0', "only 0 are there"),
        ('DELETE FROM log_leaf WHERE "index" = 15', "only 15 are there"),
        ("DELETE FROM log_leaf", "only 0 are there"),
        (
            "UPDATE log_leaf SET entry = replace(entry, '0}', '9}') WHERE \"index\" = 4",
            "level 0, index 4 does not",
        ),
        ("UPDATE log_leaf SET entry = 'x' WHERE \"index\" = 4", "Entry 4"),
        ("UPDATE log_leaf SET type = 'answer' WHERE \"index\" = 4", "filed as answer"),
        ('UPDATE log_node SET hash = zeroblob(32) WHERE level = 2 AND "index" = 1', "level 2, index 1"),
        ('DELETE FROM log_node WHERE level = 0 AND "index" = 3', "level 0, index 3"),
        ("INSERT INTO log_node VALUES (0, 99, zeroblob(32))", "1 hashes of entries that are not there"),
        ("DELETE FROM checkpoint WHERE size = 16", "no checkpoint of all 16"),
        (
            "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 4) WHERE size = 16",
            "one of 4",
        ),
        ("UPDATE checkpoint SET note = 'nonsense' WHERE size = 7", "Checkpoint 7"),
        ("UPDATE log_payload SET payload = 'other' WHERE \"index\" = 5", "payload of entry 5"),
        ("UPDATE cosignature SET line = replace(line, 'a/main', 'b/main')", None),
    ],
)
def test_what_was_changed_is_named(engine: Engine, tampering: str, said: str | None) -> None:
    run(engine, tampering)
    found = report(engine)
    if said is None:  # a witness that nobody knows proves nothing, and is nobody's fault
        assert found.witnesses == ()
        return
    assert not found.verified
    assert any(said in problem for problem in found.problems), found.problems


def test_a_checkpoint_that_another_key_signed_is_found(engine: Engine) -> None:
    thief = NoteSigner(SIGNER.name, Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32))
    with Session(engine) as session:
        found = verify_database(session, thief.verifier_key())
    assert sum("Checkpoint" in problem for problem in found.problems) == 6


def test_a_cosignature_that_does_not_verify_is_found(engine: Engine) -> None:
    run(engine, "UPDATE cosignature SET size = 16")
    assert any("cosignature of a/main" in problem for problem in report(engine).problems)


def test_a_log_written_anew_with_its_own_key_is_found_by_a_kept_checkpoint(
    tmp_path: Path, engine: Engine
) -> None:
    with Session(engine) as session:
        kept = LogReader(session).cosigned(13)
    assert report(engine, kept).verified
    other = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    migrate(other)
    fill(other, "another")
    assert report(other).verified
    assert any("older checkpoint" in problem for problem in report(other, kept).problems)
    other.dispose()


def test_a_log_cut_short_together_with_its_checkpoints_is_found_by_a_kept_one(engine: Engine) -> None:
    with Session(engine) as session:
        kept = LogReader(session).cosigned(16)
    cut: Callable[[str, str], str] = lambda table, where: f"DELETE FROM {table} WHERE {where}"  # noqa: E731
    run(
        engine,
        cut("log_leaf", '"index" >= 13'),
        cut("log_payload", '"index" >= 13'),
        cut("checkpoint", "size > 13"),
        cut("log_node", '("index" + 1) << level > 13'),
    )
    assert report(engine).verified
    assert any("only 13 are there" in problem for problem in report(engine, kept).problems)


def test_a_log_larger_than_a_batch_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    for batch in (1, 2, 3, 5, 16, 17):
        monkeypatch.setattr("hub.store.audit._BATCH", batch)
        found = report(engine)
        assert (found.problems, found.size) == ((), 16)


def test_an_entry_is_the_time_of_its_transaction(engine: Engine) -> None:
    with Session(engine) as session:
        entry = LogReader(session).entry(0)
    assert entry == LogEntry(EntryType.REGION, AT, {"version": 1}).encode()
