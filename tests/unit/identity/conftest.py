"""A region with its root, coordinator, hub and two agencies: real keys, no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.identity import certificates as certs
from federation.identity.keys import new_signing_key, new_tls_key
from federation.identity.spiffe import SpiffeId

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Region:
    name: str
    root: certs.Authority
    issuing: certs.Authority
    at: datetime

    def signer(self, identity: SpiffeId) -> tuple[Ed25519PrivateKey, bytes]:
        key = new_signing_key()
        return key, certs.der(certs.make_signing_certificate(identity, key.public_key(), self.root, self.at))

    def agency(self, agency: str) -> tuple[Ed25519PrivateKey, bytes]:
        return self.signer(SpiffeId.of_agency(self.name, agency))


@pytest.fixture(scope="module")
def region() -> Region:
    root = certs.make_root("delta", new_tls_key(), NOW)
    return Region("delta", root, certs.make_issuing("delta", new_tls_key(), root, NOW), NOW)
