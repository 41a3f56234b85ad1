"""Join tokens: one line that lets one node of one agency join one hub, once.

The line carries where the hub is, the fingerprint of the region's root (so that the secret is never shown to
another hub) and a secret of 256 bits, of which the hub keeps only the SHA-256.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass

from federation.canonical import canonical
from federation.errors import Code, LiaisonError
from federation.identity.spiffe import check_name

_PREFIX = "liaison-join-v1."
_FIELDS = ("agency", "broker", "expires", "join", "region", "root", "secret")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A join token, opened. `join` and `broker` are `host:port`; `root` is `sha256:<hex>`; `expires` a stamp."""

    region: str
    agency: str
    join: str
    broker: str
    root: str
    expires: str
    secret: str

    def encode(self) -> str:
        """The line to hand over."""
        body = canonical({field: getattr(self, field) for field in _FIELDS})
        return _PREFIX + base64.urlsafe_b64encode(body).decode().rstrip("=")

    @classmethod
    def decode(cls, line: str) -> JoinToken:
        """Read the line. Raises LiaisonError(TOKEN_INVALID)."""
        line = "".join(line.split())
        try:
            text = line.removeprefix(_PREFIX)
            value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            token = cls(**value)
            check_name(token.region, "A region's name")
            check_name(token.agency, "An agency's id")
        except (binascii.Error, ValueError, TypeError, LiaisonError) as error:
            raise LiaisonError(Code.TOKEN_INVALID) from error
        if not all(isinstance(getattr(token, field), str) for field in _FIELDS) or not re.fullmatch(
            r"sha256:[0-9a-f]{64}", token.root
        ):
            raise LiaisonError(Code.TOKEN_INVALID)
        if token.encode() != line:
            raise LiaisonError(Code.TOKEN_INVALID)
        return token

    @property
    def secret_sha256(self) -> str:
        """What the hub stores and compares."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"JoinToken(agency={self.agency!r}, expires={self.expires!r})"
