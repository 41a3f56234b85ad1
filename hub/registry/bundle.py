"""The region's bundle in a running hub, and its publication by the coordinator's offline key."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import structlog

from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import open_signing_certificate
from federation.identity.keys import Signer
from federation.identity.region import RegionBundle, Trust
from federation.identity.spiffe import check_name
from federation.identity.statement import SignedStatement, sign
from federation.log import EntryType
from federation.policy.load import digest as policy_digest
from federation.policy.load import load_region, load_statute
from hub.config import Hub
from hub.store.writer import Transaction

_log = structlog.get_logger()


class CurrentTrust:
    """The trust of a running hub: the bundle's file is read again when it has changed, and never goes back."""

    def __init__(self, hub: Hub, at: datetime) -> None:
        self._hub = hub
        self._seen = _identity(hub.bundle_path)
        self._trust = hub.trust(at)

    def at(self, at: datetime) -> Trust:
        """The newest trust. A file that does not verify, or is older, changes nothing and is reported once."""
        seen = _identity(self._hub.bundle_path)
        if seen != self._seen:
            self._seen = seen
            try:
                self._trust = self._trust.update(self._hub.signed_bundle(), at)
            except LiaisonError as error:
                _log.error("bundle-refused", code=error.code.value, detail=error.detail)
        return self._trust


def compose(
    region: str, policy: str, statutes: Sequence[str], log_vkey: str, origin: str, version: int, at: datetime
) -> RegionBundle:
    """A bundle of files that have been read and agree with each other.

    Raises LiaisonError(POLICY_INVALID) when a file is not valid, is another region's, or adopts what is not there.
    """
    parsed = load_region(policy, "the region's policy")
    if parsed.region != region:
        raise LiaisonError(
            Code.POLICY_INVALID, f"The region's policy is that of {parsed.region}, not {region}."
        )
    packs = [load_statute(text, f"statute pack {number}") for number, text in enumerate(statutes, 1)]
    ids = [pack.id for pack in packs]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        raise LiaisonError(Code.POLICY_INVALID, f"There are two statute packs of the id {twice}.")
    for missing in sorted(set(parsed.adopts) - set(ids)):
        raise LiaisonError(
            Code.POLICY_INVALID, f"The region adopts {missing}, but no statute pack has that id."
        )
    return RegionBundle(
        region=region,
        version=version,
        issued_at=stamp(at),
        log_origin=origin,
        log_vkey=log_vkey,
        policy=policy,
        statutes=tuple(text for text, pack in zip(statutes, packs, strict=True) if pack.id in parsed.adopts),
    )


def successor(
    trust: Trust,
    policy: str | None,
    statutes: Sequence[str] | None,
    revoke_signers: Sequence[str],
    at: datetime,
) -> RegionBundle:
    """The next version of a bundle; what is not given stays. Signers that were revoked stay revoked.

    Raises LiaisonError(POLICY_INVALID), POLICY_ROLLBACK when the region's policy goes back, or REQUEST_INVALID.
    """
    old = trust.bundle
    chosen = old.policy if policy is None else policy
    if not all(serial.isascii() and serial.isdecimal() for serial in revoke_signers):
        raise LiaisonError(Code.REQUEST_INVALID, "A serial number is decimal digits.")
    was, becomes = load_region(old.policy).version, load_region(chosen, "the region's policy").version
    if becomes < was or (becomes == was and chosen != old.policy):
        raise LiaisonError(
            Code.POLICY_ROLLBACK,
            f"Version {becomes} of the region's policy was offered where {was} is in force.",
        )
    packs = old.statutes if statutes is None else statutes
    bundle = compose(trust.region, chosen, packs, old.log_vkey, old.log_origin, old.version + 1, at)
    revoked = tuple(dict.fromkeys((*old.revoked_signers, *revoke_signers)))
    return bundle.model_copy(update={"revoked_signers": revoked})


def sign_bundle(bundle: RegionBundle, coordinator: Signer, certificate: bytes) -> SignedStatement:
    """The bundle as every member takes it, signed by the coordinator."""
    return sign("region", bundle.encode(), coordinator, certificate)


def log_bundle(transaction: Transaction, bundle: RegionBundle, signed: SignedStatement) -> None:
    """Enter a bundle in the log."""
    transaction.append(
        EntryType.REGION,
        {
            "region": bundle.region,
            "version": bundle.version,
            "digest": signed.digest,
            "policy_digest": policy_digest(bundle.policy.encode()),
            "statutes": [load_statute(text).id for text in bundle.statutes],
            "revoked_signers": list(bundle.revoked_signers),
        },
    )


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in the place of another in one step, on the disk before this returns."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_policies(folder: Path, bundle: RegionBundle) -> None:
    """Write the bundle's files where people look for them; what is in force is the bundle."""
    statutes = folder / "statutes"
    statutes.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "region.yaml", bundle.policy.encode())
    names = {f"{check_name(load_statute(text).id, 'A statute')}.yaml": text for text in bundle.statutes}
    for name, text in names.items():
        replace_file(statutes / name, text.encode())
    for old in statutes.glob("*.yaml"):
        if old.name not in names:
            old.unlink()


def check_coordinator(trust: Trust, certificate: bytes, at: datetime) -> None:
    """See that a certificate is the coordinator's of this region, before anything is signed with its key."""
    identity, _, _ = open_signing_certificate(certificate, trust.root, at)
    if identity.role != "coordinator" or identity.region != trust.region:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "It is not that of this region's coordinator.")


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)
