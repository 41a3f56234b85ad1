"""Proofs from the hub's log, read in one snapshot of the database."""

from __future__ import annotations

from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from federation.log import consistency_proof, inclusion_proof
from hub.store.log import Hashes, LogReader
from protos.liaison.v1 import broker_pb2


def log_proof(session: Session, index: int, hashes: Hashes, since: int) -> broker_pb2.LogProof:
    """An entry with its salt, and the proofs that the newest checkpoint has it and continues size `since`."""
    log = LogReader(session)
    newest = log.latest()
    if newest is None:
        raise LiaisonError(Code.LOG_DAMAGED, "The log has no checkpoint.")
    read = hashes.reader(log)
    continues = 0 < since <= newest.size
    return broker_pb2.LogProof(
        entry=log.entry(index),
        salt=log.salt(index),
        index=index,
        checkpoint=newest.note,
        inclusion=inclusion_proof(index, newest.size, read),
        since=since if continues else 0,
        consistency=consistency_proof(since, newest.size, read) if continues else [],
    )


def size_of(note: bytes) -> int:
    """The size of the tree of one of this hub's own checkpoints (its second line)."""
    return int(note.split(b"\n", 2)[1])


def newest_note(session: Session) -> tuple[int, bytes]:
    """Size and note of the newest checkpoint, with the cosignatures gathered for it; (0, b"") before the first."""
    log = LogReader(session)
    newest = log.latest()
    return (0, b"") if newest is None else (newest.size, log.cosigned(newest.size))
