"""A region on paper: a root, signed certificates, a log in memory, and one delivery that is right in everything."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agency_node.link.store import NodeStore
from agency_node.link.witness import LogWitness
from agency_node.search.find import Found
from agency_node.search.serve import Context
from federation.canonical import b64, stamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import der, make_root, make_signing_certificate
from federation.identity.hybrid import SealingKey
from federation.identity.keys import new_signing_key, new_tls_key
from federation.identity.node import PolicyStatement
from federation.identity.region import RegionBundle, Trust
from federation.identity.spiffe import SpiffeId
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
from federation.policy.load import digest as policy_digest
from federation.probe.answer import Answer, Candidate, GallerySize, Receipt
from federation.probe.envelope import open_answer, seal_probe
from federation.probe.logged import request_facts
from federation.probe.request import ProbeFacts, ProbeRequest, Requester
from protos.liaison.v1 import broker_pb2 as pb

REGION, ASKER, FRIEND, OWNER, GALLERY = "delta", "mill-creek-pd", "harbor-pd", "eastport-pd", "booking"
NAME = f"{OWNER}/{GALLERY}"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PICTURE = b"the working image, which only the gallery's node may see"
Encoded = bytes


def agency_file(agency: str, **changes: Any) -> bytes:
    rules: dict[str, Any] = {
        "liaison": "policy/v1",
        "agency": agency,
        "version": 1,
        "jurisdictions": ["us-ca"],
        "use": [{"id": "any", "says": "Our detectives may ask everybody."}],
    }
    if agency == OWNER:
        rules["galleries"] = {GALLERY: {"kind": "booking", "title": "Booking"}}
        rules["share"] = [
            {
                "id": "assist",
                "says": "Partners may search in criminal investigations.",
                "purposes": ["criminal-investigation"],
                "limits": {"candidates": 5},
                "release": ["subject-reference", "photo"],
            }
        ]
    return yaml.safe_dump(rules | changes, sort_keys=False).encode()


REGION_FILE = yaml.safe_dump(
    {"liaison": "region/v1", "region": REGION, "version": 1, "require": ["case-number"]}, sort_keys=False
)


class MemoryLog:
    """A log that a test may also make lie."""

    def __init__(self) -> None:
        self.signer = NoteSigner("log.delta.example", new_signing_key())
        self.leaves: list[bytes] = []

    def read(self, level: int, index: int) -> bytes:
        if level == 0:
            return self.leaves[index]
        return node_hash(self.read(level - 1, 2 * index), self.read(level - 1, 2 * index + 1))

    def append(self, entry: bytes) -> int:
        self.leaves.append(leaf_hash(entry))
        return len(self.leaves) - 1

    def note(self, size: int | None = None, signer: NoteSigner | None = None) -> bytes:
        size = len(self.leaves) if size is None else size
        checkpoint = Checkpoint(self.signer.name, size, root(size, self.read))
        return sign_checkpoint(checkpoint, signer or self.signer)

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        return inclusion_proof(index, len(self.leaves) if size is None else size, self.read)

    async def consistency(self, first: int, second: int) -> Sequence[bytes]:
        if second > len(self.leaves):
            raise LiaisonError(Code.REQUEST_INVALID)  # as a hub answers that does not have so many entries
        return consistency_proof(first, second, self.read)


class SpySealingKey(SealingKey):
    """Counts how often somebody tried to open a probe."""

    opened = 0

    def open(self, sealed: bytes, info: bytes) -> bytes:
        type(self).opened += 1
        return super().open(sealed, info)


@dataclass
class FakeSearcher:
    """Stands for engine and gallery; remembers what it was asked."""

    galleries: tuple[str, ...] = (GALLERY,)
    calls: list[tuple[str, bytes, tuple[int, ...], int, frozenset[str]]] = field(default_factory=list)
    error: Exception | None = None

    def serves(self, gallery: str) -> bool:
        return gallery in self.galleries

    def find(
        self,
        gallery: str,
        picture: bytes,
        box: tuple[int, int, int, int],
        limit: int,
        release: Collection[str],
    ) -> Found:
        self.calls.append((gallery, picture, box, limit, frozenset(release)))
        if self.error is not None:
            raise self.error
        candidates = tuple(
            Candidate(rank=n, similarity=0.9 - n / 100, subject=f"S{n}") for n in range(1, limit + 1)
        )
        return Found("fake@000000000000", GallerySize(subjects=7, templates=9), candidates)


@dataclass
class Region:
    """Everybody's keys, the log, one node (of OWNER) and what it keeps."""

    folder: Path
    keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)
    certificates: dict[str, bytes] = field(default_factory=dict)
    log: MemoryLog = field(default_factory=MemoryLog)
    now: datetime = NOW
    policy: bytes = field(default_factory=lambda: agency_file(OWNER))
    searcher: FakeSearcher = field(default_factory=FakeSearcher)
    claims: int = 0

    def __post_init__(self) -> None:
        self.root = make_root(REGION, new_tls_key(), NOW - timedelta(days=3))
        for agency in (ASKER, FRIEND, OWNER):
            self.enrol(agency, SpiffeId.of_agency(REGION, agency))
        self.enrol("coordinator", SpiffeId.coordinator(REGION))
        self.enrol("hub", SpiffeId.hub(REGION))
        self.answer_key = SealingKey.generate()
        self.sealing_key = SpySealingKey(SealingKey.generate().raw)
        SpySealingKey.opened = 0
        self.store = NodeStore(self.folder / "node.db")
        self.trust = Trust.begin(REGION, self.root.certificate, self.bundle(), NOW)
        self.witness_key = NoteSigner(f"{REGION}/{OWNER}/n1", new_signing_key())
        self.witness = LogWitness(
            self.store, lambda: self.trust, self.witness_key, self.log.consistency, lambda: self.now
        )
        for _ in range(5):
            self.log.append(LogEntry(EntryType.AGENCY, NOW, {"agency": secrets.token_hex(4)}).encode())

    def enrol(self, name: str, identity: SpiffeId) -> None:
        self.keys[name] = new_signing_key()
        public = self.keys[name].public_key()
        certificate = make_signing_certificate(identity, public, self.root, NOW - timedelta(days=2))
        self.certificates[name] = der(certificate)

    def bundle(self, **changes: Any) -> SignedStatement:
        fields: dict[str, Any] = {
            "region": REGION,
            "version": 1,
            "issued_at": stamp(NOW),
            "log_origin": self.log.signer.name,
            "log_vkey": self.log.signer.verifier_key().encode(),
            "policy": REGION_FILE,
        }
        return self.sign("coordinator", "region", RegionBundle(**(fields | changes)).encode())

    def sign(self, who: str, kind: str, payload: bytes) -> SignedStatement:
        return sign(kind, payload, self.keys[who], self.certificates[who])

    def published(self, agency: str, text: bytes, version: int = 1, signer: str | None = None) -> Encoded:
        statement = PolicyStatement(agency=agency, version=version, issued_at=stamp(NOW), text=text.decode())
        return self.sign(signer or agency, "policy", statement.encode()).encode()

    def context(self, **changes: Any) -> Context:
        context = Context(
            agency=OWNER,
            trust=lambda: self.trust,
            log=self.witness,
            store=self.store,
            own_policy=lambda: self.policy,
            sealing_key=self.sealing_key,
            sign=lambda kind, payload: self.sign(OWNER, kind, payload),
            searcher=self.searcher,
            clock=lambda: self.now,
            timer=lambda: 0.0,
        )
        return replace(context, **changes)

    async def claim(self) -> None:
        self.claims += 1

    def request(self, **changes: Any) -> ProbeRequest:
        fields: dict[str, Any] = {
            "id": secrets.token_hex(16),
            "region": REGION,
            "requester": Requester(agency=ASKER, user="d.okafor", roles=("requester",)),
            "purpose": "criminal-investigation",
            "offense": "nibrs:120",
            "probe_source": "cctv-still",
            "case_number": "26-0417",
            "probe": ProbeFacts(
                original_sha256="sha256:" + "0" * 64,
                working_sha256="sha256:" + hashlib.sha256(PICTURE).hexdigest(),
                width=300,
                height=400,
                face_box=(10, 20, 110, 140),
                quality=70,
            ),
            "galleries": (NAME,),
            "created_at": stamp(NOW),
            "expires_at": stamp(NOW + timedelta(hours=1)),
            "answer_key": b64(self.answer_key.public()),
            "policy_digest": policy_digest(agency_file(ASKER)),
        }
        return ProbeRequest(**(fields | changes))

    def delivery(self, request: ProbeRequest | None = None, **changes: Any) -> pb.Delivery:
        """A delivery that is right in everything, but for `changes`: `signed`, `logged`, `gallery`, `picture`,
        `requester_policy`, `beneficiary_policy`, `sealed_for`, `salt_payload`."""
        request = request or self.request()
        signed = changes.get("signed") or self.sign(ASKER, "probe-request", request.encode())
        gallery = changes.get("gallery", NAME)
        salt = secrets.token_bytes(32)
        logged = changes.get("logged") or LogEntry(
            EntryType.REQUEST,
            NOW,
            request_facts(request),
            commit(changes.get("salt_payload", signed.payload), salt),
        )
        entry = logged.encode()
        index = self.log.append(entry)
        self.log.append(LogEntry(EntryType.DECISION, NOW, {"request": request.id}).encode())
        sealed = seal_probe(
            changes.get("picture", PICTURE),
            signed.digest,
            {changes.get("sealed_for", gallery): self.sealing_key.public()},
        )
        return pb.Delivery(
            delivery_id=f"{request.id}/{gallery}",
            request=signed.encode(),
            requester_policy=changes.get("requester_policy", self.published(ASKER, agency_file(ASKER))),
            beneficiary_policy=changes.get("beneficiary_policy", b""),
            sealed_key=next(iter(sealed.keys.values())),
            ciphertext=sealed.ciphertext,
            proof=pb.LogProof(
                entry=entry,
                salt=salt,
                index=index,
                checkpoint=self.log.note(),
                inclusion=self.log.inclusion(index),
            ),
        )

    def receipt(self, encoded: bytes) -> Receipt:
        """The receipt, verified as a requester verifies it."""
        signed = SignedStatement.decode(encoded)
        return Receipt.decode(self.trust.verify(signed, "receipt", NOW, agency=OWNER))

    def answer(self, sealed: bytes, request_sha256: str) -> Answer:
        """The answer, opened and verified as a requester does."""
        signed = SignedStatement.decode(open_answer(sealed, request_sha256, NAME, self.answer_key))
        return Answer.decode(self.trust.verify(signed, "answer", NOW, agency=OWNER))

    @property
    def opened(self) -> int:
        """How often a sealed key was opened at the node."""
        return SpySealingKey.opened


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    made = Region(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def policy_file() -> Callable[..., bytes]:
    return agency_file
