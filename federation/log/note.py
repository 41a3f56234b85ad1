"""Signed notes: text with signature lines, as C2SP signed-note defines them (c2sp.org/signed-note).

    If you think cryptography is the answer to your problem,
    then you don't know what your problem is.

    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=

A signature is found by key name and key id; one from a key that the reader does not know is ignored, one from a known
key that does not verify condemns the whole note. Only the canonical base64 of a signature is accepted, so
that no byte of a note can change unseen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from federation.errors import Code, LiaisonError

MAX_NOTE_BYTES = 256 * 1024
MAX_SIGNATURES = 100

_DASH = "— "
_KEY_ID_BYTES = 4
_PUBLIC_KEY_BYTES = 32
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID_HEX = re.compile(r"[0-9a-f]{8}")


class KeyType(IntEnum):
    """The signature types of C2SP signed-note that Liaison uses; both are Ed25519."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a note key: its name, what it signs, and 32 bytes of Ed25519 public key.

    Raises:
        LiaisonError: CONFIG_INVALID if the name may not stand in a note or the key is not 32 bytes long.
    """

    name: str
    type: KeyType
    public: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise LiaisonError(
                Code.CONFIG_INVALID, "The name of a log or witness key may hold no space and no plus."
            )
        if len(self.public) != _PUBLIC_KEY_BYTES:
            raise LiaisonError(Code.CONFIG_INVALID, "A log or witness key is not 32 bytes long.")

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature line names this key."""
        material = self.name.encode() + b"\n" + bytes([self.type]) + self.public
        return hashlib.sha256(material).digest()[:_KEY_ID_BYTES]

    def encode(self) -> str:
        """Write the key as a vkey: name, key id in hex, and base64 of type and key, joined by plus signs."""
        material = base64.b64encode(bytes([self.type]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Say whether this key made the Ed25519 signature over the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """The private half of a note key, with the name under which it signs."""

    name: str
    key: Ed25519PrivateKey

    def __post_init__(self) -> None:
        _ = self.verifier_key()  # a name that no note can carry is refused here, not at the first signature

    def verifier_key(self, key_type: KeyType = KeyType.ED25519) -> VerifierKey:
        """Give the public half: ED25519 for a log's key, COSIGNATURE for a witness's."""
        return VerifierKey(self.name, key_type, self.key.public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who claims to have signed, and the signature's bytes after the key id."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note, newline included."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note. Its text means nothing until a signature of a known key has been verified."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Write the note: text, blank line, signature lines."""
        return f"{self.text}\n{''.join(signature.line for signature in self.signatures)}".encode()

    def signed_by(self, key: VerifierKey) -> list[Signature]:
        """List the signatures that claim to be of this key, by name and key id."""
        key_id = key.key_id
        return [found for found in self.signatures if found.name == key.name and found.key_id == key_id]


def is_key_name(name: str) -> bool:
    """Say whether a name may stand in a signature line: not empty, no space of any script, no plus, no control."""
    if not name or "+" in name or _CONTROL.search(name) or any(letter.isspace() for letter in name):
        return False
    return _is_utf8(name)


def parse_vkey(text: str) -> VerifierKey:
    """Read a vkey such as `PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW`.

    Raises:
        LiaisonError: CONFIG_INVALID if it is not one, is of a type other than 0x01 and 0x04, or if its key id is wrong.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")  # base64 may hold plus signs of its own
    material = _decode_base64(encoded)
    if not _KEY_ID_HEX.fullmatch(key_id) or material is None or len(material) != 1 + _PUBLIC_KEY_BYTES:
        raise LiaisonError(Code.CONFIG_INVALID, "A log or witness key is not of the form name+id+base64.")
    try:
        key_type = KeyType(material[0])
    except ValueError:
        raise LiaisonError(Code.CONFIG_INVALID, "A log or witness key is of an unknown type.") from None
    key = VerifierKey(name, key_type, material[1:])
    if key.key_id.hex() != key_id:
        raise LiaisonError(Code.CONFIG_INVALID, "The id of a log or witness key does not belong to the key.")
    return key


def parse_note(data: bytes) -> Note:
    """Take a note apart without believing it.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if it breaks any rule of the format.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise _malformed("It is too large.")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise _malformed("It is not UTF-8.") from None
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not text or not lines.endswith("\n") or _CONTROL.search(whole):
        raise _malformed("It is not text, a blank line and signature lines.")
    return Note(text + "\n", _parse_lines(lines))


def parse_signatures(lines: Iterable[bytes]) -> tuple[Signature, ...]:
    """Read signature lines that travel without their note, as a witness returns them.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if one is not a signature line.
    """
    try:
        return _parse_lines(b"".join(lines).decode())
    except UnicodeDecodeError:
        raise _malformed("A signature line is not UTF-8.") from None


def sign_note(text: str, signer: NoteSigner) -> bytes:
    """Sign a text, which must end in a newline, as a note of one signature.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if the text cannot stand in a note.
    """
    if not _is_utf8(text) or not text.endswith("\n") or text == "\n" or _CONTROL.search(text):
        raise _malformed("The text is not UTF-8 lines that end in a newline.")
    signature = Signature(signer.name, signer.verifier_key().key_id, signer.key.sign(text.encode()))
    return Note(text, (signature,)).encode()


def open_note(data: bytes, keys: Sequence[VerifierKey]) -> tuple[Note, list[VerifierKey]]:
    """Verify a note; return it with those of the given keys (of type ED25519) that signed it.

    Raises:
        LiaisonError: CHECKPOINT_INVALID if the note is malformed, if no known key signed it, or if a signature of a
            known key does not verify.
    """
    note = parse_note(data)
    signed: list[VerifierKey] = []
    for key in keys:
        found = note.signed_by(key) if key.type is KeyType.ED25519 else []
        if not all(key.verifies(note.text.encode(), signature.value) for signature in found):
            raise _malformed(f"The signature of {key.name} does not verify.")
        if found:
            signed.append(key)
    if not signed:
        raise _malformed("No known key has signed it.")
    return note, signed


def _parse_lines(lines: str) -> tuple[Signature, ...]:
    if not lines.endswith("\n"):
        raise _malformed("A signature line does not end in a newline.")
    rows = lines[:-1].split("\n")
    if len(rows) > MAX_SIGNATURES:
        raise _malformed("It has too many signatures.")
    return tuple(_parse_line(row) for row in rows)


def _parse_line(row: str) -> Signature:
    name, _, encoded = row.removeprefix(_DASH).partition(" ")
    blob = _decode_base64(encoded)
    if not row.startswith(_DASH) or not is_key_name(name) or blob is None or len(blob) <= _KEY_ID_BYTES:
        raise _malformed("A signature line is not a dash, a name and base64.")
    return Signature(name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])


def _decode_base64(text: str) -> bytes | None:
    """Decode standard base64 in its one canonical spelling, or give None."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _malformed(detail: str) -> LiaisonError:
    return LiaisonError(Code.CHECKPOINT_INVALID, detail)
