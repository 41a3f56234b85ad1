"""Proofs from the hub's log, read in one snapshot of the database."""

from __future__ import annotations

from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from hub.store.log import LogReader
from protos.liaison.v1 import broker_pb2


def log_proof(session: Session, index: int) -> broker_pb2.LogProof:
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
        inclusion=log.inclusion(index, newest.size),
    )


def newest_note(session: Session) -> tuple[int, bytes]:
    """Size and note of the newest checkpoint, with the cosignatures gathered for it; (0, b"") before the first."""
    log = LogReader(session)
    newest = log.latest()
    return (0, b"") if newest is None else (newest.size, log.cosigned(newest.size))
