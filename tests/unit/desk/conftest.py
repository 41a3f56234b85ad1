"""A region in one process: real keys, seals and log; a hub that can be told to lie; a fake engine."""

# ruff: noqa: N802 - gRPC names the methods of a servicer

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agency_node.config import Node, User
from agency_node.desk.details import RequestDetails
from agency_node.desk.session import Desk
from agency_node.engine.base import Face
from agency_node.gallery.vault import create_key
from federation.canonical import b64, digest, stamp, unb64
from federation.errors import CATALOGUE, Code, LiaisonError
from federation.identity import certificates as certs
from federation.identity.hybrid import SealingKey
from federation.identity.keys import new_signing_key, new_tls_key, private_pem, write_secret
from federation.identity.node import GalleryStatement, NodeStatement
from federation.identity.region import RegionBundle
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement, sign
from federation.log import (
    Checkpoint,
    EntryType,
    LogEntry,
    NoteSigner,
    append_nodes,
    commit,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    sign_checkpoint,
)
from federation.probe.answer import (
    Answer,
    Candidate,
    GallerySize,
    Receipt,
    SubmissionReceipt,
    SubmittedDelivery,
)
from federation.probe.envelope import open_probe, seal_answer
from federation.probe.logged import request_facts
from federation.probe.request import ProbeRequest
from federation.wire import CODE_KEY
from protos.liaison.v1 import broker_pb2, broker_pb2_grpc, registry_pb2, registry_pb2_grpc

REGION = "delta"
POLICY = b"""\
liaison: policy/v1
agency: lodi-pd
version: 1
jurisdictions: [us-ca]
use:
  - {id: any, says: Our people may ask every gallery.}
"""


SETTINGS = """\
agency = "lodi-pd"
region = "delta"
broker = "127.0.0.1:1"

[users."det.ruiz"]
roles = ["requester"]
training_date = 2026-05-01
"""


@dataclass
class Agency:
    name: str
    key: Ed25519PrivateKey
    certificate: bytes
    sealing: SealingKey = field(default_factory=SealingKey.generate)

    def sign(self, kind: str, payload: bytes) -> SignedStatement:
        return sign(kind, payload, self.key, self.certificate)


class Region:
    def __init__(self) -> None:
        self.at = datetime.now(UTC)
        self.root = certs.make_root(REGION, new_tls_key(), self.at)
        self.log_key = NoteSigner(f"{REGION}/log", new_signing_key())
        self.hub = self._signer("hub", SpiffeId.hub(REGION))
        self.coordinator = self._signer("coordinator", SpiffeId.coordinator(REGION))
        names = ("lodi-pd", "stockton-pd", "tracy-pd")
        self.agencies = {name: self._signer(name, SpiffeId.of_agency(REGION, name)) for name in names}

    def _signer(self, name: str, identity: SpiffeId) -> Agency:
        key = new_signing_key()
        certificate = certs.make_signing_certificate(identity, key.public_key(), self.root, self.at)
        return Agency(name, key, certs.der(certificate))

    def bundle(self, version: int = 1, **changes: Any) -> SignedStatement:
        fields = {
            "region": REGION,
            "version": version,
            "issued_at": stamp(self.at),
            "log_origin": self.log_key.name,
            "log_vkey": self.log_key.verifier_key().encode(),
            "policy": f"liaison: region/v1\nregion: {REGION}\nversion: 1\n",
        }
        return self.coordinator.sign("region", RegionBundle(**{**fields, **changes}).encode())

    def node_statement(self, agency: str, **changes: Any) -> SignedStatement:
        owner = self.agencies[agency]
        gallery = GalleryStatement(
            name="booking",
            kind="booking",
            title="Booking photographs",
            engine="toy@1",
            subjects=9,
            templates=9,
        )
        fields = {
            "agency": agency,
            "node": "n1",
            "issued_at": stamp(self.at),
            "sealing_key": b64(owner.sealing.public()),
            "witness_vkey": "w",
            "galleries": (gallery,),
        }
        return owner.sign("node", NodeStatement(**{**fields, **changes}).encode())


class MemoryLog:
    def __init__(self, signer: NoteSigner) -> None:
        self.signer = signer
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.size = 0

    def append(self, entry: bytes) -> int:
        def read(level: int, index: int) -> bytes:
            return self.nodes[level, index]

        for level, index, value in append_nodes(self.size, [leaf_hash(entry)], read):
            self.nodes[level, index] = value
        self.size += 1
        return self.size - 1

    def read(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def note(self) -> bytes:
        return sign_checkpoint(
            Checkpoint(self.signer.name, self.size, root(self.size, self.read)), self.signer
        )


Lie = Callable[..., Any]


class FakeHub(
    broker_pb2_grpc.BrokerServiceServicer,
    broker_pb2_grpc.LogServiceServicer,
    registry_pb2_grpc.RegistryServiceServicer,
):
    """Takes a request and lets its galleries answer at once. Tests override single steps to attack."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.log = MemoryLog(region.log_key)
        self.log.append(b"founding")
        self.submitted: list[bytes] = []
        self.acknowledged: list[str] = []
        self.cancelled: list[bytes] = []
        self.responses: dict[str, broker_pb2.SubmitResponse] = {}
        self.deliveries: dict[str, list[broker_pb2.CollectedDelivery]] = {}
        self.nodes = [
            registry_pb2.DirectoryNode(
                agency=name, node="n1", statement=region.node_statement(name).encode(), connected=True
            )
            for name in ("stockton-pd", "tracy-pd")
        ]
        self.bundle = b""
        self.clock_ahead = timedelta(0)
        self.refusing = frozenset[str]()
        self.drop_replies = 0
        self.break_watches = 0
        self.streams = False
        self.collected = 0
        self.rejects: Code | None = None
        self.change_submission: Lie = lambda response: response
        self.change_collected: Lie = lambda deliveries: deliveries
        self.answered_by: dict[str, str] = {}
        self.change_answer: Lie = lambda answer: answer
        self.change_receipt: Lie = lambda receipt: receipt

    async def Membership(self, request: Any, context: Any) -> Any:
        return registry_pb2.MembershipResponse(
            agency="lodi-pd",
            confirmed=True,
            signing_certificate=self.region.agencies["lodi-pd"].certificate,
            hub_time=stamp(datetime.now(UTC) + self.clock_ahead),
        )

    async def Publish(self, request: Any, context: Any) -> Any:
        return registry_pb2.PublishResponse()

    async def Directory(self, request: Any, context: Any) -> Any:
        return registry_pb2.DirectoryResponse(nodes=self.nodes, region_bundle=self.bundle)

    async def Consistency(self, request: Any, context: Any) -> Any:
        return broker_pb2.ConsistencyResponse(
            hashes=consistency_proof(request.first, request.second, self.log.read)
        )

    async def Submit(self, message: Any, context: Any) -> Any:
        self.submitted.append(message.SerializeToString(deterministic=True))
        if self.rejects:
            await refuse(context, self.rejects)
        statement = SignedStatement.decode(message.request)
        request = ProbeRequest.decode(statement.payload)
        if request.id not in self.responses:
            self._take(message, statement, request)
        if self.drop_replies:
            self.drop_replies -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return self.change_submission(self.responses[request.id])

    async def Watch(self, message: Any, context: Any) -> AsyncIterator[Any]:
        deliveries = self.deliveries.get(message.request_id)
        if deliveries is None:
            await refuse(context, Code.REQUEST_UNKNOWN)
        if self.break_watches:
            self.break_watches -= 1
            yield broker_pb2.WatchResponse(delivery=deliveries[0].status)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        told = self.change_collected(list(deliveries)) if self.streams and message.answers else deliveries
        for number, delivery in enumerate(told, 1):
            response = broker_pb2.WatchResponse(delivery=delivery.status, done=number == len(told))
            if told is not deliveries:
                response.sealed_answer, response.receipt = delivery.sealed_answer, delivery.receipt
            yield response
        if not told:
            yield broker_pb2.WatchResponse(done=True)

    async def Collect(self, message: Any, context: Any) -> Any:
        self.collected += 1
        return broker_pb2.CollectResponse(
            deliveries=self.change_collected(list(self.deliveries[message.request_id]))
        )

    async def Acknowledge(self, message: Any, context: Any) -> Any:
        self.acknowledged += message.galleries
        for delivery in self.deliveries[message.request_id]:
            if delivery.status.gallery in message.galleries:
                delivery.sealed_answer = b""
        return broker_pb2.AcknowledgeResponse()

    async def Cancel(self, message: Any, context: Any) -> Any:
        self.cancelled.append(message.cancellation)
        return broker_pb2.CancelResponse()

    def _take(self, message: Any, statement: SignedStatement, request: ProbeRequest) -> None:
        salt = bytes(32)
        entry = LogEntry(
            EntryType.REQUEST, datetime.now(UTC), request_facts(request), commit(statement.payload, salt)
        ).encode()
        index = self.log.append(entry)
        submission = SubmissionReceipt(
            request=request.id,
            request_sha256=statement.digest,
            accepted_at=stamp(datetime.now(UTC)),
            log_index=index,
            deliveries=tuple(
                SubmittedDelivery(gallery=name, state="queued", reason="Waiting.")
                for name in request.galleries
            ),
        )
        self.responses[request.id] = broker_pb2.SubmitResponse(
            receipt=self.region.hub.sign("submission", submission.encode()).encode(),
            proof=broker_pb2.LogProof(
                entry=entry,
                salt=salt,
                index=index,
                checkpoint=self.log.note(),
                inclusion=inclusion_proof(index, self.log.size, self.log.read),
            ),
        )
        keys = {key.gallery: key.sealed_key for key in message.keys}
        self.deliveries[request.id] = [
            self._serve(name, keys[name], message.ciphertext, statement, request)
            for name in request.galleries
        ]

    def _serve(
        self,
        gallery: str,
        sealed_key: bytes,
        ciphertext: bytes,
        statement: SignedStatement,
        request: ProbeRequest,
    ) -> broker_pb2.CollectedDelivery:
        if gallery in self.refusing:
            rule = broker_pb2.Rule(
                source=gallery.split("/", maxsplit=1)[0], id="no-such-search", effect="refuse"
            )
            return broker_pb2.CollectedDelivery(
                status=broker_pb2.DeliveryStatus(
                    gallery=gallery,
                    state="refused_by_hub",
                    reason="Never for this.",
                    code="policy-denies",
                    rules=[rule],
                )
            )
        owner = self.region.agencies[gallery.split("/", maxsplit=1)[0]]
        picture = open_probe(ciphertext, sealed_key, statement.digest, gallery, owner.sealing)
        assert digest(picture) == request.probe.working_sha256
        found = (
            Candidate(rank=1, similarity=0.71, subject="S-1", photo=b64(picture)),
            Candidate(rank=2, similarity=0.4, subject="S-2"),
        )
        answer = self.change_answer(
            Answer(
                request=request.id,
                request_sha256=statement.digest,
                gallery=gallery,
                engine="toy@1",
                gallery_size=GallerySize(subjects=9, templates=9),
                candidates=found,
                searched_at=stamp(datetime.now(UTC)),
            )
        )
        signer = self.region.agencies[self.answered_by.get(gallery, owner.name)]
        sealed = seal_answer(
            signer.sign("answer", answer.encode()).encode(),
            statement.digest,
            gallery,
            unb64(request.answer_key),
        )
        receipt = self.change_receipt(
            Receipt(
                request=request.id,
                request_sha256=statement.digest,
                gallery=gallery,
                outcome="answered",
                answer_sha256=digest(sealed),
                candidates=2,
                at=stamp(datetime.now(UTC)),
                seconds=0.1,
            )
        )
        return broker_pb2.CollectedDelivery(
            status=broker_pb2.DeliveryStatus(gallery=gallery, state="answered", reason="Searched."),
            sealed_answer=sealed,
            receipt=owner.sign("receipt", receipt.encode()).encode(),
        )


async def refuse(context: Any, code: Code) -> None:
    await context.abort(
        getattr(grpc.StatusCode, CATALOGUE[code].status), "", trailing_metadata=((CODE_KEY, code.value),)
    )


class FakeEngine:
    """Finds the faces that it is told to find."""

    engine_id, name, dimension = "fake@0", "fake", 4

    def __init__(self, *boxes: tuple[float, float, float, float]) -> None:
        self.boxes = boxes

    def detect(self, picture: Any) -> list[Face]:
        return [Face(box, _landmarks(box), 0.99) for box in self.boxes]

    def template(self, picture: Any, face: Face) -> Any:
        raise LiaisonError(Code.INTERNAL, "A desk makes no template.")

    def templates(self, picture: Any, faces: Any) -> Any:
        raise LiaisonError(Code.INTERNAL, "A desk makes no template.")


def _landmarks(box: tuple[float, float, float, float]) -> Any:
    left, top, right, bottom = box
    parts = [(0.32, 0.4), (0.68, 0.4), (0.5, 0.6), (0.36, 0.78), (0.64, 0.78)]
    return np.array(
        [(left + x * (right - left), top + y * (bottom - top)) for x, y in parts], dtype=np.float32
    )


@pytest.fixture(scope="session")
def region() -> Region:
    return Region()


@pytest.fixture
def hub(region: Region) -> FakeHub:
    return FakeHub(region)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine((100.0, 100.0, 200.0, 230.0))


@pytest.fixture
def make_engine() -> type[FakeEngine]:
    return FakeEngine


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG of noise, 400×320: what is in it is the fake engine's to say."""
    pixels = np.random.default_rng(1).integers(0, 255, (320, 400, 3), dtype=np.uint8)
    done, data = cv2.imencode(".png", cv2.GaussianBlur(pixels, (5, 5), 0))
    assert done
    return data.tobytes()


@pytest.fixture
def details() -> RequestDetails:
    return RequestDetails(
        user="det.ruiz",
        purpose="criminal-investigation",
        probe_source="cctv-still",
        case_number="26-1044",
        offense="nibrs:120",
        life=timedelta(minutes=10),
    )


@pytest.fixture
def node(tmp_path: Path, region: Region) -> Node:
    """The home of a joined member without a gallery."""
    home = tmp_path / "home"
    (home / "certs").mkdir(parents=True)
    agency = region.agencies["lodi-pd"]
    node = Node(
        home=home,
        agency="lodi-pd",
        region=REGION,
        broker="127.0.0.1:1",
        users={"det.ruiz": User(roles=("requester",), training_date=date(2026, 5, 1))},
    )
    write_secret(home / "keys" / "agency.key", private_pem(agency.key))
    write_secret(home / "keys" / "witness.key", private_pem(new_signing_key()))
    create_key(home / "keys" / "vault.key")
    node.root_path.write_bytes(certs.pem(region.root.certificate))
    node.bundle_path.write_bytes(region.bundle().encode())
    node.signing_certificate_path.write_bytes(certs.pem(certs.parse_certificate(agency.certificate)))
    node.tls_chain_path.write_bytes(b"unused")
    node.policy_path.write_bytes(POLICY)
    node.settings_path.write_text(SETTINGS)
    return node


async def start(hub: FakeHub) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server()
    broker_pb2_grpc.add_BrokerServiceServicer_to_server(hub, server)
    broker_pb2_grpc.add_LogServiceServicer_to_server(hub, server)
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(hub, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


@pytest.fixture
async def channel(hub: FakeHub) -> AsyncIterator[grpc.aio.Channel]:
    server, port = await start(hub)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


@pytest.fixture
def hub_port(hub: FakeHub) -> Iterator[int]:
    """The hub in a thread of its own, for commands that bring their own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server, port = asyncio.run_coroutine_threadsafe(start(hub), loop).result()
    yield port
    asyncio.run_coroutine_threadsafe(server.stop(None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
async def desk(node: Node, engine: FakeEngine, channel: grpc.aio.Channel) -> AsyncIterator[Desk]:
    async with Desk(node, engine, channel=channel) as desk:
        yield desk
