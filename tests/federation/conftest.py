"""A federation for each file of tests: real processes, real photographs, and what an attacker at the hub can do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pytest
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
from federation.canonical import digest
from federation.identity.certificates import der
from hub.config import load_hub
from hub.store.members import Members
from protos.liaison.v1 import registry_pb2

T = TypeVar("T")

ASKING = "mill-creek-pd"
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


def eventually(look: Callable[[], T], seconds: float = 40.0, pause: float = 0.05) -> T:
    """What `look` returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds} seconds"
        time.sleep(pause)
    return found


@dataclass
class Federation:
    """A stage on which everybody has joined, and what tests ask of it."""

    stage: Stage
    engine: FaceEngine
    cast: Cast
    agencies: tuple[str, ...]
    probes: dict[str, Path] = field(default_factory=dict)

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

    def import_people(self, gallery: str, people: dict[str, dict[str, Path | bytes]]) -> Any:
        """`agency-node import` of these people's photographs."""
        agency, _, name = gallery.partition("/")
        source = self.stage.folder / "photographs" / agency
        for person, photographs in people.items():
            (source / person).mkdir(parents=True)
            for file, content in photographs.items():
                assert isinstance(content, bytes)
                (source / person / file).write_bytes(content)
        options = _PROVENANCE if gallery == PUBLIC else ()
        done = self.stage.run_node(agency, "import", str(source), "--gallery", name, *options)
        shutil.rmtree(source)
        return done

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
        found = [json.loads(entry) for (entry,) in self.hub_rows('SELECT entry FROM log_leaf ORDER BY "index"')]
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


def by_gallery(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The deliveries of a search's JSON by `agency/gallery`."""
    return {f"{one['agency']}/{one['gallery']}": one for one in result["deliveries"]}


@pytest.fixture(scope="session")
def engine() -> FaceEngine:
    return load_engine()


@pytest.fixture(scope="session")
def cast(engine: FaceEngine) -> Cast:
    return packaged_cast(engine, (ANSWERING, PUBLIC), REFUSING)


@pytest.fixture(scope="module")
def federation(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    engine: FaceEngine,
    cast: Cast,
) -> Iterator[Federation]:
    """The agencies that the module names in AGENCIES, joined, enrolled and serving."""
    folder = tmp_path_factory.mktemp("federation")
    agencies: tuple[str, ...] = request.module.AGENCIES
    shutil.copytree(POLICIES, folder / "policies")
    with Stage(folder, folder / "policies") as stage:
        made = Federation(stage, engine, cast, agencies)
        stage.found()
        stage.start_hub()
        for agency in agencies:
            stage.admit(agency)
        for gallery, people in cast.enrolled.items():
            if gallery.partition("/")[0] in agencies:
                made.import_people(gallery, people)
        for probe in cast.probes:
            made.probes[probe.id] = folder / f"{probe.id}.jpg"
            made.probes[probe.id].write_bytes(probe.picture)
        for agency in agencies:
            stage.start_node(agency)
        yield made
