"""What a desk stands on: its agency's confirmed key, and a policy that the region knows."""

from __future__ import annotations

from datetime import datetime

import grpc.aio

from agency_node.config import Node
from agency_node.desk.submit import Member
from agency_node.link.channel import call_errors
from agency_node.link.membership import policy_statement, refresh_membership, signing_certificate
from agency_node.link.trust import TrustKeeper
from federation.errors import Code, LiaisonError
from federation.identity.certificates import der
from federation.policy.load import digest
from protos.liaison.v1 import registry_pb2, registry_pb2_grpc

_CALL_SECONDS = 15.0


async def take_standing(node: Node, channel: grpc.aio.Channel, keeper: TrustKeeper, at: datetime) -> Member:
    """The agency as it signs. A certificate that is not here yet is fetched, and the policy file is published, so
    that a member which runs no `serve` can ask too; the hub takes a policy that it has already as no news. The
    clocks are compared first: what is signed under a wrong one would only be taken for expired.

    Raises LiaisonError(POLICY_MISSING, AGENCY_NOT_CONFIRMED, KEY_UNREADABLE, CERTIFICATE_INVALID, CLOCK_SKEW), and
    POLICY_ROLLBACK when the file was changed and its version was not.
    """
    text = node.policy_text
    if not text:
        raise LiaisonError(Code.POLICY_MISSING, "There is no policy.yaml, so nothing may be asked of others.")
    membership = await refresh_membership(node, channel, keeper, at)
    if not membership.confirmed:
        raise LiaisonError(Code.AGENCY_NOT_CONFIRMED, f"Its fingerprint is {membership.fingerprint}.")
    statement = policy_statement(node, at)
    stub = registry_pb2_grpc.RegistryServiceStub(channel)  # type: ignore[no-untyped-call]
    with call_errors():
        await stub.Publish(
            registry_pb2.PublishRequest(statements=[statement.encode()]), timeout=_CALL_SECONDS
        )
    return Member(
        region=node.require_region(),
        agency=node.agency,
        signer=node.signer(),
        certificate=der(signing_certificate(node, at)),
        policy_digest=digest(text),
    )
