"""The region's bundle: what the coordinator signs and every member keeps.

It names the log's key, carries the region's policy file and the statute packs it adopts, and lists signing
certificates that are revoked. It is signed by the coordinator's key, which does not live at the hub, and its
version only grows: neither an older bundle nor one from a hub that was taken over is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509
from pydantic import Field

from federation.errors import Code, LiaisonError
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement
from federation.model import Document


class RegionBundle(Document):
    """Version, log key (C2SP vkey), region policy and statute packs (YAML text), revoked signers (serials, decimal)."""

    liaison: Literal["region-bundle/v1"] = "region-bundle/v1"
    region: str
    version: int = Field(ge=1)
    issued_at: str
    log_origin: str
    log_vkey: str
    policy: str
    statutes: tuple[str, ...] = ()
    revoked_signers: tuple[str, ...] = ()

    @property
    def revoked(self) -> frozenset[int]:
        """The serial numbers of revoked signing certificates."""
        return frozenset(int(serial) for serial in self.revoked_signers)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a member believes: its region, the region's root, and the newest bundle that the coordinator signed.

    Rules kept: a bundle is the coordinator's of this region; its version never goes back; the same version never
    changes; only statements of signers that are not revoked verify.
    """

    region: str
    root: x509.Certificate
    bundle: RegionBundle
    signed_bundle: SignedStatement

    @classmethod
    def begin(cls, region: str, root: x509.Certificate, signed: SignedStatement, at: datetime) -> Trust:
        """Trust from a first bundle. Raises LiaisonError when it is not this region's coordinator's."""
        coordinator = SpiffeId.coordinator(region)
        statement = signed.verify("region", root, at, by=lambda signer: signer == coordinator)
        bundle = RegionBundle.decode(statement.payload, limit=8 << 20)
        if bundle.region != region:
            raise LiaisonError(Code.SIGNATURE_INVALID, "The bundle is of another region.")
        return cls(region, root, bundle, signed)

    def update(self, signed: SignedStatement, at: datetime) -> Trust:
        """Trust with a newer bundle. Raises LiaisonError(POLICY_ROLLBACK) for an older or a changed one."""
        newer = Trust.begin(self.region, self.root, signed, at)
        if newer.bundle.version < self.bundle.version or (
            newer.bundle.version == self.bundle.version and newer.bundle != self.bundle
        ):
            raise LiaisonError(
                Code.POLICY_ROLLBACK,
                f"Bundle {newer.bundle.version} was offered where {self.bundle.version} is known.",
            )
        return newer

    def verify(self, signed: SignedStatement, kind: str, at: datetime, *, agency: str | None = None) -> bytes:
        """The payload of a statement of `kind`, signed by `agency` (or by the hub, if none is named).

        Raises what `SignedStatement.verify` raises.
        """
        signer = SpiffeId.of_agency(self.region, agency) if agency else SpiffeId.hub(self.region)
        statement = signed.verify(
            kind, self.root, at, revoked=self.bundle.revoked, by=lambda who: who == signer
        )
        return statement.payload
