"""The one canonical form (RFC 8785) and the one digest that everything signed or logged here uses."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import rfc8785

from federation.errors import Code, LiaisonError


def canonical(value: Any) -> bytes:
    """Canonical JSON of `value` (RFC 8785), as bytes.

    Raises LiaisonError(REQUEST_INVALID) for what JSON cannot hold (NaN, integers beyond 2**53, other types).
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, TypeError, ValueError, RecursionError) as error:
        raise LiaisonError(Code.REQUEST_INVALID, "A value has no canonical form.") from error


def parse(data: bytes, *, limit: int = 1 << 20) -> Any:
    """Read JSON that must already be in its canonical form, so that one meaning has one set of bytes.

    Raises LiaisonError(REQUEST_INVALID) when it is longer than `limit` bytes, is no JSON, or is not canonical.
    """
    if len(data) > limit:
        raise LiaisonError(Code.REQUEST_INVALID, f"A document is larger than {limit} bytes.")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LiaisonError(Code.REQUEST_INVALID, "A document is not JSON.") from error
    if canonical(value) != data:
        raise LiaisonError(Code.REQUEST_INVALID, "A document is not in its canonical form.")
    return value


def digest(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def b64(data: bytes) -> str:
    """Standard base64 with padding, as text."""
    return base64.b64encode(data).decode()


def unb64(text: str) -> bytes:
    """The bytes of standard base64, written in the one way that RFC 4648, section 3.5, calls canonical.

    Raises LiaisonError(REQUEST_INVALID).
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LiaisonError(Code.REQUEST_INVALID, "A field is not base64.") from error
    if b64(data) != text:
        raise LiaisonError(Code.REQUEST_INVALID, "A field is not canonical base64.")
    return data


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: the one way in which times are written."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def unstamp(text: str) -> datetime:
    """The aware datetime of a stamp. Raises LiaisonError(REQUEST_INVALID)."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise LiaisonError(Code.REQUEST_INVALID, "A time is not RFC 3339.") from error
    if at.tzinfo is None:
        raise LiaisonError(Code.REQUEST_INVALID, "A time has no zone.")
    return at.astimezone(UTC)
