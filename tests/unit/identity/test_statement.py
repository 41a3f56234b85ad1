"""Signed statements: whatever is changed in one, it no longer verifies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import KINDS, SignedStatement, sign


@pytest.fixture(scope="module")
def signed(region: Any) -> SignedStatement:
    key, certificate = region.agency("mill-creek-pd")
    return sign("probe-request", b"payload", key, certificate)


def test_a_statement_travels_and_verifies(region: Any, signed: SignedStatement) -> None:
    statement = SignedStatement.decode(signed.encode()).verify(
        "probe-request", region.root.certificate, region.at
    )
    assert statement.payload == b"payload"
    assert statement.signer == SpiffeId.of_agency("delta", "mill-creek-pd")


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_any_flipped_bit_anywhere_is_found(region: Any, signed: SignedStatement, data: st.DataObject) -> None:
    encoded = bytearray(signed.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(LiaisonError):
        SignedStatement.decode(bytes(encoded)).verify("probe-request", region.root.certificate, region.at)


@pytest.mark.parametrize("kind", sorted(KINDS - {"probe-request"}))
def test_a_statement_of_one_kind_is_none_of_another(region: Any, signed: SignedStatement, kind: str) -> None:
    for shown in (signed, replace(signed, kind=kind)):
        with pytest.raises(LiaisonError) as caught:
            shown.verify(kind, region.root.certificate, region.at)
        assert caught.value.code is Code.SIGNATURE_INVALID


def test_another_agencys_certificate_does_not_fit_the_signature(region: Any, signed: SignedStatement) -> None:
    _, other = region.agency("eastport-pd")
    with pytest.raises(LiaisonError) as caught:
        replace(signed, certificate=other).verify("probe-request", region.root.certificate, region.at)
    assert caught.value.code is Code.SIGNATURE_INVALID


def test_a_revoked_signer_is_refused(region: Any, signed: SignedStatement) -> None:
    serial = signed.verify("probe-request", region.root.certificate, region.at).certificate.serial_number
    with pytest.raises(LiaisonError) as caught:
        signed.verify("probe-request", region.root.certificate, region.at, revoked={serial})
    assert caught.value.code is Code.CERTIFICATE_REVOKED


def test_a_signer_who_may_not_say_it_is_refused(region: Any, signed: SignedStatement) -> None:
    with pytest.raises(LiaisonError) as caught:
        signed.verify(
            "probe-request", region.root.certificate, region.at, by=lambda who: who.role == "coordinator"
        )
    assert caught.value.code is Code.NOT_AUTHORIZED


@given(st.binary(max_size=300))
def test_no_bytes_make_decoding_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(LiaisonError):
        SignedStatement.decode(data)
