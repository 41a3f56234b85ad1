"""Checkpoints and cosignatures: what the log says it is, and who saw it (c2sp.org/tlog-checkpoint, tlog-cosignature).

A checkpoint is a signed note whose text is the log's origin, its size in decimal and its root in base64. The log
signs the text itself. A witness, which has checked that the log only grew, signs the text under two lines more, a
fixed header and a time, so that neither signature can ever be taken for the other.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from federation.errors import Code, LiaisonError
from federation.log.merkle import HASH_BYTES, empty_root
from federation.log.note import (
    KeyType,
    Note,
    NoteSigner,
    Signature,
    VerifierKey,
    open_note,
    parse_note,
    parse_signatures,
    sign_note,
)

MAX_SIZE = 2**63 - 1

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_TIMESTAMP_BYTES = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log at one moment: whose it is, how many entries it has, and their Merkle root (32 bytes).

    `extensions` are lines that the log signs beside; Liaison writes none and gives them no meaning.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if the three cannot stand in a checkpoint.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions)
        if not all(lines) or any("\n" in line for line in lines):
            raise _invalid("Its origin or an extension line is empty or not one line.")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise _invalid("Its size or its root is out of bounds.")
        if self.size == 0 and self.root != empty_root():
            raise _invalid("Its root is not that of an empty log.")

    @property
    def text(self) -> str:
        """The note text: origin, size, root, one a line."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a note's text as a checkpoint, strictly; the signatures are not looked at.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if it is not one.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not _DECIMAL.fullmatch(lines[1]):
        raise _invalid("It is not an origin, a size and a root.")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("Its root is not base64.") from None
    checkpoint = Checkpoint(lines[0], int(lines[1]), root, tuple(lines[3:-1]))
    if checkpoint.text != text:
        raise _invalid("Its root is not in canonical base64.")
    return checkpoint


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> bytes:
    """Sign a checkpoint with the log's key; the note has that one signature."""
    return sign_note(checkpoint.text, signer)


def open_checkpoint(note: bytes, origin: str, log_key: VerifierKey) -> Checkpoint:
    """Verify that the log of that origin signed this checkpoint, and return it.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if the note, its text, its origin or the log's signature is wrong.
    """
    opened, _ = open_note(note, [log_key])
    checkpoint = parse_checkpoint(opened.text)
    if checkpoint.origin != origin:
        raise _invalid("It is that of another log.")
    return checkpoint


def cosign(note: bytes, signer: NoteSigner, timestamp: int) -> bytes:
    """Cosign a checkpoint at a time (seconds since 1970, UTC); return the signature line alone.

    Whoever calls this says that the checkpoint is consistent with all that this witness has seen: check that first
    (`TrustedLog.update`).

    Raises:
        LiaisonError: CHECKPOINT_INVALID if the note is not a checkpoint or the time cannot be written.
    """
    text = parse_checkpoint(parse_note(note).text).text
    if not 0 <= timestamp <= MAX_SIZE:
        raise _invalid("The time of a cosignature is out of bounds.")
    signed = timestamp.to_bytes(_TIMESTAMP_BYTES) + signer.key.sign(_cosigned_message(text, timestamp))
    return Signature(signer.name, signer.verifier_key(KeyType.COSIGNATURE).key_id, signed).line.encode()


def verify_cosignatures(note: bytes, witness_keys: Sequence[VerifierKey]) -> list[tuple[str, int]]:
    """List which of the given witnesses cosigned the checkpoint, and when: (key name, seconds since 1970).

    In the order of the keys, each witness once, with its latest time. Signatures of other keys are ignored. The
    log's own signature is `open_checkpoint`'s business.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if the note is not a checkpoint, or if a cosignature of a known witness
            does not verify.
    """
    opened = parse_note(note)
    parse_checkpoint(opened.text)
    seen: dict[str, int] = {}
    for key in witness_keys:
        found = opened.signed_by(key) if key.type is KeyType.COSIGNATURE else []
        for signature in found:
            timestamp = _verify_cosignature(opened.text, signature, key)
            seen[key.name] = max(timestamp, seen.get(key.name, 0))
    return list(seen.items())


def add_signatures(note: bytes, lines: Iterable[bytes]) -> bytes:
    """Add signature lines to a note; a line replaces an earlier one of the same key.

    The lines are not verified here: `verify_cosignatures` on the result does that.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if the note or a line is malformed.
    """
    opened = parse_note(note)
    given = list(lines)
    added = parse_signatures(given) if given else ()
    merged = {(signature.name, signature.key_id): signature for signature in (*opened.signatures, *added)}
    return Note(opened.text, tuple(merged.values())).encode()


def _verify_cosignature(text: str, signature: Signature, key: VerifierKey) -> int:
    timestamp = int.from_bytes(signature.value[:_TIMESTAMP_BYTES])
    message = _cosigned_message(text, timestamp)
    if timestamp > MAX_SIZE or not key.verifies(message, signature.value[_TIMESTAMP_BYTES:]):
        raise _invalid(f"The cosignature of {key.name} does not verify.")
    return timestamp


def _cosigned_message(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def _invalid(detail: str) -> LiaisonError:
    return LiaisonError(Code.CHECKPOINT_INVALID, detail)
