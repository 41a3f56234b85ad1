"""A member's trust: only the coordinator changes the region's rules, and never backwards."""

from __future__ import annotations

from typing import Any

import pytest

from federation.errors import Code, LiaisonError
from federation.identity.region import RegionBundle, Trust
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement, sign


class Coordinator:
    def __init__(self, region: Any) -> None:
        self.region = region
        self.key, self.certificate = region.signer(SpiffeId.coordinator("delta"))

    def bundle(self, version: int, **changes: Any) -> SignedStatement:
        fields = {
            "region": "delta",
            "issued_at": "2026-11-21T12:00:00.000Z",
            "log_origin": "delta/log",
            "log_vkey": "k",
        }
        bundle = RegionBundle(version=version, **(fields | {"policy": f"version {version}"} | changes))
        return sign("region", bundle.encode(), self.key, self.certificate)


@pytest.fixture
def coordinator(region: Any) -> Coordinator:
    return Coordinator(region)


def test_a_newer_bundle_replaces_an_older_one(region: Any, coordinator: Coordinator) -> None:
    trust = Trust.begin("delta", region.root.certificate, coordinator.bundle(1), region.at)
    assert trust.update(coordinator.bundle(2), region.at).bundle.version == 2
    assert trust.update(coordinator.bundle(1), region.at).bundle == trust.bundle


def test_an_older_bundle_is_refused(region: Any, coordinator: Coordinator) -> None:
    trust = Trust.begin("delta", region.root.certificate, coordinator.bundle(2), region.at)
    with pytest.raises(LiaisonError) as caught:
        trust.update(coordinator.bundle(1), region.at)
    assert caught.value.code is Code.POLICY_ROLLBACK


def test_the_same_version_with_other_rules_is_refused(region: Any, coordinator: Coordinator) -> None:
    trust = Trust.begin("delta", region.root.certificate, coordinator.bundle(2), region.at)
    with pytest.raises(LiaisonError) as caught:
        trust.update(coordinator.bundle(2, policy="all is allowed"), region.at)
    assert caught.value.code is Code.POLICY_ROLLBACK


@pytest.mark.parametrize("identity", [SpiffeId.hub("delta"), SpiffeId.of_agency("delta", "mill-creek-pd")])
def test_nobody_but_the_coordinator_makes_rules(
    region: Any, coordinator: Coordinator, identity: SpiffeId
) -> None:
    """The attacker is the hub itself, or a member, with a good certificate of its own."""
    key, certificate = region.signer(identity)
    forged = sign("region", coordinator.bundle(9).payload, key, certificate)
    with pytest.raises(LiaisonError) as caught:
        Trust.begin("delta", region.root.certificate, forged, region.at)
    assert caught.value.code is Code.NOT_AUTHORIZED


def test_a_bundle_of_another_region_is_refused(region: Any, coordinator: Coordinator) -> None:
    with pytest.raises(LiaisonError) as caught:
        Trust.begin("delta", region.root.certificate, coordinator.bundle(1, region="bay"), region.at)
    assert caught.value.code is Code.SIGNATURE_INVALID


def test_a_statement_is_the_agencys_that_it_must_be(region: Any, coordinator: Coordinator) -> None:
    trust = Trust.begin("delta", region.root.certificate, coordinator.bundle(1), region.at)
    key, certificate = region.agency("eastport-pd")
    statement = sign("policy", b"{}", key, certificate)
    assert trust.verify(statement, "policy", region.at, agency="eastport-pd") == b"{}"
    for agency in ("mill-creek-pd", None):
        with pytest.raises(LiaisonError) as caught:
            trust.verify(statement, "policy", region.at, agency=agency)
        assert caught.value.code is Code.NOT_AUTHORIZED


def test_a_signer_whom_the_coordinator_revoked_is_refused(region: Any, coordinator: Coordinator) -> None:
    key, certificate = region.agency("eastport-pd")
    statement = sign("policy", b"{}", key, certificate)
    serial = statement.verify("policy", region.root.certificate, region.at).certificate.serial_number
    signed = coordinator.bundle(1, revoked_signers=(str(serial),))
    trust = Trust.begin("delta", region.root.certificate, signed, region.at)
    with pytest.raises(LiaisonError) as caught:
        trust.verify(statement, "policy", region.at, agency="eastport-pd")
    assert caught.value.code is Code.CERTIFICATE_REVOKED
