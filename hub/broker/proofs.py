"""Proofs from the hub's log, read in one snapshot of the database."""

from __future__ import annotations

from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from federation.log import NodeReader, inclusion_proof
from hub.store.log import LogReader
from protos.liaison.v1 import broker_pb2

_MOST_HASHES = 1 << 16


class Hashes:
    """Hashes of complete subtrees that were read before. They never change, so neither does what is kept here."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bytes] = {}

    def reader(self, log: LogReader) -> NodeReader:
        """A reader that asks the database only for what is new. Safe in any thread."""

        def read(level: int, index: int) -> bytes:
            known = self._known.get((level, index))
            if known is None:
                if len(self._known) >= _MOST_HASHES:
                    self._known = {}
                known = self._known[level, index] = log.node(level, index)
            return known

        return read


def log_proof(session: Session, index: int, hashes: Hashes) -> broker_pb2.LogProof:
    """An entry with its salt, and the proof that it is in the tree of the newest checkpoint."""
    log = LogReader(session)
    newest = log.latest()
    if newest is None:
        raise LiaisonError(Code.LOG_DAMAGED, "The log has no checkpoint.")
    return broker_pb2.LogProof(
        entry=log.entry(index),
        salt=log.salt(index),
        index=index,
        checkpoint=newest.note,
        inclusion=inclusion_proof(index, newest.size, hashes.reader(log)),
    )


def newest_note(session: Session) -> tuple[int, bytes]:
    """Size and note of the newest checkpoint, with the cosignatures gathered for it; (0, b"") before the first."""
    log = LogReader(session)
    newest = log.latest()
    return (0, b"") if newest is None else (newest.size, log.cosigned(newest.size))
