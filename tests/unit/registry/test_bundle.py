"""The region's bundle: signed offline, only forwards, picked up by a running hub."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from federation.errors import Code, LiaisonError
from federation.identity.statement import sign
from hub.registry.bundle import CurrentTrust, compose, replace_file, sign_bundle, successor
from hub.registry.certify import recertify

REGION = "liaison: region/v1\nregion: {region}\nversion: {version}\nadopts: [{adopts}]\n"
STATUTE = """\
liaison: statute/v1
id: {id}
jurisdiction: us-ca
citation: Some Code 1
effective: 2024-10-01
verified: primary source
require: [narrative]
"""


def refused(code: Code) -> Any:
    return pytest.raises(LiaisonError, check=lambda error: error.code is code)


def published(region: Any, **changes: Any) -> bytes:
    trust = region.hub.trust(region.at)
    bundle = successor(trust, None, None, [], region.at).model_copy(update=changes)
    encoded: bytes = sign_bundle(bundle, *region.offline.coordinator()).encode()
    return encoded


def test_a_running_hub_takes_a_newer_bundle_from_the_file(region: Any) -> None:
    current = CurrentTrust(region.hub, region.at)
    assert current.at(region.at).bundle.version == 1
    replace_file(region.hub.bundle_path, published(region))
    assert current.at(region.at).bundle.version == 2


@pytest.mark.parametrize("what", ["older", "forged", "the hub's", "nonsense", "gone"])
def test_a_running_hub_keeps_its_bundle_when_the_file_is_not_a_newer_one_of_the_coordinator(
    region: Any, what: str
) -> None:
    replace_file(region.hub.bundle_path, published(region, revoked_signers=("7",)))
    current = CurrentTrust(region.hub, region.at)
    good = region.hub.signed_bundle()
    forged = {
        "older": published(region, version=1),
        "forged": replace(good, payload=good.payload.replace(b'"version":2', b'"version":3')).encode(),
        "the hub's": sign("region", good.payload, *region.hub.load_hub_signer()).encode(),
        "nonsense": b"nonsense",
        "gone": b"",
    }[what]
    if forged:
        replace_file(region.hub.bundle_path, forged)
    else:
        region.hub.bundle_path.unlink()
    assert current.at(region.at).bundle.version == 2
    assert current.at(region.at).bundle.revoked_signers == ("7",)


def test_a_bundle_carries_the_packs_that_the_region_adopts_and_no_others(region: Any) -> None:
    texts = [STATUTE.format(id="one"), STATUTE.format(id="two")]
    policy = REGION.format(region="delta", version=1, adopts="two")
    bundle = compose("delta", policy, texts, "key", "origin", 1, region.at)
    assert bundle.statutes == (texts[1],)


@pytest.mark.parametrize(
    ("policy", "statutes"),
    [
        (REGION.format(region="omega", version=1, adopts=""), []),
        (REGION.format(region="delta", version=1, adopts="missing"), []),
        (REGION.format(region="delta", version=1, adopts=""), [STATUTE.format(id="one")] * 2),
        (REGION.format(region="delta", version=1, adopts=""), ["liaison: statute/v1\n"]),
        ("region: delta\n", []),
    ],
)
def test_a_bundle_of_files_that_do_not_agree_is_not_made(
    region: Any, policy: str, statutes: list[str]
) -> None:
    with refused(Code.POLICY_INVALID):
        compose("delta", policy, statutes, "key", "origin", 1, region.at)


def test_the_next_bundle_keeps_what_is_not_given_and_never_forgets_a_revocation(region: Any) -> None:
    trust = region.hub.trust(region.at)
    second = successor(trust, None, None, ["7"], region.at)
    signed = sign_bundle(second, *region.offline.coordinator())
    third = successor(trust.update(signed, region.at), None, None, ["9", "7"], region.at)
    assert third.policy == trust.bundle.policy
    assert (third.version, third.revoked_signers) == (3, ("7", "9"))


def test_the_regions_policy_never_goes_back_and_a_version_never_changes(region: Any) -> None:
    trust = region.hub.trust(region.at)
    policy = REGION.format(region="delta", version=1, adopts="")
    with refused(Code.POLICY_ROLLBACK):
        successor(trust, policy, None, [], region.at)
    with refused(Code.REQUEST_INVALID):
        successor(trust, None, None, ["0x7"], region.at)


def test_the_regions_own_certificates_are_renewed_even_after_they_ended(region: Any) -> None:
    later = region.at + timedelta(days=400)
    with refused(Code.CERTIFICATE_INVALID):
        region.hub.trust(later)
    coordinator, _ = region.offline.coordinator()
    made = recertify(region.hub, region.offline.root(region.hub), coordinator, later)
    region.write(made.log)
    replace_file(region.hub.bundle_path, made.signed.encode())
    trust = region.hub.trust(later)
    assert (trust.bundle.version, trust.bundle.policy) == (2, made.bundle.policy)
    key, _ = region.hub.load_hub_signer()
    receipt = sign("receipt", b"{}", key, made.hub)
    assert trust.verify(receipt, "receipt", later) == b"{}"
    assert [e["identity"] for e in region.events("certificate")] == [
        "spiffe://delta/hub",
        "spiffe://delta/coordinator",
    ]
