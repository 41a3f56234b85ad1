"""What a desk stands on: its agency's key, certificate and policy."""

from __future__ import annotations

from datetime import datetime

from agency_node.config import Node, write_atomically
from agency_node.desk.submit import Member
from agency_node.link.channel import call_errors
from federation.canonical import digest
from federation.errors import Code, LiaisonError
from federation.identity.certificates import (
    der,
    open_signing_certificate,
    parse_certificate,
    pem,
)
from federation.identity.region import Trust
from federation.identity.spiffe import SpiffeId
from protos.liaison.v1 import registry_pb2, registry_pb2_grpc


async def load_member(
    node: Node, registry: registry_pb2_grpc.RegistryServiceStub, trust: Trust, at: datetime
) -> Member:
    """The agency as it signs: its key, its certificate and the digest of its own policy file.

    A node whose agency was confirmed since it joined gets the certificate from the hub, checks it against the root
    and its own key, and keeps it.

    Raises LiaisonError(AGENCY_NOT_CONFIRMED, POLICY_MISSING, KEY_UNREADABLE, CERTIFICATE_INVALID).
    """
    policy = node.policy_text
    if not policy:
        raise LiaisonError(Code.POLICY_MISSING, "There is no policy.yaml, so nothing may be asked of others.")
    signer = node.signer()
    path = node.signing_certificate_path
    if path.exists():
        certificate = der(parse_certificate(path.read_bytes()))
    else:
        certificate = await _confirmed(registry)
    who, public, parsed = open_signing_certificate(certificate, trust.root, at)
    if who != SpiffeId.of_agency(trust.region, node.agency) or public != signer.public_key():
        raise LiaisonError(
            Code.CERTIFICATE_INVALID, "The signing certificate is not that of this agency's key."
        )
    if not path.exists():
        write_atomically(path, pem(parsed))
    return Member(trust.region, node.agency, signer, certificate, digest(policy))


async def _confirmed(registry: registry_pb2_grpc.RegistryServiceStub) -> bytes:
    with call_errors():
        membership = await registry.Membership(registry_pb2.MembershipRequest(), timeout=15.0)
    if not membership.confirmed:
        raise LiaisonError(Code.AGENCY_NOT_CONFIRMED)
    return bytes(membership.signing_certificate)
