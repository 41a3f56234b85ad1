"""What all of the broker's servicers work with: the store, the region's trust, the hub's own signature, the links."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from federation.identity.keys import Signer
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement, sign
from hub.broker.changes import Changes
from hub.broker.links import Links
from hub.broker.policies import Policies
from hub.store.log import Hashes
from hub.store.writer import Transaction, Writer

T = TypeVar("T")
# Readers share the interpreter with the writer and the event loop: more of them only make each other wait.
_READERS = 2


@dataclass(slots=True)
class Core:
    """The broker's shared parts; everything durable is in the database.

    `trust_at` gives what members believe at a time, with the newest bundle that the coordinator has published.
    `sooner` is set when a deadline may have come nearer than the one that the expiry job sleeps for.
    """

    region: str
    engine: Engine
    writer: Writer
    clock: Callable[[], datetime]
    trust_at: Callable[[datetime], Trust]
    signer: Signer
    certificate: bytes
    changes: Changes = field(default_factory=Changes)
    links: Links = field(default_factory=Links)
    policies: Policies = field(default_factory=Policies)
    hashes: Hashes = field(default_factory=Hashes)
    sooner: asyncio.Event = field(default_factory=asyncio.Event)
    _readers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_READERS, thread_name_prefix="hub-reader")
    )

    async def read(self, question: Callable[[Session], T]) -> T:
        """Ask the database in one snapshot, away from the event loop. Raises LiaisonError(STORAGE_FAILED)."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._ask, question)

    async def write(self, job: Callable[[Transaction], T], then: Callable[[T], None]) -> T:
        """Do a job of the writer. `then` runs in the event loop after the commit, even if the caller has gone by then:
        what is committed is always told."""
        loop = asyncio.get_running_loop()

        def told(transaction: Transaction) -> T:
            value = job(transaction)
            transaction.after_commit.append(partial(_soon, loop, then, value))
            return value

        return await self.writer.run(told)

    def sign(self, kind: str, payload: bytes) -> SignedStatement:
        """A statement of the hub."""
        return sign(kind, payload, self.signer, self.certificate)

    def close(self) -> None:
        """Finish what is queued and stop the threads."""
        self._readers.shutdown()
        self.writer.close()

    def _ask(self, question: Callable[[Session], T]) -> T:
        try:
            with Session(self.engine) as session:
                return question(session)
        except SQLAlchemyError as error:
            raise LiaisonError(Code.STORAGE_FAILED) from error


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[T], None], value: T) -> None:
    loop.call_soon_threadsafe(call, value)
