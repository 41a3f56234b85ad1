"""The vault: everything about a person is encrypted before it touches the disk.

One master key, named by URI (`file:/path` today), gives three keys by HKDF (RFC 5869), each for one purpose:

- *wrapping* each photograph's own random data key. Destroying the wrapped key destroys the photograph;
- *sealing* small records: personal fields and templates, bound to the row they belong to;
- *marking* references and photographs, so that they can be looked up without being readable.

All encryption is AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce in front of the ciphertext.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federation.errors import Code, LiaisonError

KEY_BYTES = 32
NONCE_BYTES = 12
_KEY_HEADER = "liaison-vault-key/v1 "
_PHOTO_SUFFIX = ".bin"
_UNFINISHED_SUFFIX = ".part"


def create_key(path: Path) -> str:
    """Write a new random master key to `path` (mode 0600) and return its URI.

    Raises HOME_EXISTS when the file is there already: a vault key is never overwritten.
    """
    text = _KEY_HEADER + base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii") + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise LiaisonError(
            Code.HOME_EXISTS, "The vault key is there already and is never overwritten."
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)
    return f"file:{path}"


def read_key(uri: str) -> bytes:
    """Return the 32 bytes of the master key that `uri` names.

    Raises KEY_UNREADABLE when it is missing, not a vault key, or readable by anyone but its owner.
    """
    scheme, _, place = uri.partition(":")
    if scheme != "file" or not place:
        raise LiaisonError(Code.KEY_UNREADABLE, "The vault key's URI must be file:/path.")
    path = Path(place)
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
        key = base64.urlsafe_b64decode(text.removeprefix(_KEY_HEADER).strip())
    except (OSError, UnicodeDecodeError, binascii.Error):
        raise LiaisonError(Code.KEY_UNREADABLE, f"This concerns the vault key {path}.") from None
    if mode & 0o077:
        raise LiaisonError(
            Code.KEY_UNREADABLE, f"The vault key {path} is open to other users; run chmod 600."
        )
    if not text.startswith(_KEY_HEADER) or len(key) != KEY_BYTES:
        raise LiaisonError(Code.KEY_UNREADABLE, f"The file {path} is not a vault key.")
    return key


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """Where a photograph went: its id (hex) and its data key, wrapped by the master key."""

    photo_id: str
    wrapped_key: bytes


class Vault:
    """Encrypts records, and keeps photographs as encrypted files under one folder.

    `folder` holds `<gallery>/<first two digits of the id>/<id>.bin`. Files are whole or absent: written beside,
    synced, renamed, and the folder synced. Plaintext never reaches the disk.
    """

    def __init__(self, master_key: bytes, folder: Path) -> None:
        self._folder = folder
        self._wrapping = AESGCM(_derive(master_key, b"wrap photograph keys"))
        self._sealing = AESGCM(_derive(master_key, b"seal records"))
        self._marking = _derive(master_key, b"mark references")

    def mark(self, *parts: str | bytes) -> bytes:
        """Return 16 bytes that stand for `parts`: equal for equal parts, meaningless without the master key."""
        code = hmac.new(self._marking, digestmod=hashlib.sha256)
        for part in parts:
            data = part.encode("utf-8") if isinstance(part, str) else part
            code.update(len(data).to_bytes(8, "big") + data)
        return code.digest()[:16]

    def seal(self, plain: bytes, row: str) -> bytes:
        """Encrypt a small record so that it can be opened only as part of `row`."""
        return _encrypt(self._sealing, plain, row)

    def open(self, sealed: bytes, row: str) -> bytes:
        """Decrypt what `seal` made for the same row; raises GALLERY_DAMAGED when it was changed or moved."""
        return _decrypt(self._sealing, sealed, row, "A record was changed outside Liaison.")

    def store_photo(self, gallery: str, photo: bytes) -> StoredPhoto:
        """Encrypt a photograph under a new data key and write it durably."""
        photo_id = secrets.token_hex(16)
        data_key = AESGCM.generate_key(256)
        sealed = _encrypt(AESGCM(data_key), photo, f"photo/{gallery}/{photo_id}")
        try:
            _write_durably(self._place(gallery, photo_id), sealed)
        except OSError as error:
            raise LiaisonError(Code.STORAGE_FAILED, "A photograph could not be written.") from error
        return StoredPhoto(photo_id, _encrypt(self._wrapping, data_key, f"photo-key/{gallery}/{photo_id}"))

    def photo(self, gallery: str, stored: StoredPhoto) -> bytes:
        """Return the photograph; raises GALLERY_DAMAGED when its file or key is missing or was changed."""
        row = f"{gallery}/{stored.photo_id}"
        try:
            sealed = self._place(gallery, stored.photo_id).read_bytes()
        except OSError:
            raise LiaisonError(Code.GALLERY_DAMAGED, "A photograph's file cannot be read.") from None
        key = _decrypt(
            self._wrapping, stored.wrapped_key, f"photo-key/{row}", "A photograph's key was changed."
        )
        return _decrypt(
            AESGCM(key), sealed, f"photo/{row}", "A photograph's file was changed outside Liaison."
        )

    def remove_photo(self, gallery: str, photo_id: str) -> None:
        """Remove a photograph's file; no error when it is gone already."""
        self._place(gallery, photo_id).unlink(missing_ok=True)

    def photo_ids(self, gallery: str) -> Iterator[str]:
        """Yield the id of every photograph on disk."""
        for path in (self._folder / gallery).glob(f"??/*{_PHOTO_SUFFIX}"):
            yield path.name.removesuffix(_PHOTO_SUFFIX)

    def remove_unfinished(self, gallery: str) -> None:
        """Remove the files of writes that never ended; only while nothing is being written."""
        for path in (self._folder / gallery).glob(f"??/*{_UNFINISHED_SUFFIX}"):
            path.unlink(missing_ok=True)

    def _place(self, gallery: str, photo_id: str) -> Path:
        return self._folder / gallery / photo_id[:2] / f"{photo_id}{_PHOTO_SUFFIX}"


def _derive(master_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"liaison vault/v1 " + purpose).derive(
        master_key
    )


def _encrypt(key: AESGCM, plain: bytes, row: str) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, row.encode("utf-8"))


def _decrypt(key: AESGCM, sealed: bytes, row: str, complaint: str) -> bytes:
    try:
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row.encode("utf-8"))
    except (InvalidTag, ValueError):
        raise LiaisonError(Code.GALLERY_DAMAGED, complaint) from None


def _write_durably(place: Path, data: bytes) -> None:
    fresh = not place.parent.exists()
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = place.with_suffix(_UNFINISHED_SUFFIX)
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(place)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(place.parent)
    if fresh:
        _sync_folder(place.parent.parent)
        _sync_folder(place.parent.parent.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
