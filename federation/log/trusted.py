"""What one node knows about the log, and what it takes to change its mind."""

from __future__ import annotations

import json
from collections.abc import Sequence

from federation.errors import Code, LiaisonError
from federation.log.checkpoint import Checkpoint, open_checkpoint
from federation.log.merkle import leaf_hash, verify_consistency, verify_inclusion
from federation.log.note import VerifierKey, parse_vkey

_FORMAT = "trusted-log/v1"


class TrustedLog:
    """The last checkpoint that a node has seen, guarded by these rules; no I/O, no clock.

    A checkpoint becomes the last one (`update`) only if

    1. the note is well formed and the log's key has signed it;
    2. its origin is that of this log;
    3. it is not smaller than the last one: the log never shrinks;
    4. if it is of the same size, it has the same root, and the proof is empty;
    5. if it is larger, the proof shows that the last one is its prefix.

    The first checkpoint of all has nothing before it: rules 1 and 2 decide, and the proof must be empty.

    A checkpoint that is older than the last (`accept_older`), such as comes with a delivery that was queued for a
    while, must keep rules 1 and 2, must not be larger than the last, and must be proven to be a prefix of it. It
    never becomes the last one.

    A checkpoint that breaks rule 1 or 2 ends in CHECKPOINT_INVALID, one that breaks another rule in
    CHECKPOINT_INCONSISTENT. The state stays as it was; in the second case the kept note and the refused one
    together are evidence that the log changed its history, unless the proof itself was spoilt on the way.
    """

    def __init__(self, origin: str, log_key: VerifierKey) -> None:
        self._origin = origin
        self._log_key = log_key
        self._note: bytes | None = None
        self._last: Checkpoint | None = None

    @property
    def last(self) -> Checkpoint | None:
        """The last checkpoint accepted, or None before the first."""
        return self._last

    @property
    def last_note(self) -> bytes | None:
        """The signed note of the last checkpoint, to show as evidence, or None before the first."""
        return self._note

    def update(self, note: bytes, proof: Sequence[bytes]) -> Checkpoint:
        """Take a checkpoint as the last one, if the consistency proof (last to new) holds.

        Raises:
            LiaisonError: CHECKPOINT_INVALID or CHECKPOINT_INCONSISTENT by the rules of the class.
        """
        checkpoint = open_checkpoint(note, self._origin, self._log_key)
        if self._last is not None:
            _verify_prefix(self._last, checkpoint, proof)
        elif proof:
            raise LiaisonError(
                Code.CHECKPOINT_INCONSISTENT, "There is no earlier checkpoint that the proof could begin at."
            )
        self._note, self._last = note, checkpoint
        return checkpoint

    def accept_older(self, note: bytes, proof: Sequence[bytes]) -> Checkpoint:
        """Check a checkpoint that is not newer than the last one, by a consistency proof from it to the last.

        Raises:
            LiaisonError: CHECKPOINT_INVALID or CHECKPOINT_INCONSISTENT by the rules of the class; before the first
                `update` every checkpoint is CHECKPOINT_INCONSISTENT.
        """
        checkpoint = open_checkpoint(note, self._origin, self._log_key)
        if self._last is None:
            raise LiaisonError(Code.CHECKPOINT_INCONSISTENT, "No checkpoint of this log has been seen yet.")
        _verify_prefix(checkpoint, self._last, proof)
        return checkpoint

    def check_inclusion(
        self, entry: bytes, index: int, checkpoint: Checkpoint, proof: Sequence[bytes]
    ) -> None:
        """Check that an entry is in the log of a checkpoint that `update` or `accept_older` returned.

        Raises:
            LiaisonError: PROOF_INVALID if that is not proven.
        """
        verify_inclusion(leaf_hash(entry), index, checkpoint.size, proof, checkpoint.root)

    def to_json(self) -> str:
        """Write the state as JSON, to be kept on disk before anything is done on the strength of it."""
        return json.dumps(
            {
                "liaison": _FORMAT,
                "origin": self._origin,
                "log_key": self._log_key.encode(),
                "checkpoint": None if self._note is None else self._note.decode(),
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> TrustedLog:
        """Read a state that `to_json` wrote; the kept checkpoint's signature is verified again.

        Raises:
            LiaisonError: CONFIG_INVALID if it is not such a state, CHECKPOINT_INVALID if its checkpoint was changed.
        """
        try:
            state = json.loads(text)
        except (ValueError, RecursionError):
            state = None
        if not isinstance(state, dict) or set(state) != {"liaison", "origin", "log_key", "checkpoint"}:
            raise LiaisonError(Code.CONFIG_INVALID, "It is not the state of a trusted log.")
        origin, key, note = state["origin"], state["log_key"], state["checkpoint"]
        if state["liaison"] != _FORMAT or not isinstance(origin, str) or not isinstance(key, str):
            raise LiaisonError(Code.CONFIG_INVALID, "It is not the state of a trusted log.")
        trusted = cls(origin, parse_vkey(key))
        if isinstance(note, str):
            trusted.update(note.encode(errors="replace"), [])
        elif note is not None:
            raise LiaisonError(Code.CONFIG_INVALID, "It is not the state of a trusted log.")
        return trusted


def _verify_prefix(older: Checkpoint, newer: Checkpoint, proof: Sequence[bytes]) -> None:
    verify_consistency(older.size, newer.size, proof, older.root, newer.root)
