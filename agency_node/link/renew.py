"""Renewing the node's TLS certificate over mutual TLS, from the middle of its life; the key stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import grpc.aio
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from agency_node.config import Node, write_atomically
from agency_node.link.channel import call_errors
from agency_node.link.membership import CALL_SECONDS
from agency_node.link.trust import load_root
from federation.errors import Code, LiaisonError
from federation.identity.certificates import (
    half_life,
    identity_of,
    is_authority,
    make_csr,
    parse_certificate,
    pem,
)
from federation.identity.keys import load_tls_key
from federation.identity.spiffe import SpiffeId
from protos.liaison.v1 import registry_pb2 as pb
from protos.liaison.v1 import registry_pb2_grpc as rpc


def renewal_due(node: Node, now: datetime) -> bool:
    """Whether the certificate has passed the middle of its life."""
    return now >= half_life(parse_certificate(node.tls_chain_path.read_bytes()))


async def renew(node: Node, channel: grpc.aio.Channel, now: datetime) -> None:
    """Ask for a new certificate of the same identity and put it in place of the old one.

    Whoever has a channel open must make a new one: gRPC does not read the file again. Raises
    LiaisonError(CERTIFICATE_INVALID) when what the hub sends is not right; the old one stays then.
    """
    key = load_tls_key(node.tls_key_path)
    stub = rpc.RegistryServiceStub(channel)  # type: ignore[no-untyped-call]
    with call_errors():
        request = pb.RenewRequest(tls_csr=make_csr(node.identity, key))
        response = await stub.Renew(request, timeout=CALL_SECONDS)
    chain = check_tls_chain(response.tls_chain, load_root(node), node.identity, key.public_key(), now)
    write_atomically(node.tls_chain_path, pem(*chain))


def check_tls_chain(
    encoded: Sequence[bytes], root: x509.Certificate, identity: SpiffeId, public: object, now: datetime
) -> list[x509.Certificate]:
    """The chain (DER, leaf first, without the root), if it leads from our key and identity to the root.

    Raises LiaisonError(CERTIFICATE_INVALID) with the reason.
    """
    chain = [parse_certificate(certificate) for certificate in encoded]
    if not 1 <= len(chain) <= 4:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The hub sent no chain of certificates.")
    leaf = chain[0]
    if leaf.public_key() != public or identity_of(leaf) != identity:
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The hub certified another key or another identity.")
    for certificate, issuer in zip(chain, [*chain[1:], root], strict=True):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise LiaisonError(Code.CERTIFICATE_INVALID, "The chain does not lead to the root.") from error
        if not is_authority(issuer):
            raise LiaisonError(Code.CERTIFICATE_INVALID, "Somebody signed who may not.")
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise LiaisonError(
                Code.CERTIFICATE_INVALID, "A certificate of the chain is not within its dates."
            )
    return chain
