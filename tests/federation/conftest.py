"""A federation for each file of tests: real processes, real photographs, and what an attacker at the hub can do."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import queue
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from agency_node.config import load_node
from agency_node.desk.details import RequestDetails, check_details, requester
from agency_node.desk.directory import choose_galleries, read_directory
from agency_node.desk.intake import Intake, take_in
from agency_node.desk.submit import Member, Prepared, new_request_id, prepare
from agency_node.engine import FaceEngine, load_engine
from agency_node.link.membership import signing_certificate
from agency_node.link.trust import load_trust
from demo.photographs import Cast, packaged_cast
from demo.stage import Daemon, Stage
from federation.canonical import digest, stamp
from federation.errors import LiaisonError
from federation.identity.certificates import der
from federation.identity.statement import SignedStatement, sign
from federation.log import (
    Checkpoint,
    EntryType,
    LogEntry,
    NoteSigner,
    commit,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    sign_checkpoint,
)
from federation.log.merkle import node_hash
from federation.probe.answer import SubmissionReceipt, SubmittedDelivery
from federation.probe.logged import request_facts
from federation.probe.request import ProbeRequest
from federation.wire import CODE_KEY, SERVER_OPTIONS
from hub.broker.caller import caller_of
from hub.config import Hub, load_hub
from hub.store.members import Members
from hub.store.tables import LeafRow
from protos.liaison.v1 import broker_pb2 as pb
from protos.liaison.v1 import broker_pb2_grpc, registry_pb2, registry_pb2_grpc

T = TypeVar("T")

ASKING = "mill-creek-pd"
AGENCIES = (ASKING, "san-joaquin-so", "eastport-pd", "valley-records")
ANSWERING, REFUSING, PUBLIC = "san-joaquin-so/booking", "eastport-pd/booking", "valley-records/public"
POLICIES = Path(__file__).parents[2] / "policies"
WHY = {
    "purpose": "criminal-investigation",
    "offense": "nibrs:120",
    "case_number": "MC-26-0417",
    "narrative": "Robbery of a shop; the camera above the till shows the person at the counter.",
    "legal_basis": "Reasonable suspicion of robbery",
}
_PROVENANCE = (
    *("--provenance-url", "https://photographs.example/demo"),
    *("--provenance-captured", "2026-01-15", "--basis", "sample photographs of installed packages"),
)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Federation:
    """A stage on which everybody has joined, and what tests ask of it."""

    stage: Stage
    engine: FaceEngine
    cast: Cast
    probes: dict[str, Path] = field(default_factory=dict)

    def import_people(self, gallery: str, people: dict[str, dict[str, Path | bytes]]) -> Any:
        """`agency-node import`, whether the gallery's node serves or not."""
        return import_people(self.stage, gallery, people)

    # --- Searching as people do ---------------------------------------------------------------------------

    def search(self, *arguments: str, accept: tuple[int, ...] = (0,), **why: str) -> dict[str, Any]:
        """`agency-node search` of the astronaut's probe (or what `arguments` say) from the agency that asks."""
        picture = () if {"--resume", "--cancel"} & set(arguments) else self.reasons(**why)
        found: dict[str, Any] = self.stage.run_node(ASKING, "search", *picture, *arguments, accept=accept)
        return found

    def reasons(self, probe: str = "astronaut-degraded", **why: str) -> tuple[str, ...]:
        """The arguments of a search that says why."""
        said = {**WHY, **why}
        options = {
            "--case": said["case_number"],
            "--purpose": said["purpose"],
            "--offense": said["offense"],
            "--source": "cctv-still",
            "--narrative": said["narrative"],
            "--basis": said["legal_basis"],
        }
        return (str(self.probes[probe]), *(part for pair in options.items() for part in pair))

    @staticmethod
    def eventually(look: Callable[[], T], seconds: float = 40.0, pause: float = 0.05) -> T:
        """What `look` returns once that is true."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"it did not happen within {seconds} seconds"
            time.sleep(pause)
        return found

    # --- Looking into the files ---------------------------------------------------------------------------

    def hub_rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the hub's database."""
        return _rows(self.stage.hub_home / "hub.db", query, values)

    def node_rows(self, agency: str, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a node's `node.db`."""
        return _rows(self.stage.node_home(agency) / "node.db", query, values)

    def state(self, request_id: str, gallery: str) -> str:
        """A delivery's state as the hub has it; empty before it is there."""
        rows = self.hub_rows("SELECT state FROM delivery WHERE id = ?", f"{request_id}/{gallery}")
        return str(rows[0][0]) if rows else ""

    def entries(self, request_id: str) -> list[tuple[str, dict[str, Any]]]:
        """Type and facts of the log's entries about a request."""
        found = [
            json.loads(entry) for (entry,) in self.hub_rows('SELECT entry FROM log_leaf ORDER BY "index"')
        ]
        return [(e["type"], e["facts"]) for e in found if e["facts"].get("request") == request_id]

    def was_searched(self, request_id: str, gallery: str) -> bool:
        """Whether the gallery's own node counted a search for it."""
        agency = gallery.partition("/")[0]
        query = "SELECT searched_on FROM deliveries WHERE delivery_id = ?"
        return any(day for (day,) in self.node_rows(agency, query, f"{request_id}/{gallery}"))

    # --- Processes ----------------------------------------------------------------------------------------

    def process(self, agency: str) -> Daemon:
        """An agency's `serve`, or the hub's under the name `hub`."""
        if agency == "hub":
            assert self.stage.hub is not None
            return self.stage.hub
        return self.stage.nodes[agency]

    @contextmanager
    def frozen(self, *agencies: str) -> Iterator[None]:
        """Hold processes still for a while; those that were killed meanwhile stay dead."""
        daemons = [self.process(agency) for agency in agencies]
        for daemon in daemons:
            os.kill(daemon.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for daemon in daemons:
                if daemon.process is not None and daemon.process.poll() is None:
                    os.kill(daemon.pid, signal.SIGCONT)

    @contextmanager
    def away(self, agency: str) -> Iterator[None]:
        """A node that is stopped for a while."""
        self.stage.nodes[agency].stop()
        try:
            yield
        finally:
            self.stage.start_node(agency)

    # --- Requests that never passed through a desk's command line -----------------------------------------

    @cached_property
    def intake(self) -> Intake:
        """The astronaut's probe as the desk takes it in."""
        return take_in(self.probes["astronaut-degraded"].read_bytes(), self.engine)

    def directory(self) -> list[registry_pb2.DirectoryNode]:
        """What the hub has of every agency's nodes."""
        engine = load_hub(self.stage.hub_home).open_database()
        try:
            with Session(engine) as session:
                listed = Members(session).directory()
                return [
                    registry_pb2.DirectoryNode(agency=n.agency, node=n.node, statement=n.statement)
                    for n in listed
                ]
        finally:
            engine.dispose()

    def prepared(self, *galleries: str, **why: str) -> Prepared:
        """A genuine request: sealed to the galleries' nodes and signed with the asking agency's own key."""
        now, home = utc_now(), load_node(self.stage.node_home(ASKING))
        said = RequestDetails(
            user=self.stage.user,
            probe_source="cctv-still",
            galleries=galleries,
            life=timedelta(minutes=10),
            **{**WHY, **why},  # type: ignore[arg-type]
        )
        details = check_details(said)
        chosen = choose_galleries(read_directory(self.directory(), load_trust(home, now), now), galleries)
        member = Member(
            self.stage.region,
            ASKING,
            home.signer(),
            der(signing_certificate(home, now)),
            digest(home.policy_text),
        )
        who = requester(ASKING, home.users, self.stage.user)
        return prepare(self.intake, details, who, chosen, member, new_request_id(), now)


def _rows(path: Path, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, timeout=10.0)) as connection:
        return connection.execute(query, values).fetchall()


class StolenLog:
    """The hub's log in the hands of whoever has its key: grows, forks, and proves whatever is in it."""

    def __init__(self, entries: list[bytes], signer: NoteSigner) -> None:
        self.entries = entries
        self.signer = signer

    def add(self, entry: bytes) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def fork(self) -> StolenLog:
        """Another history of the same length: its last entry was never there."""
        entry = LogEntry(EntryType.EXPIRY, utc_now(), {"request": secrets.token_hex(16)}).encode()
        return StolenLog([*self.entries[:-1], entry], self.signer)

    def read(self, level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hash(self.entries[index])
        return node_hash(self.read(level - 1, 2 * index), self.read(level - 1, 2 * index + 1))

    def note(self) -> bytes:
        size = len(self.entries)
        return sign_checkpoint(Checkpoint(self.signer.name, size, root(size, self.read)), self.signer)

    def proof(self, index: int, salt: bytes) -> pb.LogProof:
        return pb.LogProof(
            entry=self.entries[index],
            salt=salt,
            index=index,
            checkpoint=self.note(),
            inclusion=inclusion_proof(index, len(self.entries), self.read),
        )


class LyingHub(
    registry_pb2_grpc.RegistryServiceServicer,
    broker_pb2_grpc.LinkServiceServicer,
    broker_pb2_grpc.LogServiceServicer,
    broker_pb2_grpc.BrokerServiceServicer,
):
    """A hub that says what a test tells it to, with the real hub's keys and on its port, to real nodes.

    It runs in a thread of its own. What it says is in its fields: `log`, `bundle`, `directory`, and `collected`,
    which makes what `Collect` answers of what the nodes sent. Unless a test changes them, it tells the truth, except
    that it permits everything.
    """

    def __init__(self, hub: Hub, directory: list[registry_pb2.DirectoryNode]) -> None:
        self.hub = hub
        self.bundle = hub.signed_bundle().encode()
        self.directory = directory
        self.submitted: list[pb.SubmitRequest] = []
        self.collected: Callable[[], list[pb.CollectedDelivery]] | None = None
        self._came: dict[str, queue.Queue[pb.Outcome]] = {}
        self._links: dict[str, asyncio.Queue[pb.OpenResponse]] = {}
        self._started, self._stop = threading.Event(), asyncio.Event()
        engine = hub.open_database()
        with Session(engine) as session:
            entries = list(session.scalars(select(LeafRow.entry).order_by(LeafRow.index)))
            self.agencies = {row.id: row for row in Members(session).agencies()}
            session.expunge_all()
        engine.dispose()
        self.log = StolenLog(entries, hub.load_log_signer())

    # --- What tests do with it ----------------------------------------------------------------------------

    def __enter__(self) -> LyingHub:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def wait_for(self, *agencies: str) -> None:
        """Until these agencies' nodes hold their links to it."""
        Federation.eventually(lambda: self._links.keys() >= set(agencies))

    def enter(self, asked: Prepared, *, of: Prepared | None = None, **facts: object) -> pb.LogProof:
        """Log a request (or another in its place, or with other facts) and prove that entry."""
        request, payload = (of or asked).request, (of or asked).statement.payload
        salt = secrets.token_bytes(32)
        said: dict[str, Any] = {**request_facts(request), **facts}
        entry = LogEntry(EntryType.REQUEST, utc_now(), said, commit(payload, salt)).encode()
        return self.log.proof(self.log.add(entry), salt)

    def delivery(self, asked: Prepared, gallery: str, proof: pb.LogProof, **changes: Any) -> pb.Delivery:
        """A delivery as the real hub makes it, with changes."""
        keys = {key.gallery: key.sealed_key for key in asked.message.keys}
        fields = {
            "delivery_id": f"{asked.request.id}/{gallery}",
            "request": asked.statement.encode(),
            "requester_policy": self.agencies[asked.request.requester.agency].policy,
            "sealed_key": keys[gallery],
            "ciphertext": asked.message.ciphertext,
            "proof": proof,
        }
        return pb.Delivery(**(fields | changes))

    def deliver(self, delivery: pb.Delivery) -> pb.Outcome:
        """Send it down the link of the gallery's node; what comes back."""
        self.send(delivery.delivery_id.split("/")[1], pb.OpenResponse(delivery=delivery))
        return self.came(delivery.delivery_id)

    def came(self, delivery_id: str) -> pb.Outcome:
        """The next outcome of a delivery."""
        return self._came.setdefault(delivery_id, queue.Queue()).get(timeout=30)

    def send(self, agency: str, frame: pb.OpenResponse) -> None:
        """Send anything down an agency's link."""
        self._loop.call_soon_threadsafe(self._links[agency].put_nowait, frame)

    # --- The wire -----------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        tls = self.hub.load_tls()
        server = grpc.aio.server(options=list(SERVER_OPTIONS))
        for add in (
            registry_pb2_grpc.add_RegistryServiceServicer_to_server,
            broker_pb2_grpc.add_LinkServiceServicer_to_server,
            broker_pb2_grpc.add_LogServiceServicer_to_server,
            broker_pb2_grpc.add_BrokerServiceServicer_to_server,
        ):
            add(self, server)  # type: ignore[no-untyped-call]
        credentials = grpc.ssl_server_credentials([(tls.key, tls.chain)], tls.root, True)
        server.add_secure_port(self.hub.settings.broker, credentials)
        await server.start()
        self._started.set()
        await self._stop.wait()
        await server.stop(None)

    async def Open(self, frames: Any, context: Any) -> AsyncIterator[pb.OpenResponse]:  # noqa: N802
        agency = caller_of(context.auth_context(), self.hub.region).agency
        await anext(frames)
        outbox: asyncio.Queue[pb.OpenResponse] = asyncio.Queue()
        welcome = pb.Welcome(hub_time=stamp(utc_now()), checkpoint=self.log.note(), region_bundle=self.bundle)
        yield pb.OpenResponse(welcome=welcome)
        reading = asyncio.create_task(self._read(frames))
        self._links[agency] = outbox
        try:
            while True:
                yield await outbox.get()
        finally:
            reading.cancel()
            if self._links.get(agency) is outbox:
                del self._links[agency]

    async def _read(self, frames: Any) -> None:
        async for frame in frames:
            if frame.WhichOneof("message") == "outcome":
                self._came.setdefault(frame.outcome.delivery_id, queue.Queue()).put(frame.outcome)

    async def Membership(self, request: Any, context: Any) -> registry_pb2.MembershipResponse:  # noqa: N802
        row = self.agencies[caller_of(context.auth_context(), self.hub.region).agency]
        return registry_pb2.MembershipResponse(
            agency=row.id,
            confirmed=True,
            signing_certificate=row.signing_certificate or b"",
            fingerprint=row.fingerprint or "",
            region_bundle=self.bundle,
            hub_time=stamp(utc_now()),
        )

    async def Publish(self, request: Any, context: Any) -> registry_pb2.PublishResponse:  # noqa: N802
        return registry_pb2.PublishResponse()

    async def Directory(self, request: Any, context: Any) -> registry_pb2.DirectoryResponse:  # noqa: N802
        return registry_pb2.DirectoryResponse(nodes=self.directory, region_bundle=self.bundle)

    async def Latest(self, request: Any, context: Any) -> pb.LatestResponse:  # noqa: N802
        return pb.LatestResponse(checkpoint=self.log.note())

    async def Consistency(self, request: pb.ConsistencyRequest, context: Any) -> pb.ConsistencyResponse:  # noqa: N802
        try:
            hashes = consistency_proof(
                request.first, min(request.second, len(self.log.entries)), self.log.read
            )
            return pb.ConsistencyResponse(hashes=hashes)
        except LiaisonError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "", ((CODE_KEY, error.code.value),))
            raise

    async def Submit(self, request: pb.SubmitRequest, context: Any) -> pb.SubmitResponse:  # noqa: N802
        """Take a request as the real hub would; nothing is sent to a node by that."""
        self.submitted.append(request)
        statement = SignedStatement.decode(request.request)
        asked = ProbeRequest.decode(statement.payload)
        salt = secrets.token_bytes(32)
        entry = LogEntry(EntryType.REQUEST, utc_now(), request_facts(asked), commit(statement.payload, salt))
        index = self.log.add(entry.encode())
        receipt = SubmissionReceipt(
            request=asked.id,
            request_sha256=statement.digest,
            accepted_at=stamp(utc_now()),
            log_index=index,
            deliveries=tuple(
                SubmittedDelivery(gallery=name, state="queued", reason="Queued.") for name in asked.galleries
            ),
        )
        signed = sign("submission", receipt.encode(), *self.hub.load_hub_signer())
        return pb.SubmitResponse(receipt=signed.encode(), proof=self.log.proof(index, salt))

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:  # noqa: N802
        yield pb.WatchResponse(done=True)

    async def Collect(self, request: Any, context: Any) -> pb.CollectResponse:  # noqa: N802
        return pb.CollectResponse(deliveries=self.collected() if self.collected else [])

    async def Acknowledge(self, request: Any, context: Any) -> pb.AcknowledgeResponse:  # noqa: N802
        return pb.AcknowledgeResponse()


@pytest.fixture(scope="module")
def lying_hub(federation: Federation) -> Iterator[LyingHub]:
    """The hub, taken over: the real one is stopped and its place is taken."""
    assert federation.stage.hub is not None
    federation.stage.hub.stop()
    with LyingHub(load_hub(federation.stage.hub_home), federation.directory()) as lying:
        yield lying


@pytest.fixture(scope="session")
def engine() -> FaceEngine:
    return load_engine()


@pytest.fixture(scope="session")
def cast(engine: FaceEngine) -> Cast:
    return packaged_cast(engine, (ANSWERING, PUBLIC), REFUSING)


@pytest.fixture(scope="session")
def joined(tmp_path_factory: pytest.TempPathFactory, worker_id: str, cast: Cast) -> Path:
    """A folder in which all agencies have joined and imported, and nothing runs: every file of tests takes a copy."""
    base = tmp_path_factory.getbasetemp()
    # The workers of one run share the folder above their own, and the one who comes first does the work.
    folder = (base if worker_id == "master" else base.parent) / "joined"
    with (folder.parent / "joined.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            draft = folder.with_name(f"joining-{worker_id}")
            _join_all(draft, cast)
            draft.rename(folder)
    return folder


def _join_all(folder: Path, cast: Cast) -> None:
    folder.mkdir()
    shutil.copytree(POLICIES, folder / "policies")
    with Stage(folder, folder / "policies") as stage, ThreadPoolExecutor(2) as pool:
        stage.found()
        stage.start_hub()
        list(pool.map(stage.admit, AGENCIES))
        list(pool.map(lambda gallery: import_people(stage, gallery, cast.enrolled[gallery]), cast.enrolled))


@pytest.fixture(scope="module")
def federation(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    joined: Path,
    engine: FaceEngine,
    cast: Cast,
) -> Iterator[Federation]:
    """A hub and the agencies that the module names in AGENCIES, serving."""
    folder = tmp_path_factory.mktemp("federation") / "stage"
    shutil.copytree(joined, folder)
    _move_ports(folder)
    with Stage(folder, folder / "policies") as stage:
        made = Federation(stage, engine, cast)
        for probe in cast.probes:
            made.probes[probe.id] = folder / f"{probe.id}.jpg"
            made.probes[probe.id].write_bytes(probe.picture)
        stage.start_hub()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(stage.start_node, request.module.AGENCIES))
        yield made


def import_people(stage: Stage, gallery: str, people: dict[str, dict[str, Path | bytes]]) -> Any:
    """`agency-node import` of these people's photographs."""
    agency, _, name = gallery.partition("/")
    source = stage.folder / "photographs" / agency
    for person, photographs in people.items():
        (source / person).mkdir(parents=True)
        for file, content in photographs.items():
            assert isinstance(content, bytes)
            (source / person / file).write_bytes(content)
    options = _PROVENANCE if gallery == PUBLIC else ()
    done = stage.run_node(agency, "import", str(source), "--gallery", name, *options)
    shutil.rmtree(source)
    return done


def _move_ports(folder: Path) -> None:
    """Let the copy of a stage listen where nobody else does."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = dict(zip(("broker", "join"), (server.getsockname()[1] for server in held), strict=True))
    for server in held:
        server.close()
    for settings in (folder / "hub" / "hub.toml", *folder.glob("*/node.toml")):
        text = settings.read_text()
        for name, port in ports.items():
            text = re.sub(rf"^{name} = .*$", f'{name} = "127.0.0.1:{port}"', text, flags=re.MULTILINE)
        settings.write_text(text)
