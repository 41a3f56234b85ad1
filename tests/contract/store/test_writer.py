"""The one writer: what is acknowledged is on the disk with its log entries, what failed is nowhere, no log forks."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from federation.log import (
    EntryType,
    NoteSigner,
    leaf_hash,
    open_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from hub.store.audit import verify_database
from hub.store.log import LogReader
from hub.store.tables import AgencyRow, CheckpointRow, LeafRow
from hub.store.writer import Transaction, Writer

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def enter(agency: str) -> Callable[[Transaction], int]:
    def job(transaction: Transaction) -> int:
        transaction.session.add(AgencyRow(id=agency, name=agency, created_at=transaction.now))
        return transaction.append(EntryType.AGENCY, {"agency": agency}).index

    return job


def held(writer: Writer) -> tuple[threading.Event, Future[None]]:
    """Keep the writer busy, so that what is submitted meanwhile makes one group."""
    go, started = threading.Event(), threading.Event()

    def job(_: Transaction) -> None:
        started.set()
        go.wait(30)

    future = writer.submit(job)
    started.wait(30)
    return go, future


def count(engine: Engine, table: Any) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def verified(engine: Engine, signer: NoteSigner) -> int:
    with Session(engine) as session:
        report = verify_database(session, signer.verifier_key())
    assert report.problems == ()
    return report.size


@pytest.fixture
def writer(engine: Engine, signer: NoteSigner) -> Any:
    made = Writer(engine, signer, lambda: AT)
    yield made
    made.close()


def test_a_group_of_jobs_makes_one_commit_and_one_checkpoint(
    writer: Writer, engine: Engine, signer: NoteSigner
) -> None:
    go, _ = held(writer)
    futures = [writer.submit(enter(f"a{number}")) for number in range(20)]
    go.set()
    assert [future.result(30) for future in futures] == list(range(20))
    assert count(engine, CheckpointRow) == 1
    assert verified(engine, signer) == 20


def test_a_job_that_raises_is_undone_alone_with_its_rows_leaves_and_calls(
    writer: Writer, engine: Engine, signer: NoteSigner
) -> None:
    called: list[str] = []

    def bad(transaction: Transaction) -> None:
        enter("bad")(transaction)
        transaction.after_commit.append(lambda: called.append("bad"))
        raise LiaisonError(Code.STATE_CONFLICT)

    def good(transaction: Transaction) -> int:
        transaction.after_commit.append(lambda: called.append("good"))
        return enter("after")(transaction)

    go, _ = held(writer)
    futures: list[Future[Any]] = [writer.submit(job) for job in (enter("before"), bad, good)]
    go.set()
    wait(futures, 30)
    assert isinstance(futures[1].exception(), LiaisonError)
    assert [futures[0].result(), futures[2].result()] == [0, 1]
    writer.write(lambda _: None)
    assert called == ["good"]
    with Session(engine) as session:
        assert set(session.scalars(select(AgencyRow.id))) == {"before", "after"}
    assert verified(engine, signer) == 2


def test_a_job_that_breaks_a_constraint_is_undone_alone(
    writer: Writer, engine: Engine, signer: NoteSigner
) -> None:
    go, _ = held(writer)
    futures = [writer.submit(enter(name)) for name in ("a", "a", "b")]
    go.set()
    wait(futures, 30)
    assert futures[0].result() == 0
    assert isinstance(futures[1].exception(), IntegrityError)
    assert futures[2].result() == 1
    assert verified(engine, signer) == 2


def test_a_commit_that_fails_fails_everybody_and_stores_nothing(engine: Engine) -> None:
    class Broken(NoteSigner):
        def verifier_key(self, *args: Any) -> Any:
            raise RuntimeError

    signer = object.__new__(Broken)
    object.__setattr__(signer, "name", "delta.liaison/log")
    object.__setattr__(signer, "key", None)
    writer = Writer(engine, signer, lambda: AT)
    go, _ = held(writer)
    futures = [writer.submit(enter(name)) for name in ("a", "b")]
    go.set()
    for future in futures:
        error = future.exception(30)
        assert isinstance(error, LiaisonError)
        assert error.code is Code.LOG_UNAVAILABLE
    writer.close()
    assert (count(engine, AgencyRow), count(engine, LeafRow), count(engine, CheckpointRow)) == (0, 0, 0)


def test_a_call_after_the_commit_that_raises_does_not_stop_the_writer(writer: Writer) -> None:
    def job(transaction: Transaction) -> int:
        transaction.after_commit.append(lambda: 1 // 0)
        return enter("a")(transaction)

    assert writer.write(job) == 0
    assert writer.write(enter("b")) == 1


def test_every_checkpoint_is_consistent_with_the_next_and_holds_every_entry(
    writer: Writer, engine: Engine, signer: NoteSigner
) -> None:
    for number in range(9):
        writer.write(enter(f"a{number}"))
    with Session(engine) as session:
        log = LogReader(session)
        notes = session.scalars(select(CheckpointRow.note).order_by(CheckpointRow.size)).all()
        checkpoints = [open_checkpoint(note, signer.name, signer.verifier_key()) for note in notes]
        assert [c.size for c in checkpoints] == list(range(1, 10))
        for first, second in pairwise(checkpoints):
            proof = log.consistency(first.size, second.size)
            verify_consistency(first.size, second.size, proof, first.root, second.root)
        last = checkpoints[-1]
        for index in range(last.size):
            proof = log.inclusion(index, last.size)
            verify_inclusion(leaf_hash(log.entry(index)), index, last.size, proof, last.root)


def test_jobs_from_many_threads_never_fork_the_log(
    writer: Writer, engine: Engine, signer: NoteSigner
) -> None:
    def work(name: str) -> None:
        for number in range(10):
            writer.write(enter(f"{name}-{number}"))

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert verified(engine, signer) == 40


PROCESS = """
import sys
from datetime import UTC, datetime
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from federation.log import EntryType, NoteSigner
from hub.store.database import migrate, open_database
from hub.store.writer import Writer

url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = open_database(url)
migrate(engine)
key = Ed25519PrivateKey.from_private_bytes(bytes(32))
writer = Writer(engine, NoteSigner("delta.liaison/log", key), lambda: datetime.now(UTC))
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    index = writer.write(lambda t: t.append(EntryType.AGENCY, {"by": name, "number": number}).index)
    print(index, flush=True)
writer.close()
"""


def start(url: str, name: str, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, url, name, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
def test_two_processes_that_write_at_once_make_one_log(url: str, engine: Engine, signer: NoteSigner) -> None:
    processes = [start(url, name, 60) for name in ("cli", "broker")]
    for process in processes:
        begin(process)
    indexes = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(int(index) for given in indexes for index in given) == list(range(120))
    assert verified(engine, signer) == 120


@pytest.mark.slow
def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(
    url: str, open_engine: Callable[[], Engine], signer: NoteSigner
) -> None:
    open_engine().dispose()
    process = start(url, "victim", 100_000)
    begin(process)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(25)]
    process.kill()
    acknowledged += [int(line) for line in process.communicate(timeout=60)[0].split("\n")[:-1]]
    engine = open_engine()
    assert verified(engine, signer) >= len(acknowledged)
    with Session(engine) as session:
        assert set(acknowledged) <= set(session.scalars(select(LeafRow.index)))
    writer = Writer(engine, signer, lambda: AT)
    writer.write(enter("after"))
    writer.close()
    verified(engine, signer)
