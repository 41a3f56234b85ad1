"""A founded region with its writer and a clock that stands until it is moved, and agencies that apply to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from federation.canonical import b64, stamp
from federation.identity.certificates import make_csr, parse_certificate
from federation.identity.hybrid import SealingKey
from federation.identity.keys import fingerprint, new_signing_key, new_tls_key
from federation.identity.node import GalleryStatement, NodeStatement, PolicyStatement
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement, sign
from federation.identity.token import JoinToken
from federation.log import KeyType, NoteSigner
from hub.config import Hub, Settings
from hub.registry.agencies import add_agency, confirm
from hub.registry.founding import found
from hub.registry.joining import Application, Issuer, join
from hub.registry.offline import Offline
from hub.registry.publication import publish
from hub.registry.service import issuer_of
from hub.registry.tokens import make_token
from hub.store.members import Members
from hub.store.tables import LeafRow
from hub.store.writer import Transaction, Writer

T = TypeVar("T")

POLICY = """\
liaison: policy/v1
agency: {agency}
version: {version}
jurisdictions: [us-ca]
galleries:
  booking: {{kind: booking, title: "{title}"}}
use: [{{id: all, says: Anything.}}]
"""


@dataclass
class Agency:
    """An agency as it is at its own end: its keys, and what it says."""

    region: str
    id: str
    signing: Any = field(default_factory=new_signing_key)
    tls: Any = field(default_factory=new_tls_key)
    sealing: SealingKey = field(default_factory=SealingKey.generate)
    witness: Any = field(default_factory=new_signing_key)
    certificate: bytes = b""

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.signing.public_key())

    def node_id(self, node: str = "main") -> SpiffeId:
        return SpiffeId.of_node(self.region, self.id, node)

    def application(self, secret: str, at: datetime, node: str = "main") -> Application:
        return Application(
            secret=secret,
            agency=self.id,
            node=node,
            tls_csr=make_csr(self.node_id(node), self.tls),
            signing_csr=make_csr(SpiffeId.of_agency(self.region, self.id), self.signing),
            node_time=stamp(at),
        )

    def policy(
        self, at: datetime, version: int = 1, title: str = "Booking", agency: str = ""
    ) -> SignedStatement:
        text = POLICY.format(agency=agency or self.id, version=version, title=title)
        said = PolicyStatement(agency=agency or self.id, version=version, issued_at=stamp(at), text=text)
        return sign("policy", said.encode(), self.signing, self.certificate)

    def node(self, at: datetime, node: str = "main", **changes: Any) -> SignedStatement:
        witness = NoteSigner(f"{self.id}/{node}", self.witness).verifier_key(KeyType.COSIGNATURE)
        fields: dict[str, Any] = {
            "agency": self.id,
            "node": node,
            "issued_at": stamp(at),
            "sealing_key": b64(self.sealing.public()),
            "witness_vkey": witness.encode(),
            "galleries": (
                GalleryStatement(
                    name="booking", kind="booking", title="Booking", engine="e@1", subjects=1, templates=1
                ),
            ),
        }
        said = NodeStatement(**(fields | changes))
        return sign("node", said.encode(), self.signing, self.certificate)


@dataclass
class Region:
    """The hub's end."""

    hub: Hub
    offline: Offline
    engine: Engine
    at: datetime
    writer: Writer = field(init=False)
    issuer: Issuer = field(init=False)

    def __post_init__(self) -> None:
        self.writer = Writer(self.engine, self.hub.load_log_signer(), lambda: self.at)
        self.issuer = issuer_of(self.hub)

    def write(self, job: Callable[[Transaction], T]) -> T:
        return self.writer.write(job)

    def add(self, agency: str) -> Agency:
        self.write(lambda t: add_agency(t, agency, f"Agency {agency}"))
        return Agency(self.hub.region, agency)

    def token(self, agency: str, life: timedelta = timedelta(hours=24)) -> JoinToken:
        return self.write(lambda t: make_token(t, self.hub, agency, life))

    def join(self, agency: Agency, node: str = "main", secret: str | None = None) -> list[bytes]:
        application = agency.application(secret or self.token(agency.id).secret, self.at, node)
        return self.write(lambda t: join(t, self.issuer, application))

    def confirm(self, agency: Agency) -> None:
        root = self.offline.root(self.hub)
        self.write(lambda t: confirm(t, self.hub.region, agency.id, agency.fingerprint, root))
        with self.read() as session:
            agency.certificate = Members(session).agency(agency.id).signing_certificate or b""

    def member(self, name: str) -> Agency:
        """An agency that has joined and is confirmed."""
        agency = self.add(name)
        self.join(agency)
        self.confirm(agency)
        return agency

    def publish(self, caller: SpiffeId, *statements: SignedStatement) -> None:
        trust = self.hub.trust(self.at)
        self.write(lambda t: publish(t, trust, caller, [s.encode() for s in statements]))

    def read(self) -> Session:
        return Session(self.engine, expire_on_commit=False)

    def admit(self, agency: Agency, chain: list[bytes], node: str = "main") -> None:
        with self.read() as session:
            Members(session).admit(agency.node_id(node), parse_certificate(chain[0]).serial_number)

    def events(self, kind: str) -> list[dict[str, Any]]:
        with self.read() as session:
            rows = session.query(LeafRow).where(LeafRow.type == kind).order_by(LeafRow.index)
            return [json.loads(row.entry)["facts"] for row in rows]


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    """A region called delta, at half past nine on the first of March 2026."""
    at = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    made = found(tmp_path / "hub", None, Settings(region="delta"), None, [], lambda: at)
    engine = made.hub.open_database()
    region = Region(made.hub, Offline(made.offline), engine, at)
    yield region
    region.writer.close()
    engine.dispose()
