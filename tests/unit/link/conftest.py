# ruff: noqa: N802 - gRPC names its methods
"""A node's home, and a hub in this process with real TLS that says what a test tells it to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from agency_node.config import Node
from agency_node.home import make_home
from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import (
    der,
    make_issuing,
    make_root,
    make_signing_certificate,
    make_tls_certificate,
    open_signing_csr,
    open_tls_csr,
    pem,
    root_fingerprint,
)
from federation.identity.keys import fingerprint, new_signing_key, new_tls_key, private_pem
from federation.identity.region import RegionBundle
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement, sign
from federation.identity.token import JoinToken
from federation.log import Checkpoint, NoteSigner, consistency_proof, leaf_hash, root, sign_checkpoint
from federation.log.merkle import node_hash
from federation.wire import CODE_KEY, SERVER_OPTIONS
from protos.liaison.v1 import broker_pb2 as pb
from protos.liaison.v1 import broker_pb2_grpc, registry_pb2, registry_pb2_grpc

REGION, AGENCY = "delta", "eastport-pd"
SECRET = "s" * 43


def now() -> datetime:
    return datetime.now(UTC)


class Log:
    """A log in memory."""

    def __init__(self, entries: int = 3) -> None:
        self.signer = NoteSigner("log.delta.example", new_signing_key())
        self.leaves = [leaf_hash(b"entry %d" % number) for number in range(entries)]

    def read(self, level: int, index: int) -> bytes:
        if level == 0:
            return self.leaves[index]
        return node_hash(self.read(level - 1, 2 * index), self.read(level - 1, 2 * index + 1))

    def grow(self, entries: int = 1) -> None:
        self.leaves += [leaf_hash(b"more %d" % number) for number in range(entries)]

    def note(self) -> bytes:
        size = len(self.leaves)
        return sign_checkpoint(Checkpoint(self.signer.name, size, root(size, self.read)), self.signer)

    async def prove(self, first: int, second: int) -> list[bytes]:
        if second > len(self.leaves):
            raise LiaisonError(Code.REQUEST_INVALID)
        return consistency_proof(first, second, self.read)


class Pki:
    """The region's keys."""

    def __init__(self) -> None:
        at = now() - timedelta(days=1)
        self.root = make_root(REGION, new_tls_key(), at)
        self.issuing = make_issuing(REGION, new_tls_key(), self.root, at)
        self.coordinator = new_signing_key()
        identity = SpiffeId.coordinator(REGION)
        self.coordinator_certificate = der(
            make_signing_certificate(identity, self.coordinator.public_key(), self.root, at)
        )
        self.log = Log()

    def bundle(self, version: int = 1, **changes: Any) -> SignedStatement:
        fields: dict[str, Any] = {
            "region": REGION,
            "version": version,
            "issued_at": stamp(now()),
            "log_origin": self.log.signer.name,
            "log_vkey": self.log.signer.verifier_key().encode(),
            "policy": f"liaison: region/v1\nregion: {REGION}\nversion: 1\n",
        }
        payload = RegionBundle(**(fields | changes)).encode()
        return sign("region", payload, self.coordinator, self.coordinator_certificate)

    def server_credentials(self, *, mutual: bool, identity: SpiffeId | None = None) -> grpc.ServerCredentials:
        key = new_tls_key()
        who = identity or SpiffeId.hub(REGION)
        certificate = make_tls_certificate(
            who, key.public_key(), self.issuing, now(), hosts=("127.0.0.1", "localhost")
        )
        chain = pem(certificate, self.issuing.certificate, self.root.certificate)
        return grpc.ssl_server_credentials(
            [(private_pem(key), chain)], pem(self.root.certificate) if mutual else None, mutual
        )


async def refuse(context: Any, code: Code, detail: str = "") -> None:
    error = LiaisonError(code, detail)
    status = getattr(grpc.StatusCode, error.entry.status)
    await context.abort(status, detail, trailing_metadata=((CODE_KEY, code.value),))


@dataclass
class Hub:
    """A hub that does as it is told: `script` writes frames down each stream and reads what comes up."""

    pki: Pki
    join_address: str = ""
    broker_address: str = ""
    refuse_join: Code | None = None
    clock: Callable[[], datetime] = now
    confirmed: bool = True
    bundle: bytes = b""
    joins: list[registry_pb2.JoinRequest] = field(default_factory=list)
    published: list[SignedStatement] = field(default_factory=list)
    streams: int = 0
    script: Callable[[Any, Any], Any] | None = None
    signing_public: Any = None
    sent_identity: SpiffeId | None = None

    def __post_init__(self) -> None:
        self.bundle = self.bundle or self.pki.bundle().encode()

    def token(self, **changes: str) -> str:
        fields = {
            "region": REGION,
            "agency": AGENCY,
            "join": self.join_address,
            "broker": self.broker_address,
            "root": root_fingerprint(self.pki.root.certificate),
            "expires": stamp(now() + timedelta(hours=1)),
            "secret": SECRET,
        }
        return JoinToken(**(fields | changes)).encode()

    def tls_chain(self, csr: bytes, identity: SpiffeId) -> list[bytes]:
        public = open_tls_csr(csr, identity)
        named = self.sent_identity or identity
        return [
            der(make_tls_certificate(named, public, self.pki.issuing, now())),
            der(self.pki.issuing.certificate),
        ]

    async def Join(self, request: registry_pb2.JoinRequest, context: Any) -> registry_pb2.JoinResponse:
        self.joins.append(request)
        if self.refuse_join:
            await refuse(context, self.refuse_join)
        identity = SpiffeId.of_node(REGION, request.agency, request.node)
        agency = SpiffeId.of_agency(REGION, request.agency)
        self.signing_public = open_signing_csr(request.signing_csr, agency)
        return registry_pb2.JoinResponse(
            tls_chain=self.tls_chain(request.tls_csr, identity),
            region_bundle=self.bundle,
            hub_time=stamp(self.clock()),
        )

    async def Renew(self, request: registry_pb2.RenewRequest, context: Any) -> registry_pb2.RenewResponse:
        identity = SpiffeId.of_node(REGION, AGENCY, "n1")
        return registry_pb2.RenewResponse(tls_chain=self.tls_chain(request.tls_csr, identity))

    async def Membership(self, request: Any, context: Any) -> registry_pb2.MembershipResponse:
        agency = SpiffeId.of_agency(REGION, AGENCY)
        certificate = der(make_signing_certificate(agency, self.signing_public, self.pki.root, now()))
        return registry_pb2.MembershipResponse(
            agency=AGENCY,
            confirmed=self.confirmed,
            signing_certificate=certificate if self.confirmed else b"",
            fingerprint=fingerprint(self.signing_public),
            region_bundle=self.bundle,
            hub_time=stamp(self.clock()),
        )

    async def Publish(
        self, request: registry_pb2.PublishRequest, context: Any
    ) -> registry_pb2.PublishResponse:
        self.published += [SignedStatement.decode(statement) for statement in request.statements]
        return registry_pb2.PublishResponse()

    async def Directory(self, request: Any, context: Any) -> registry_pb2.DirectoryResponse:
        return registry_pb2.DirectoryResponse()

    async def Latest(self, request: Any, context: Any) -> pb.LatestResponse:
        return pb.LatestResponse(checkpoint=self.pki.log.note())

    async def Inclusion(self, request: Any, context: Any) -> pb.InclusionResponse:
        return pb.InclusionResponse()

    async def Consistency(self, request: pb.ConsistencyRequest, context: Any) -> pb.ConsistencyResponse:
        try:
            return pb.ConsistencyResponse(hashes=await self.pki.log.prove(request.first, request.second))
        except LiaisonError as error:
            await refuse(context, error.code)
            raise

    async def Open(self, frames: Any, context: Any) -> None:
        self.streams += 1
        assert self.script is not None
        await self.script(frames, context)

    def welcome(self, **changes: Any) -> pb.OpenResponse:
        fields = {
            "hub_time": stamp(self.clock()),
            "checkpoint": self.pki.log.note(),
            "region_bundle": self.bundle,
        }
        return pb.OpenResponse(welcome=pb.Welcome(**(fields | changes)))


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki()


@pytest.fixture
async def hub(pki: Pki) -> AsyncIterator[Hub]:
    pki.log = Log()
    made = Hub(pki)
    joining = grpc.aio.server(options=list(SERVER_OPTIONS))
    registry_pb2_grpc.add_JoinServiceServicer_to_server(made, joining)  # type: ignore[no-untyped-call]
    port = joining.add_secure_port("127.0.0.1:0", pki.server_credentials(mutual=False))
    made.join_address = f"127.0.0.1:{port}"
    broker = grpc.aio.server(options=list(SERVER_OPTIONS))
    for add in (
        registry_pb2_grpc.add_RegistryServiceServicer_to_server,
        broker_pb2_grpc.add_LinkServiceServicer_to_server,
        broker_pb2_grpc.add_LogServiceServicer_to_server,
    ):
        add(made, broker)  # type: ignore[no-untyped-call]
    port = broker.add_secure_port("127.0.0.1:0", pki.server_credentials(mutual=True))
    made.broker_address = f"127.0.0.1:{port}"
    await asyncio.gather(joining.start(), broker.start())
    yield made
    await asyncio.gather(joining.stop(None), broker.stop(None))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return make_home(tmp_path / "node", AGENCY)
