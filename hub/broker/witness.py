"""Gathering cosignatures: every node is a witness of the log."""

from __future__ import annotations

from sqlalchemy import select

from federation.errors import Code, LiaisonError
from federation.log import add_signatures, parse_vkey, verify_cosignatures
from federation.log.note import parse_signatures
from hub.broker.serving import read_statement
from hub.store.tables import CheckpointRow, CosignatureRow, NodeRow
from hub.store.writer import Transaction
from protos.liaison.v1 import broker_pb2

_LONGEST_LINE = 1024


def take_cosignature(
    transaction: Transaction, agency: str, node: str, message: broker_pb2.Cosignature
) -> None:
    """Verify and keep a node's cosignature of one of our checkpoints.

    Its key is the one in the agency's own statement about the node.
    Raises LiaisonError(CHECKPOINT_INVALID) when it is not that node's, or of no checkpoint of this log.
    """
    session = transaction.session
    note = session.scalar(select(CheckpointRow.note).where(CheckpointRow.size == message.size))
    statement = session.scalar(
        select(NodeRow.statement).where(NodeRow.agency == agency, NodeRow.node == node)
    )
    if note is None or statement is None or len(message.line) > _LONGEST_LINE:
        raise LiaisonError(Code.CHECKPOINT_INVALID, "It is a cosignature of nothing that is known here.")
    key = parse_vkey(read_statement(statement).witness_vkey)
    if len(parse_signatures([message.line])) != 1:
        raise LiaisonError(Code.CHECKPOINT_INVALID, "A cosignature is one line.")
    if not verify_cosignatures(add_signatures(note, [message.line]), [key]):
        raise LiaisonError(Code.CHECKPOINT_INVALID, "It is the cosignature of another witness.")
    session.merge(CosignatureRow(size=message.size, witness=key.name, line=message.line))
