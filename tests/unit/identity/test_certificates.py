"""Certificates: only the root's own signature makes a signer, whatever the issuing CA may sign."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from federation.errors import Code, LiaisonError
from federation.identity import certificates as certs
from federation.identity.keys import new_signing_key, new_tls_key
from federation.identity.spiffe import SpiffeId

NODE = SpiffeId.of_node("delta", "mill-creek-pd", "n1")
AGENCY = SpiffeId.of_agency("delta", "mill-creek-pd")


def refused(code: Code, call: Any, *arguments: Any) -> LiaisonError:
    with pytest.raises(LiaisonError) as caught:
        call(*arguments)
    assert caught.value.code is code
    return caught.value


def test_an_agencys_certificate_names_its_key(region: Any) -> None:
    key, certificate = region.agency("mill-creek-pd")
    identity, public, _ = certs.open_signing_certificate(certificate, region.root.certificate, region.at)
    assert identity == AGENCY
    assert public.public_bytes_raw() == key.public_key().public_bytes_raw()


def test_a_hub_that_is_taken_over_cannot_make_an_agency(region: Any) -> None:
    """The attacker holds the issuing CA's key and forges an agency's signing certificate with it."""
    forged = certs.make_signing_certificate(AGENCY, new_signing_key().public_key(), region.issuing, region.at)
    refused(
        Code.CERTIFICATE_INVALID,
        certs.open_signing_certificate,
        certs.der(forged),
        region.root.certificate,
        region.at,
    )


def test_an_attackers_own_root_with_the_same_name_is_not_the_root(region: Any) -> None:
    impostor = certs.make_root("delta", new_tls_key(), region.at)
    forged = certs.make_signing_certificate(AGENCY, new_signing_key().public_key(), impostor, region.at)
    refused(
        Code.CERTIFICATE_INVALID,
        certs.open_signing_certificate,
        certs.der(forged),
        region.root.certificate,
        region.at,
    )


def test_the_issuing_ca_and_tls_certificates_do_not_sign_statements(region: Any) -> None:
    tls = certs.make_tls_certificate(NODE, new_tls_key().public_key(), region.issuing, region.at)
    for certificate in (region.issuing.certificate, region.root.certificate, tls):
        refused(
            Code.CERTIFICATE_INVALID,
            certs.open_signing_certificate,
            certs.der(certificate),
            region.root.certificate,
            region.at,
        )


@pytest.mark.parametrize("shift", [timedelta(days=-2), certs.SIGNING_LIFE + timedelta(days=1)])
def test_a_certificate_outside_its_dates_is_refused(region: Any, shift: timedelta) -> None:
    _, certificate = region.agency("mill-creek-pd")
    refused(
        Code.CERTIFICATE_INVALID,
        certs.open_signing_certificate,
        certificate,
        region.root.certificate,
        region.at + shift,
    )


def test_a_node_gets_no_signing_certificate(region: Any) -> None:
    refused(
        Code.CERTIFICATE_INVALID,
        certs.make_signing_certificate,
        NODE,
        new_signing_key().public_key(),
        region.root,
        region.at,
    )


def test_a_signing_request_is_for_the_identity_that_it_names() -> None:
    key = new_tls_key()
    request = certs.make_csr(NODE, key)
    assert certs.open_tls_csr(request, NODE).public_numbers() == key.public_key().public_numbers()
    refused(
        Code.CERTIFICATE_INVALID, certs.open_tls_csr, request, SpiffeId.of_node("delta", "eastport-pd", "n1")
    )
    refused(Code.CERTIFICATE_INVALID, certs.open_signing_csr, request, NODE)
    refused(Code.CERTIFICATE_INVALID, certs.open_tls_csr, b"not a request", NODE)


def test_a_signing_request_with_a_foreign_key_proves_nothing() -> None:
    """The attacker puts somebody else's public key into a request and signs it with an own key."""
    request = bytearray(certs.make_csr(AGENCY, new_signing_key()))
    request[-1] ^= 1
    refused(Code.CERTIFICATE_INVALID, certs.open_signing_csr, bytes(request), AGENCY)


def test_two_identities_in_one_certificate_are_none(region: Any) -> None:
    key = new_tls_key()
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(region.at)
        .not_valid_after(region.at + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(str(NODE)), x509.UniformResourceIdentifier(str(AGENCY))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    refused(Code.CERTIFICATE_INVALID, certs.identity_of, certificate)


def test_renewal_is_due_in_the_middle_of_a_certificates_life(region: Any) -> None:
    certificate = certs.make_tls_certificate(
        NODE, new_tls_key().public_key(), region.issuing, region.at, life=timedelta(days=8)
    )
    assert certs.half_life(certificate) == region.at + timedelta(days=4)


def test_a_clock_that_is_an_hour_behind_does_not_make_a_new_certificate_a_wrong_one(region: Any) -> None:
    _, certificate = region.agency("mill-creek-pd")
    behind = region.at - timedelta(hours=1)
    identity, _, _ = certs.open_signing_certificate(certificate, region.root.certificate, behind)
    assert identity == AGENCY
