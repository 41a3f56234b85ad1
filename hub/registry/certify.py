"""The yearly renewal of the certificates that the region's own keys have: the coordinator's and the hub's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from federation.canonical import stamp, unstamp
from federation.identity.certificates import Authority, der, make_signing_certificate, parse_certificate
from federation.identity.keys import Signer
from federation.identity.region import RegionBundle
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement
from federation.log import EntryType
from hub.config import Hub
from hub.registry.bundle import log_bundle, sign_bundle, successor
from hub.store.writer import Transaction


@dataclass(frozen=True, slots=True)
class Recertified:
    """New certificates (DER) of keys that stay, and the next bundle, signed under the coordinator's new one."""

    hub: bytes
    coordinator: bytes
    bundle: RegionBundle
    signed: SignedStatement

    def log(self, transaction: Transaction) -> None:
        """Enter both certificates and the bundle in the log."""
        for name, data in (("hub", self.hub), ("coordinator", self.coordinator)):
            certificate = parse_certificate(data)
            transaction.append(
                EntryType.CERTIFICATE,
                {
                    "identity": f"spiffe://{self.bundle.region}/{name}",
                    "use": "signing",
                    "serial": str(certificate.serial_number),
                    "not_after": stamp(certificate.not_valid_after_utc),
                },
            )
        log_bundle(transaction, self.bundle, self.signed)


def recertify(hub: Hub, root: Authority, coordinator: Signer, at: datetime) -> Recertified:
    """Sign the certificates of the hub's and the coordinator's present keys for another year.

    The bundle in force is verified as of the day it was signed, so this works after that certificate ended too.
    """
    trust = hub.trust(unstamp(hub.bundle().issued_at))
    signer, _ = hub.load_hub_signer()
    hub_certificate = make_signing_certificate(SpiffeId.hub(hub.region), signer.public_key(), root, at)
    certificate = der(
        make_signing_certificate(SpiffeId.coordinator(hub.region), coordinator.public_key(), root, at)
    )
    bundle = successor(trust, None, None, [], at)
    return Recertified(
        der(hub_certificate), certificate, bundle, sign_bundle(bundle, coordinator, certificate)
    )
