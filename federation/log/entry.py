"""One entry of the log: public facts about one event, and a commitment to what is not public.

An entry is the RFC 8785 canonical JSON of

    {"at": "2026-03-01T09:30:00.000Z",     when it happened, UTC, milliseconds
     "commitment": "9f86...",               SHA-256 that binds the private payload, or null
     "facts": {...},                        what is public
     "liaison": "entry/v1",
     "type": "request"}

Entries are for ever, so facts are only what anyone with the right to look may read: agencies, purpose, offence class,
decision, counts, digests. Never a name, a case number, a face or a template: those belong to the payload that
the commitment binds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

import rfc8785

from federation.errors import Code, LiaisonError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_ENTRY_BYTES = 65_535  # an entry bundle gives the length in two bytes
SALT_BYTES = 32

_FORMAT = "entry/v1"
_FIELDS = {"at", "commitment", "facts", "liaison", "type"}
_COMMITMENT_DOMAIN = b"liaison log commitment v1\n"


class EntryType(str, Enum):
    """What happened."""

    AGENCY = "agency"
    NODE = "node"
    POLICY = "policy"
    REGION = "region"
    REQUEST = "request"
    DECISION = "decision"
    ANSWER = "answer"
    REFUSAL = "refusal"
    CANCEL = "cancel"
    EXPIRY = "expiry"
    LINK_SUPERSEDED = "link-superseded"
    REPLAY_ALARM = "replay-alarm"
    CERTIFICATE = "certificate"
    REVOCATION = "revocation"
    COLLECTION = "collection"
    DIVERGENCE = "divergence"  # a node's own policy file is not the copy that the hub holds


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event: its type, when it happened (UTC, cut to milliseconds), public facts, and a commitment in hex.

    Raises:
        LiaisonError: REQUEST_INVALID if the time has no zone or the commitment is not 64 hex digits.
    """

    type: EntryType
    at: datetime
    facts: Mapping[str, Json] = field(default_factory=dict)
    commitment: str | None = None

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise LiaisonError(Code.REQUEST_INVALID, "The time of a log entry has no time zone.")
        at = self.at.astimezone(UTC)
        object.__setattr__(self, "at", at.replace(microsecond=at.microsecond // 1000 * 1000))
        if self.commitment is not None and not _is_digest(self.commitment):
            raise LiaisonError(Code.REQUEST_INVALID, "The commitment of a log entry is not a SHA-256 in hex.")

    def encode(self) -> bytes:
        """Write the entry in its one canonical form, the bytes that are hashed into the tree.

        Raises:
            LiaisonError: REQUEST_INVALID if the facts are not JSON or the entry exceeds 65,535 bytes.
        """
        fields = {
            "at": self.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.at.microsecond // 1000:03d}Z",
            "commitment": self.commitment,
            "facts": dict(self.facts),
            "liaison": _FORMAT,
            "type": self.type.value,
        }
        try:
            data = rfc8785.dumps(fields)
        except (ValueError, RecursionError):
            raise LiaisonError(Code.REQUEST_INVALID, "The facts of a log entry are not JSON.") from None
        if len(data) > MAX_ENTRY_BYTES:
            raise LiaisonError(Code.REQUEST_INVALID, f"A log entry is larger than {MAX_ENTRY_BYTES} bytes.")
        return data


def parse_entry(data: bytes) -> LogEntry:
    """Read an entry, which must be exactly in canonical form: one meaning, one sequence of bytes, one leaf.

    Raises:
        LiaisonError: LOG_DAMAGED if it is anything else.
    """
    if len(data) > MAX_ENTRY_BYTES:
        raise _damaged(f"It is larger than {MAX_ENTRY_BYTES} bytes.")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise _damaged("It is not JSON.") from None
    if not isinstance(fields, dict) or set(fields) != _FIELDS or fields["liaison"] != _FORMAT:
        raise _damaged(f"It is not a {_FORMAT}.")
    facts, at, commitment = fields["facts"], fields["at"], fields["commitment"]
    if not isinstance(facts, dict) or not isinstance(at, str) or not isinstance(commitment, str | None):
        raise _damaged("A field is of the wrong type.")
    try:
        entry = LogEntry(EntryType(fields["type"]), datetime.fromisoformat(at), facts, commitment)
        canonical = entry.encode()
    except (ValueError, OverflowError, LiaisonError):
        raise _damaged("A field holds what it cannot hold.") from None
    if canonical != data:
        raise _damaged("It is not in canonical form.")
    return entry


def commit(payload: bytes, salt: bytes) -> str:
    """Commit to a private payload with a fresh random salt of 32 bytes; return 64 hex digits.

    SHA-256 over a fixed line, the salt and the payload. A plain hash and not an HMAC, because a commitment
    authenticates nobody (the tree does that). It must bind: collision resistance is enough for that, as line and salt
    are of fixed length, so that no two pairs of salt and payload make the same message. It must hide: the salt's
    256 bits see to that even when the payload could be guessed. And anyone can recompute it with `sha256sum`.
    Once payload and salt are erased, the commitment says nothing about anyone.

    Raises:
        LiaisonError: INTERNAL if the salt is not 32 bytes long.
    """
    if len(salt) != SALT_BYTES:
        raise LiaisonError(Code.INTERNAL, "The salt of a commitment is not 32 bytes long.")
    return hashlib.sha256(_COMMITMENT_DOMAIN + salt + payload).hexdigest()


def open_commitment(commitment: str, payload: bytes, salt: bytes) -> bool:
    """Say whether a commitment is to this payload with this salt."""
    if len(salt) != SALT_BYTES or not _is_digest(commitment):
        return False
    return hmac.compare_digest(commit(payload, salt), commitment)


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)


def _damaged(detail: str) -> LiaisonError:
    return LiaisonError(Code.LOG_DAMAGED, f"An entry cannot be read. {detail}")
