"""Reading the log from the database: nodes, entries, payloads, checkpoints, proofs."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation.errors import Code, LiaisonError
from federation.log import NodeReader, add_signatures, consistency_proof, inclusion_proof
from hub.store.tables import CheckpointRow, CosignatureRow, HashRow, LeafRow, PayloadRow

_MOST_HASHES = 1 << 16


class LogReader:
    """The log as one session sees it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def size(self) -> int:
        """How many leaves there are."""
        last = self._session.scalar(select(func.max(LeafRow.index)))
        return 0 if last is None else last + 1

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree. Raises LiaisonError(LOG_DAMAGED) when it is not there."""
        value = self._session.scalar(
            select(HashRow.hash).where(HashRow.level == level, HashRow.index == index)
        )
        if value is None:
            raise LiaisonError(Code.LOG_DAMAGED, f"The hash at level {level}, index {index} is missing.")
        return value

    def entry(self, index: int) -> bytes:
        """The bytes of one entry. Raises LiaisonError(REQUEST_INVALID) when there is none."""
        value = self._session.scalar(select(LeafRow.entry).where(LeafRow.index == index))
        if value is None:
            raise LiaisonError(Code.REQUEST_INVALID, f"The log has no entry {index}.")
        return value

    def entries(self, first: int, last: int) -> list[bytes]:
        """The entries from `first` up to, not including, `last`."""
        where = (LeafRow.index >= first, LeafRow.index < last)
        return list(self._session.scalars(select(LeafRow.entry).where(*where).order_by(LeafRow.index)))

    def salt(self, index: int) -> bytes:
        """The salt of a leaf's commitment; empty when it has none or it was erased."""
        return self._session.scalar(select(PayloadRow.salt).where(PayloadRow.index == index)) or b""

    def latest(self) -> CheckpointRow | None:
        """The newest checkpoint."""
        return self._session.scalars(
            select(CheckpointRow).order_by(CheckpointRow.size.desc()).limit(1)
        ).first()

    def cosigned(self, size: int) -> bytes:
        """The checkpoint at a size, with the cosignatures gathered for it."""
        note = self._session.scalar(select(CheckpointRow.note).where(CheckpointRow.size == size))
        if note is None:
            raise LiaisonError(Code.REQUEST_INVALID, f"There is no checkpoint of size {size}.")
        lines = self._session.scalars(select(CosignatureRow.line).where(CosignatureRow.size == size))
        return add_signatures(note, list(lines))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The inclusion proof of a leaf in the tree of a size."""
        return inclusion_proof(index, size, self.node)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The consistency proof between two sizes."""
        return consistency_proof(first, second, self.node)


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
