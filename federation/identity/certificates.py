"""The region's certificates.

    root (P-256, kept offline) ─┬─ issuing CA (P-256, at the hub) ─── TLS certificates of hub and nodes (days)
                                └─ signing certificates (Ed25519): agencies, coordinator, hub

Signing certificates come from the root alone. Whoever takes over the hub gets the issuing CA and can pretend to
be a node on the wire, but cannot make an agency's signature: the issuing CA's certificates are never accepted
for signing (`open_signing_certificate` wants the root's own signature).

Source: RFC 5280; SPIFFE X.509-SVID (one URI in the subject alternative name).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.errors import Code, LiaisonError
from federation.identity.spiffe import SpiffeId

ROOT_LIFE = timedelta(days=365 * 20)
ISSUING_LIFE = timedelta(days=365 * 5)
SIGNING_LIFE = timedelta(days=365)
TLS_LIFE = timedelta(days=7)
# Certificates start a day before they are made: a machine whose clock is behind must get far enough to be told that it
# is the clock (CLOCK_SKEW), not that a new hub's or a new agency's certificate is wrong.
BACKDATE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that may sign others, with its key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def make_root(region: str, key: EllipticCurvePrivateKey, at: datetime) -> Authority:
    """A region's root: self-signed, may sign one further CA."""
    name = _name(f"Liaison root of {region}")
    builder = _builder(name, name, key.public_key(), at, at + ROOT_LIFE)
    builder = builder.add_extension(_uri(f"spiffe://{region}"), critical=False)
    return Authority(_ca(builder, 1, key, key.public_key()), key)


def make_issuing(region: str, key: EllipticCurvePrivateKey, root: Authority, at: datetime) -> Authority:
    """The CA that stays at the hub and signs TLS certificates only."""
    builder = _builder(
        _name(f"Liaison issuing CA of {region}"),
        root.certificate.subject,
        key.public_key(),
        at,
        at + ISSUING_LIFE,
    )
    builder = builder.add_extension(_uri(f"spiffe://{region}"), critical=False)
    return Authority(_ca(builder, 0, root.key, root.certificate.public_key()), key)


def make_tls_certificate(
    identity: SpiffeId,
    public: EllipticCurvePublicKey,
    issuing: Authority,
    at: datetime,
    *,
    hosts: tuple[str, ...] = (),
    life: timedelta = TLS_LIFE,
) -> x509.Certificate:
    """A TLS certificate for a node, or for the hub with the `hosts` (names, addresses) at which it is reached."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(identity))]
    names += [_host(host) for host in hosts]
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.role == "hub":
        usage = [ExtendedKeyUsageOID.SERVER_AUTH]
    builder = _builder(_name(str(identity)), issuing.certificate.subject, public, at, at + life)
    return (
        builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .sign(issuing.key, hashes.SHA256())
    )


def make_signing_certificate(
    identity: SpiffeId,
    public: Ed25519PublicKey,
    root: Authority,
    at: datetime,
    *,
    life: timedelta = SIGNING_LIFE,
) -> x509.Certificate:
    """The certificate of a signing key: an agency's, the coordinator's or the hub's; always from the root itself."""
    if identity.role == "node":
        raise LiaisonError(Code.CERTIFICATE_INVALID, "Nodes have TLS certificates; agencies sign.")
    return (
        _builder(_name(str(identity)), root.certificate.subject, public, at, at + life)
        .add_extension(_uri(str(identity)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .sign(root.key, hashes.SHA256())
    )


def make_csr(identity: SpiffeId, key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    """A certificate signing request (DER): proof that whoever asks holds the key, which stays where it is."""
    algorithm = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(str(identity)))
    request = builder.add_extension(_uri(str(identity)), critical=False).sign(key, algorithm)
    return request.public_bytes(serialization.Encoding.DER)


def open_tls_csr(der: bytes, identity: SpiffeId) -> EllipticCurvePublicKey:
    """The P-256 key that a request for `identity` proves. Raises LiaisonError(CERTIFICATE_INVALID)."""
    public = _open_csr(der, identity)
    if not isinstance(public, EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise LiaisonError(Code.CERTIFICATE_INVALID, "A TLS key must be P-256.")
    return public


def open_signing_csr(der: bytes, identity: SpiffeId) -> Ed25519PublicKey:
    """The Ed25519 key that a request for `identity` proves. Raises LiaisonError(CERTIFICATE_INVALID)."""
    public = _open_csr(der, identity)
    if not isinstance(public, Ed25519PublicKey):
        raise LiaisonError(Code.CERTIFICATE_INVALID, "A signing key must be Ed25519.")
    return public


def open_signing_certificate(
    der: bytes, root: x509.Certificate, at: datetime
) -> tuple[SpiffeId, Ed25519PublicKey, x509.Certificate]:
    """Who a signing certificate names and their key, if the root itself signed it and `at` is within its dates.

    Raises LiaisonError(CERTIFICATE_INVALID) with the reason.
    """
    certificate = parse_certificate(der)
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The region's root did not sign it.") from error
    public = certificate.public_key()
    if is_authority(certificate) or not isinstance(public, Ed25519PublicKey):
        raise LiaisonError(Code.CERTIFICATE_INVALID, "It is not the certificate of a signing key.")
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "It is not within its dates.")
    identity = identity_of(certificate)
    if identity.role == "node":
        raise LiaisonError(Code.CERTIFICATE_INVALID, "A node's certificate cannot sign.")
    return identity, public, certificate


def identity_of(certificate: x509.Certificate) -> SpiffeId:
    """The one SPIFFE id in a certificate. Raises LiaisonError(CERTIFICATE_INVALID)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "It carries no identity.") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "It must carry exactly one identity.")
    return SpiffeId.parse(uris[0])


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def parse_certificate(data: bytes) -> x509.Certificate:
    """A certificate from DER or PEM. Raises LiaisonError(CERTIFICATE_INVALID)."""
    try:
        if data.startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "It cannot be read.") from error


def der(certificate: x509.Certificate) -> bytes:
    """The certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as PEM, one after the other."""
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def root_fingerprint(certificate: x509.Certificate) -> str:
    """`sha256:<hex>` of a root certificate: what a join token carries."""
    return "sha256:" + certificate.fingerprint(hashes.SHA256()).hex()


def half_life(certificate: x509.Certificate) -> datetime:
    """When a certificate should be renewed: in the middle between when it was made and when it ends."""
    start, end = certificate.not_valid_before_utc + BACKDATE, certificate.not_valid_after_utc
    return start + (end - start) / 2


def _open_csr(data: bytes, identity: SpiffeId) -> object:
    try:
        request = x509.load_der_x509_csr(data)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The signing request cannot be read.") from error
    if not request.is_signature_valid:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The signing request does not prove its key.")
    if names.get_values_for_type(x509.UniformResourceIdentifier) != [str(identity)]:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The signing request is for another identity.")
    return request.public_key()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: EllipticCurvePublicKey | Ed25519PublicKey,
    at: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    at = at.astimezone(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(until.astimezone(UTC).replace(microsecond=0))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _ca(
    builder: x509.CertificateBuilder, path_length: int, signer: EllipticCurvePrivateKey, signer_public: object
) -> x509.Certificate:
    assert isinstance(signer_public, EllipticCurvePublicKey)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_public), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not sign,
        crl_sign=not sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    # An X.509 common name holds 64 characters; the identity itself is in the alternative name.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _uri(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
