"""The node's standing in its region: whether its agency's key is confirmed, and what the agency publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import grpc.aio
from cryptography import x509

from agency_node.config import Node, write_atomically
from agency_node.link.channel import call_errors
from agency_node.link.clock import check_hub_clock
from agency_node.link.trust import TrustKeeper, load_root
from federation.canonical import b64, stamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import der, open_signing_certificate, parse_certificate, pem
from federation.identity.node import GalleryStatement, NodeStatement, PolicyStatement
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement, sign
from federation.log.note import KeyType
from federation.policy.load import digest
from protos.liaison.v1 import registry_pb2 as pb
from protos.liaison.v1 import registry_pb2_grpc as rpc

CALL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class GalleryCounts:
    """What a node says about one of its galleries: the engine that made the templates, and how much is there."""

    engine: str
    subjects: int
    templates: int


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether the coordinator has confirmed the agency's key, and the fingerprint to be read out if not."""

    confirmed: bool
    fingerprint: str


async def refresh_membership(
    node: Node, channel: grpc.aio.Channel, keeper: TrustKeeper, now: datetime
) -> Membership:
    """Ask the hub how this agency stands; keep its signing certificate and a newer region bundle.

    Raises LiaisonError(HUB_UNREACHABLE, CLOCK_SKEW, CERTIFICATE_INVALID), POLICY_ROLLBACK for an older bundle.
    """
    stub = rpc.RegistryServiceStub(channel)  # type: ignore[no-untyped-call]
    with call_errors():
        response = await stub.Membership(pb.MembershipRequest(), timeout=CALL_SECONDS)
    check_hub_clock(response.hub_time, now)
    if response.region_bundle:
        keeper.update(response.region_bundle, now)
    if response.confirmed:
        certificate = _checked_certificate(node, response.signing_certificate, now)
        encoded = pem(certificate)
        if (
            not node.signing_certificate_path.exists()
            or node.signing_certificate_path.read_bytes() != encoded
        ):
            write_atomically(node.signing_certificate_path, encoded)
    return Membership(response.confirmed, response.fingerprint)


async def publish(
    node: Node,
    channel: grpc.aio.Channel,
    galleries: Mapping[str, GalleryCounts],
    now: datetime,
) -> None:
    """Publish the agency's policy and what it says of this node, both signed with the agency's key.

    Raises LiaisonError(AGENCY_NOT_CONFIRMED, POLICY_MISSING, POLICY_INVALID), and what the hub answers.
    """
    statements = [policy_statement(node, now), node_statement(node, galleries, now)]
    stub = rpc.RegistryServiceStub(channel)  # type: ignore[no-untyped-call]
    with call_errors():
        await stub.Publish(
            pb.PublishRequest(statements=[statement.encode() for statement in statements]),
            timeout=CALL_SECONDS,
        )


def policy_statement(node: Node, now: datetime) -> SignedStatement:
    """The agency's policy file as it is now, signed."""
    policy, text = node.policy, node.policy_text
    if policy is None:
        raise LiaisonError(Code.POLICY_MISSING, "There is no policy.yaml in this node's home.")
    statement = PolicyStatement(
        agency=node.agency, version=policy.version, issued_at=stamp(now), text=text.decode()
    )
    return sign_as_agency(node, "policy", statement.encode(), now)


def node_statement(node: Node, galleries: Mapping[str, GalleryCounts], now: datetime) -> SignedStatement:
    """What the agency says of this node, signed: its keys, and those of its galleries that are open."""
    policy = node.policy
    declared = policy.galleries if policy else {}
    statement = NodeStatement(
        agency=node.agency,
        node=node.node,
        issued_at=stamp(now),
        sealing_key=b64(node.sealing_key().public()),
        witness_vkey=node.witness.verifier_key(KeyType.COSIGNATURE).encode(),
        policy_digest=digest(node.policy_text) if policy else None,
        galleries=tuple(
            GalleryStatement(
                name=name,
                kind=declared[name].kind,
                title=(declared[name].title or name)[:200],
                engine=counts.engine,
                subjects=counts.subjects,
                templates=counts.templates,
            )
            for name, counts in sorted(galleries.items())
            if name in declared
        ),
    )
    return sign_as_agency(node, "node", statement.encode(), now)


def sign_as_agency(node: Node, kind: str, payload: bytes, now: datetime) -> SignedStatement:
    """Sign a payload with the agency's key and its confirmed certificate.

    Raises LiaisonError(AGENCY_NOT_CONFIRMED) while there is none, CERTIFICATE_INVALID once it has run out.
    """
    return sign(kind, payload, node.signer(), der(signing_certificate(node, now)))


def signing_certificate(node: Node, now: datetime) -> x509.Certificate:
    """The agency's signing certificate. Raises LiaisonError(AGENCY_NOT_CONFIRMED or CERTIFICATE_INVALID)."""
    try:
        certificate = parse_certificate(node.signing_certificate_path.read_bytes())
    except FileNotFoundError as error:
        raise LiaisonError(Code.AGENCY_NOT_CONFIRMED) from error
    return _checked_certificate(node, der(certificate), now)


def _checked_certificate(node: Node, encoded: bytes, now: datetime) -> x509.Certificate:
    """The certificate, if the root signed it for this agency and the key that is here."""
    identity, public, certificate = open_signing_certificate(encoded, load_root(node), now)
    if identity != SpiffeId.of_agency(node.require_region(), node.agency):
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The signing certificate is another agency's.")
    if public.public_bytes_raw() != node.signer().public_key().public_bytes_raw():
        raise LiaisonError(Code.CERTIFICATE_INVALID, "The signing certificate is for another key.")
    return certificate
