"""The registry on the wire: joining for those who have a token, membership for those who have joined.

Each method parses, calls one function of the registry, and maps the result; a LiaisonError travels as the server's
interceptor sends it. The join service runs without client certificates, so nothing in it asks who is calling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import grpc.aio
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from hub.broker.caller import caller
from hub.config import Hub
from hub.registry.attempts import Attempts, host_of
from hub.registry.bundle import CurrentTrust
from hub.registry.joining import Application, Issuer, join, renew
from hub.registry.publication import publish
from hub.store.members import Members
from hub.store.writer import Writer
from protos.liaison.v1 import registry_pb2 as pb
from protos.liaison.v1 import registry_pb2_grpc as rpc

T = TypeVar("T")
Clock = Callable[[], datetime]
_LONGEST_SECRET = 256


def issuer_of(hub: Hub) -> Issuer:
    """What signs this hub's TLS certificates."""
    return Issuer(hub.region, hub.load_issuing(), hub.tls_life)


class JoinServicer(rpc.JoinServiceServicer):
    """Joining with a one-time token."""

    def __init__(
        self,
        issuer: Issuer,
        writer: Writer,
        trust: CurrentTrust,
        clock: Clock,
        attempts: Attempts | None = None,
    ) -> None:
        self._issuer = issuer
        self._writer = writer
        self._trust = trust
        self._clock = clock
        self._attempts = attempts or Attempts()

    async def Join(  # noqa: N802 - gRPC's name
        self, request: pb.JoinRequest, context: grpc.aio.ServicerContext[pb.JoinRequest, pb.JoinResponse]
    ) -> pb.JoinResponse:
        """Join a node: its TLS certificate and the region's bundle."""
        peer = host_of(context.peer())
        self._attempts.take(peer, self._clock().timestamp())
        if len(request.secret) > _LONGEST_SECRET:
            raise LiaisonError(Code.TOKEN_INVALID)
        application = Application(
            request.secret,
            request.agency,
            request.node,
            request.tls_csr,
            request.signing_csr,
            request.node_time,
        )
        chain = await self._writer.run(lambda transaction: join(transaction, self._issuer, application))
        self._attempts.succeeded(peer)
        at = self._clock()
        bundle = self._trust.at(at).signed_bundle.encode()
        return pb.JoinResponse(tls_chain=chain, region_bundle=bundle, hub_time=stamp(at))


class RegistryServicer(rpc.RegistryServiceServicer):
    """What a joined node does with its membership. `connected` says whether a node's link is up."""

    def __init__(
        self,
        issuer: Issuer,
        engine: Engine,
        writer: Writer,
        trust: CurrentTrust,
        clock: Clock,
        connected: Callable[[str, str], bool],
    ) -> None:
        self._issuer = issuer
        self._engine = engine
        self._writer = writer
        self._trust = trust
        self._clock = clock
        self._connected = connected

    async def Renew(  # noqa: N802
        self, request: pb.RenewRequest, context: grpc.aio.ServicerContext[pb.RenewRequest, pb.RenewResponse]
    ) -> pb.RenewResponse:
        """A new TLS certificate for the calling node."""
        identity = caller().identity
        chain = await self._writer.run(
            lambda transaction: renew(transaction, self._issuer, identity, request.tls_csr)
        )
        return pb.RenewResponse(tls_chain=chain)

    async def Membership(  # noqa: N802
        self,
        request: pb.MembershipRequest,
        context: grpc.aio.ServicerContext[pb.MembershipRequest, pb.MembershipResponse],
    ) -> pb.MembershipResponse:
        """Whether the calling node's agency is confirmed, and the region's newest bundle."""
        agency = caller().agency
        row = await self._read(lambda members: members.agency(agency))
        at = self._clock()
        return pb.MembershipResponse(
            agency=row.id,
            confirmed=row.signing_certificate is not None,
            signing_certificate=row.signing_certificate or b"",
            fingerprint=row.fingerprint or "",
            region_bundle=self._trust.at(at).signed_bundle.encode(),
            hub_time=stamp(at),
        )

    async def Publish(  # noqa: N802
        self,
        request: pb.PublishRequest,
        context: grpc.aio.ServicerContext[pb.PublishRequest, pb.PublishResponse],
    ) -> pb.PublishResponse:
        """Take in the agency's signed policy and node statements."""
        identity = caller().identity
        trust = self._trust.at(self._clock())
        statements = list(request.statements)
        await self._writer.run(lambda transaction: publish(transaction, trust, identity, statements))
        return pb.PublishResponse()

    async def Directory(  # noqa: N802
        self,
        request: pb.DirectoryRequest,
        context: grpc.aio.ServicerContext[pb.DirectoryRequest, pb.DirectoryResponse],
    ) -> pb.DirectoryResponse:
        """Every node that may be asked, as its agency describes it."""
        listed = await self._read(Members.directory)
        nodes = [
            pb.DirectoryNode(
                agency=node.agency,
                node=node.node,
                statement=node.statement,
                connected=self._connected(node.agency, node.node),
                last_seen=node.last_seen,
            )
            for node in listed
        ]
        bundle = self._trust.at(self._clock()).signed_bundle.encode()
        return pb.DirectoryResponse(nodes=nodes, region_bundle=bundle)

    async def _read(self, ask: Callable[[Members], T]) -> T:
        def read() -> T:
            with Session(self._engine, expire_on_commit=False) as session:
                return ask(Members(session))

        return await asyncio.to_thread(read)
