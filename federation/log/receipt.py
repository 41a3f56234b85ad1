"""A receipt: one entry, with all that proves it to be in the log, in one small file.

{"liaison": "log-receipt/v1", "entry": "...", "index": 7, "proof": ["base64", ...], "checkpoint": "..."}
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from federation.errors import Code, LiaisonError
from federation.log.checkpoint import Checkpoint, open_checkpoint
from federation.log.entry import LogEntry, parse_entry
from federation.log.merkle import leaf_hash, verify_inclusion
from federation.log.note import VerifierKey

_FORMAT = "log-receipt/v1"
_FIELDS = {"liaison", "entry", "index", "proof", "checkpoint"}


@dataclass(frozen=True, slots=True)
class LogReceipt:
    """An entry's bytes, its index, its inclusion proof, and the signed checkpoint that the proof leads to."""

    entry: bytes
    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def to_json(self) -> str:
        """Write the receipt as JSON; entry and checkpoint are UTF-8 text in it."""
        return json.dumps(
            {
                "liaison": _FORMAT,
                "entry": self.entry.decode(),
                "index": self.index,
                "proof": [base64.b64encode(digest).decode() for digest in self.proof],
                "checkpoint": self.checkpoint.decode(),
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> LogReceipt:
        """Read a receipt without believing it.

        Raises:
            LiaisonError: PROOF_INVALID if it is not a receipt.
        """
        try:
            fields = json.loads(text)
            index, proof = fields["index"], fields["proof"]
            if (
                fields["liaison"] == _FORMAT
                and set(fields) == _FIELDS
                and type(index) is int
                and type(proof) is list
            ):
                hashes = tuple(base64.b64decode(digest, validate=True) for digest in proof)
                return cls(fields["entry"].encode(), index, hashes, fields["checkpoint"].encode())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise LiaisonError(Code.PROOF_INVALID, "The file is not a receipt.")

    def verify(self, log_key: VerifierKey, origin: str | None = None) -> tuple[LogEntry, Checkpoint]:
        """Verify that the log has this entry; the origin defaults to the name of the log's key.

        Raises:
            LiaisonError: CHECKPOINT_INVALID, PROOF_INVALID or LOG_DAMAGED (the entry itself is malformed).
        """
        checkpoint = open_checkpoint(self.checkpoint, log_key.name if origin is None else origin, log_key)
        verify_inclusion(leaf_hash(self.entry), self.index, checkpoint.size, self.proof, checkpoint.root)
        return parse_entry(self.entry), checkpoint
