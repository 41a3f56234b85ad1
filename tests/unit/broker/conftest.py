"""A region in one process: a real hub with real TLS and SQLite, and members that speak the real protocol."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from federation.canonical import b64, canonical, digest, stamp, unb64
from federation.identity.certificates import make_csr, parse_certificate, pem
from federation.identity.hybrid import SealingKey
from federation.identity.keys import fingerprint, new_signing_key, new_tls_key, private_pem
from federation.identity.node import GalleryStatement, NodeStatement, PolicyStatement
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement, sign
from federation.log import KeyType, LogEntry, NoteSigner, parse_entry
from federation.probe.answer import Cancellation, Receipt
from federation.probe.envelope import open_probe, seal_answer, seal_probe
from federation.probe.request import ProbeRequest
from federation.wire import CLIENT_OPTIONS
from hub.broker.server import Running, start
from hub.config import Hub, Settings, load_hub
from hub.registry.agencies import add_agency, confirm
from hub.registry.founding import found
from hub.registry.joining import Application, join
from hub.registry.offline import Offline
from hub.registry.publication import publish
from hub.registry.service import issuer_of
from hub.registry.tokens import make_token
from hub.store.log import LogReader
from hub.store.members import Members
from protos.liaison.v1 import broker_pb2, broker_pb2_grpc

PICTURE = b"a picture that only the gallery's node may read " * 40
ASKER, OWNER, CLOSED = "mill-creek-pd", "eastport-pd", "harbor-pd"


class Clock:
    """The wall clock, with an offset that a test may set."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


def policy_of(agency: str, *, galleries: Iterable[str] = (), requires: Iterable[str] = ()) -> str:
    return yaml.safe_dump(
        {
            "liaison": "policy/v1",
            "agency": agency,
            "version": 1,
            "jurisdictions": ["us-ca"],
            "galleries": {name: {"kind": "booking", "title": name} for name in galleries},
            "share": [
                {
                    "id": "assist",
                    "says": "Partners may search in criminal investigations.",
                    "purposes": ["criminal-investigation"],
                    "requires": list(requires),
                }
            ]
            if galleries
            else [],
            "refuse": [
                {"id": "not-today", "says": "This agency does not share.", "gallery_kinds": ["booking"]}
            ]
            if agency == CLOSED
            else [],
            "use": [{"id": "any", "says": "Our detectives may ask everybody."}],
        }
    )


@dataclass
class Member:
    """One node of one agency, with everything that it holds itself."""

    hub: Hub
    agency: str
    node: str
    port: int
    signer: Ed25519PrivateKey
    certificate: bytes
    tls_key: bytes
    tls_chain: bytes
    policy: str
    sealing: SealingKey = field(default_factory=SealingKey.generate)
    witness: Ed25519PrivateKey = field(default_factory=new_signing_key)
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(pem(self.hub.root()), self.tls_key, self.tls_chain)
        channel = grpc.aio.secure_channel(
            f"127.0.0.1:{self.port}",
            credentials,
            options=[*CLIENT_OPTIONS, ("grpc.use_local_subchannel_pool", 1)],
        )
        self.channels.append(channel)
        return channel

    @property
    def broker(self) -> Any:
        return broker_pb2_grpc.BrokerServiceStub(self.channel())

    @property
    def log(self) -> Any:
        return broker_pb2_grpc.LogServiceStub(self.channel())

    @property
    def witness_signer(self) -> NoteSigner:
        return NoteSigner(f"{self.agency}/{self.node}", self.witness)

    def sign(self, kind: str, payload: bytes) -> SignedStatement:
        return sign(kind, payload, self.signer, self.certificate)

    def statements(self, galleries: Iterable[str], at: datetime) -> list[bytes]:
        policy = PolicyStatement(agency=self.agency, version=1, issued_at=stamp(at), text=self.policy)
        node = NodeStatement(
            agency=self.agency,
            node=self.node,
            issued_at=stamp(at),
            sealing_key=b64(self.sealing.public()),
            witness_vkey=self.witness_signer.verifier_key(KeyType.COSIGNATURE).encode(),
            policy_digest=digest(self.policy.encode()),
            galleries=tuple(
                GalleryStatement(
                    name=name, kind="booking", title=name, engine="test", subjects=1, templates=1
                )
                for name in galleries
            ),
        )
        return [self.sign("policy", policy.encode()).encode(), self.sign("node", node.encode()).encode()]

    def request(self, galleries: dict[str, Member | None], at: datetime, **changes: Any) -> Asked:
        key = SealingKey.generate()
        fields: dict[str, Any] = {
            "liaison": "probe-request/v1",
            "id": secrets.token_hex(16),
            "region": "delta",
            "requester": {"agency": self.agency, "user": "d.ruiz", "roles": ["requester"]},
            "purpose": "criminal-investigation",
            "offense": "nibrs:120",
            "probe_source": "cctv-still",
            "case_number": "MC-26-0417",
            "attestations": [],
            "probe": {
                "original_sha256": digest(b"original"),
                "working_sha256": digest(PICTURE),
                "width": 320,
                "height": 320,
                "face_box": [10, 10, 100, 120],
                "quality": 71,
                "edits": [],
            },
            "galleries": sorted(galleries),
            "created_at": stamp(at),
            "expires_at": stamp(at + timedelta(hours=1)),
            "answer_key": b64(key.public()),
            "policy_digest": digest(self.policy.encode()),
        } | changes
        request = ProbeRequest.model_validate_json(canonical(fields))
        statement = self.sign("probe-request", request.encode())
        sealed = seal_probe(
            PICTURE,
            statement.digest,
            {name: owner.sealing.public() for name, owner in galleries.items() if owner},
        )
        message = broker_pb2.SubmitRequest(
            request=statement.encode(),
            ciphertext=sealed.ciphertext if sealed.keys else b"",
            keys=[broker_pb2.SealedKey(gallery=name, sealed_key=k) for name, k in sealed.keys.items()],
        )
        return Asked(request, statement, key, message)

    def cancellation(self, request_id: str, at: datetime) -> broker_pb2.CancelRequest:
        document = Cancellation(request=request_id, reason="Solved otherwise.", at=stamp(at))
        return broker_pb2.CancelRequest(cancellation=self.sign("cancel", document.encode()).encode())

    def outcome(self, delivery: broker_pb2.Delivery, at: datetime, **changes: Any) -> broker_pb2.Outcome:
        """An honest answer to a delivery, or one with fields of its receipt changed."""
        statement = SignedStatement.decode(delivery.request)
        request = ProbeRequest.decode(statement.payload)
        gallery = delivery.delivery_id.partition("/")[2]
        picture = open_probe(
            delivery.ciphertext, delivery.sealed_key, statement.digest, gallery, self.sealing
        )
        assert picture == PICTURE
        answer = self.sign("answer", b'{"candidates":"only for the requester"}').encode()
        sealed = seal_answer(answer, statement.digest, gallery, unb64(request.answer_key))
        fields: dict[str, Any] = {
            "request": request.id,
            "request_sha256": statement.digest,
            "gallery": gallery,
            "outcome": "answered",
            "answer_sha256": digest(sealed),
            "candidates": 3,
            "at": stamp(at),
            "seconds": 0.1,
        } | changes
        receipt = Receipt.model_validate_json(canonical(fields))
        return broker_pb2.Outcome(
            delivery_id=delivery.delivery_id,
            receipt=self.sign("receipt", receipt.encode()).encode(),
            sealed_answer=sealed if receipt.outcome == "answered" else b"",
        )

    async def link(self, at: datetime, **hello: str) -> FakeLink:
        fields = {"node_time": stamp(at), "software": "test", "policy_digest": digest(self.policy.encode())}
        call = broker_pb2_grpc.LinkServiceStub(self.channel()).Open()
        await call.write(broker_pb2.OpenRequest(hello=broker_pb2.Hello(**(fields | hello))))
        return FakeLink(call)


@dataclass(frozen=True)
class Asked:
    request: ProbeRequest
    statement: SignedStatement
    key: SealingKey
    message: broker_pb2.SubmitRequest

    @property
    def id(self) -> str:
        return self.request.id


class FakeLink:
    """The node's end of a link."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def next(self, kind: str) -> Any:
        """The next message of a kind; checkpoints on the way are passed over."""
        while True:
            message = await self.call.read()
            if message is grpc.aio.EOF:
                await self.call.wait_for_connection()
                code = await self.call.code()
                raise EOFError(code)
            found = message.WhichOneof("message")
            if found == kind:
                return getattr(message, kind)
            assert found in {"checkpoint", "welcome"}, found

    async def send(self, **message: Any) -> None:
        await self.call.write(broker_pb2.OpenRequest(**message))

    async def claim(self, delivery: broker_pb2.Delivery) -> None:
        await self.send(claim=broker_pb2.Claim(delivery_id=delivery.delivery_id))

    async def ended(self) -> grpc.aio.AioRpcError | None:
        """How the hub ended the link."""
        try:
            while await self.call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error
        return None


@dataclass
class Region:
    home: Path
    clock: Clock
    hub: Hub
    running: Running
    members: dict[str, Member] = field(default_factory=dict)

    async def restart(self) -> None:
        await self.running.stop(grace=0)
        self.running = await start(self.hub, self.clock, recheck_seconds=0.1)
        for member in self.members.values():
            member.port = self.running.broker

    async def add(
        self,
        agency: str,
        *,
        node: str = "n1",
        galleries: Iterable[str] = (),
        requires: Iterable[str] = (),
        confirmed: bool = True,
    ) -> Member:
        """A member that has joined by token, was confirmed, and has published policy and node statement."""
        run, hub = self.running.core.writer.run, self.hub
        first = self.members.get(agency)
        tls_key = new_tls_key()
        signer = first.signer if first else new_signing_key()
        if first is None:
            await run(lambda tx: add_agency(tx, agency, agency.title()))
        token = await run(lambda tx: make_token(tx, hub, agency))
        application = Application(
            token.secret,
            agency,
            node,
            make_csr(SpiffeId.of_node("delta", agency, node), tls_key),
            make_csr(SpiffeId.of_agency("delta", agency), signer),
            stamp(self.clock()),
        )
        chain = await run(lambda tx: join(tx, issuer_of(hub), application))
        root = Offline(self.home / "offline").root(hub)
        if first is None and confirmed:
            await run(lambda tx: confirm(tx, "delta", agency, fingerprint(signer.public_key()), root))
        row = await self.running.core.read(lambda s: Members(s).agency(agency).signing_certificate)
        member = Member(
            hub,
            agency,
            node,
            self.running.broker,
            signer,
            row or b"",
            private_pem(tls_key),
            pem(*(parse_certificate(der) for der in chain)),
            policy_of(agency, galleries=galleries, requires=requires),
        )
        if confirmed:
            trust, at = self.running.core.trust_at(self.clock()), self.clock()
            identity = SpiffeId.of_node("delta", agency, node)
            statements = member.statements(galleries, at)
            await run(lambda tx: publish(tx, trust, identity, statements))
        self.members.setdefault(agency, member)
        self.members[f"{agency}/{node}"] = member
        return member

    def events(self) -> list[str]:
        """The types of all log entries, in order."""
        return [entry.type.value for entry in self.entries()]

    def entries(self) -> list[LogEntry]:
        with Session(self.running.core.engine) as session:
            log = LogReader(session)
            return [parse_entry(entry) for entry in log.entries(0, log.size())]


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[Region]:
    clock, home = Clock(), tmp_path / "hub"
    found(home, None, Settings(region="delta"), None, [], clock)
    # Port 0, which the settings' file may not say: the kernel picks ports that nobody else has.
    anywhere = {"broker": "127.0.0.1:0", "join": "127.0.0.1:0"}
    hub = Hub(home, load_hub(home).settings.model_copy(update=anywhere))
    running = await start(hub, clock, recheck_seconds=0.1)
    made = Region(home, clock, hub, running)
    yield made
    for member in made.members.values():
        for channel in member.channels:
            await channel.close()
    await made.running.stop(grace=0)


@pytest.fixture
async def asker(region: Region) -> Member:
    return await region.add(ASKER)


@pytest.fixture
async def owner(region: Region) -> Member:
    return await region.add(OWNER, galleries=["booking"])
