"""The one writer: every change of the hub's database and every log entry go through one thread, in groups.

Jobs that wait are done in one transaction, each in a savepoint; then the log's new leaves are hashed in, one
checkpoint is signed, and one commit makes all of it durable. Only then are the callers answered. So what is
acknowledged is on the disk together with its log entries, or it is nowhere.

A job that raises is undone alone. When the commit itself fails, all its jobs fail with LOG_UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy import Engine, insert
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.log import (
    Checkpoint,
    EntryType,
    LogEntry,
    NoteSigner,
    append_nodes,
    commit,
    leaf_hash,
    root,
    sign_checkpoint,
)
from hub.store.log import Hashes, LogReader
from hub.store.tables import CheckpointRow, HashRow, LeafRow, PayloadRow

T = TypeVar("T")
_GROUP = 256
# Errors of the database that say something about one job, not about the database.
_OF_THE_JOB = (IntegrityError, DataError)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf that this transaction appends, with what its entry commits to."""

    index: int
    type: EntryType
    entry: bytes
    salt: bytes
    payload: bytes | None


class Transaction:
    """What a job may use: the session, the time, and the log's end."""

    def __init__(self, session: Session, size: int, at: datetime) -> None:
        self.session = session
        self.at = at
        self.now = stamp(at)
        self.leaves: list[Leaf] = []
        self._size = size
        self.after_commit: list[Callable[[], None]] = []

    def append(self, kind: EntryType, facts: dict[str, Any], payload: bytes | None = None) -> Leaf:
        """Append an event to the log: public facts, and a salted commitment to a private payload if there is one."""
        salt = secrets.token_bytes(32)
        entry = LogEntry(
            kind, self.at, facts, commit(payload, salt) if payload is not None else None
        ).encode()
        leaf = Leaf(self._size + len(self.leaves), kind, entry, salt, payload)
        self.leaves.append(leaf)
        return leaf


Job = Callable[[Transaction], T]


class Writer:
    """The writer's thread. `clock` gives aware datetimes; `signer` signs the log's checkpoints."""

    def __init__(self, engine: Engine, signer: NoteSigner, clock: Callable[[], datetime]) -> None:
        self._engine = engine.execution_options(immediate=True)
        self._signer = signer
        self._clock = clock
        self._hashes = Hashes()
        self._jobs: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="hub-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job[T]) -> Future[T]:
        """Queue a job; the future is done when its transaction is on the disk."""
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return future

    def write(self, job: Job[T]) -> T:
        """Do a job and wait for it: for the command line."""
        return self.submit(job).result()

    async def run(self, job: Job[T]) -> T:
        """Do a job and await it: for the broker."""
        return await asyncio.wrap_future(self.submit(job))

    def close(self) -> None:
        """Finish what is queued and stop."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            group, last = self._next_group()
            if group:
                self._commit(group)
            if last:
                return

    def _next_group(self) -> tuple[list[tuple[Job[Any], Future[Any]]], bool]:
        group: list[tuple[Job[Any], Future[Any]]] = []
        block = True
        while len(group) < _GROUP:
            try:
                item = self._jobs.get(block=block)
            except queue.Empty:
                break
            if item is None:
                return group, True
            if item[1].set_running_or_notify_cancel():
                group.append(item)
            block = False
        return group, False

    def _commit(self, group: list[tuple[Job[Any], Future[Any]]]) -> None:
        results: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                log = LogReader(session)
                transaction = Transaction(session, log.size(), self._clock())
                for job, future in group:
                    results.append((future, *_attempt(job, transaction)))
                self._integrate(transaction, log)
        except Exception as error:
            refusal = LiaisonError(Code.LOG_UNAVAILABLE)
            for _, future in group:
                future.set_exception(refusal)
            _log.error("commit-failed", kind=type(error).__name__)
            return
        for future, value, raised in results:
            if raised is None:
                future.set_result(value)
            else:
                future.set_exception(raised)
        for call in transaction.after_commit:
            try:
                call()
            except (
                Exception
            ) as error:  # it is done and acknowledged; who was to be told finds it in the database
                _log.error("after-commit-failed", kind=type(error).__name__)

    def _integrate(self, transaction: Transaction, log: LogReader) -> None:
        if not transaction.leaves:
            return
        size = transaction.leaves[0].index
        hashes = [leaf_hash(leaf.entry) for leaf in transaction.leaves]
        old = self._hashes.reader(log)
        fresh = {(level, index): value for level, index, value in append_nodes(size, hashes, old)}
        _insert_leaves(transaction.session, transaction.leaves)
        rows = [{"level": level, "index": index, "hash": value} for (level, index), value in fresh.items()]
        transaction.session.execute(insert(HashRow), rows)

        def read(level: int, index: int) -> bytes:
            return fresh.get((level, index)) or old(level, index)

        grown = size + len(hashes)
        checkpoint = Checkpoint(self._signer.name, grown, root(grown, read))
        transaction.session.add(CheckpointRow(size=grown, note=sign_checkpoint(checkpoint, self._signer)))


def _insert_leaves(session: Session, leaves: Sequence[Leaf]) -> None:
    rows = [{"index": leaf.index, "type": leaf.type.value, "entry": leaf.entry} for leaf in leaves]
    session.execute(insert(LeafRow), rows)
    private = [leaf for leaf in leaves if leaf.payload is not None]
    if private:
        payloads = [{"index": leaf.index, "salt": leaf.salt, "payload": leaf.payload} for leaf in private]
        session.execute(insert(PayloadRow), payloads)


def _attempt(job: Job[Any], transaction: Transaction) -> tuple[Any, BaseException | None]:
    """Do one job in a savepoint; undo it alone, with its leaves and its calls, when it raises."""
    leaves, calls = len(transaction.leaves), len(transaction.after_commit)
    savepoint = transaction.session.begin_nested()
    try:
        value = job(transaction)
        savepoint.commit()
        return value, None
    except Exception as error:
        if isinstance(error, SQLAlchemyError) and not isinstance(error, _OF_THE_JOB):
            raise
        savepoint.rollback()
        del transaction.leaves[leaves:]
        del transaction.after_commit[calls:]
        return None, error
