"""desk.db: what the desk must not forget, in the node's home.

A search is here before it is sent, with the one-time key that opens its answers, so that a desk which is killed
after it asked can still collect. Everything that says who is sought, by whom and why is encrypted with a key
derived from the node's vault key (AES-256-GCM, bound to its row and column); SQLite keeps WAL, `synchronous=FULL`
and `secure_delete`.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Engine, String, create_engine, event, insert, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from agency_node.desk.submit import Prepared
from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.identity.statement import SignedStatement
from federation.probe.request import ProbeRequest
from protos.liaison.v1 import broker_pb2

_SCHEMA = 1


class SearchState(str, Enum):
    """How far a search has come: on disk; taken by the hub; every outcome final; refused as a whole."""

    PREPARED = "prepared"
    SUBMITTED = "submitted"
    DONE = "done"
    REJECTED = "rejected"


class _Base(DeclarativeBase):
    pass


class SearchRow(_Base):
    """One search. The columns named `sealed_*` are encrypted."""

    __tablename__ = "searches"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[str] = mapped_column(String(32), index=True)
    expires_at: Mapped[str] = mapped_column(String(32))
    sealed_request: Mapped[bytes]
    sealed_key: Mapped[bytes]
    sealed_probe: Mapped[bytes]
    sealed_label: Mapped[bytes]
    # The ciphertext and the sealed keys as they are sent: nobody but the galleries' nodes can open them.
    message: Mapped[bytes]
    submission: Mapped[bytes | None]
    sealed_collected: Mapped[bytes | None]
    collected_at: Mapped[str | None] = mapped_column(String(32))


@dataclass(frozen=True, slots=True)
class StoredSearch:
    """A search as it was kept. `submission` is the hub's SubmitResponse, `collected` its CollectResponse."""

    prepared: Prepared
    state: SearchState
    label: str
    probe: bytes
    submission: broker_pb2.SubmitResponse | None
    collected: broker_pb2.CollectResponse | None
    collected_at: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of `search --list`."""

    id: str
    state: SearchState
    created_at: str
    expires_at: str
    case_number: str | None
    purpose: str
    galleries: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same for a machine."""
        return {**asdict(self), "state": self.state.value, "galleries": list(self.galleries)}


class DeskStore:
    """Searches by id. `vault_key` is the node's 32-byte master key."""

    def __init__(self, path: Path, vault_key: bytes) -> None:
        fresh = HKDF(SHA256(), length=32, salt=None, info=b"liaison desk/v1").derive(vault_key)
        self._box = AESGCM(fresh)
        path.touch(mode=0o600)
        self._engine = _open(path)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def add(self, prepared: Prepared, probe: bytes, label: str) -> None:
        """Keep a search before it is sent."""
        request = prepared.request
        row = {
            "id": request.id,
            "state": SearchState.PREPARED.value,
            "created_at": request.created_at,
            "expires_at": request.expires_at,
            "sealed_request": self._seal(prepared.statement.encode(), request.id, "request"),
            "sealed_key": self._seal(prepared.key.raw, request.id, "key"),
            "sealed_probe": self._seal(probe, request.id, "probe"),
            "sealed_label": self._seal(label.encode(), request.id, "label"),
            # The signed request stands in its own encrypted column.
            "message": broker_pb2.SubmitRequest(
                ciphertext=prepared.message.ciphertext, keys=prepared.message.keys
            ).SerializeToString(),
        }
        with Session(self._engine) as session, session.begin():
            session.execute(insert(SearchRow), [row])

    def get(self, search_id: str) -> StoredSearch:
        """A search with its key. Raises LiaisonError(REQUEST_UNKNOWN)."""
        with Session(self._engine) as session:
            row = session.get(SearchRow, search_id)
            if row is None:
                raise LiaisonError(Code.REQUEST_UNKNOWN, f"This desk has no search `{search_id[:32]}`.")
            return self._stored(row)

    def list(self) -> tuple[Listed, ...]:
        """Every search, the newest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(SearchRow).order_by(SearchRow.created_at.desc())).all()
            return tuple(self._listed(row) for row in rows)

    def submitted(self, search_id: str, response: broker_pb2.SubmitResponse) -> None:
        """Keep what the hub said when it took the request."""
        self._change(search_id, SearchState.SUBMITTED, submission=response.SerializeToString())

    def collected(
        self, search_id: str, response: broker_pb2.CollectResponse, state: SearchState, at: datetime
    ) -> None:
        """Keep answers and receipts as the hub gave them; called before they are acknowledged."""
        sealed = self._seal(response.SerializeToString(), search_id, "collected")
        self._change(search_id, state, sealed_collected=sealed, collected_at=stamp(at))

    def mark(self, search_id: str, state: SearchState) -> None:
        """Set how far a search has come."""
        self._change(search_id, state)

    def _change(self, search_id: str, state: SearchState, **values: bytes | str) -> None:
        with Session(self._engine) as session, session.begin():
            session.execute(
                update(SearchRow).where(SearchRow.id == search_id).values(state=state.value, **values)
            )

    def _stored(self, row: SearchRow) -> StoredSearch:
        statement = SignedStatement.decode(self._open(row.sealed_request, row.id, "request"))
        message = broker_pb2.SubmitRequest.FromString(row.message)
        message.request = statement.encode()
        key = SealingKey(self._open(row.sealed_key, row.id, "key"))
        request = ProbeRequest.decode(statement.payload)
        submission, collected = row.submission, row.sealed_collected
        return StoredSearch(
            prepared=Prepared(request, statement, key, message),
            state=SearchState(row.state),
            label=self._open(row.sealed_label, row.id, "label").decode(),
            probe=self._open(row.sealed_probe, row.id, "probe"),
            submission=broker_pb2.SubmitResponse.FromString(submission) if submission else None,
            collected=broker_pb2.CollectResponse.FromString(self._open(collected, row.id, "collected"))
            if collected
            else None,
            collected_at=row.collected_at,
        )

    def _listed(self, row: SearchRow) -> Listed:
        statement = SignedStatement.decode(self._open(row.sealed_request, row.id, "request"))
        request = ProbeRequest.decode(statement.payload)
        return Listed(
            id=row.id,
            state=SearchState(row.state),
            created_at=row.created_at,
            expires_at=row.expires_at,
            case_number=request.case_number,
            purpose=request.purpose,
            galleries=request.galleries,
        )

    def _seal(self, plain: bytes, search_id: str, column: str) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._box.encrypt(nonce, plain, f"{search_id}/{column}".encode())

    def _open(self, sealed: bytes, search_id: str, column: str) -> bytes:
        try:
            return self._box.decrypt(sealed[:12], sealed[12:], f"{search_id}/{column}".encode())
        except (InvalidTag, ValueError) as error:
            raise LiaisonError(
                Code.SEAL_BROKEN, "A row of desk.db was changed, or made with another key."
            ) from error


def _open(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version > _SCHEMA:
                raise LiaisonError(
                    Code.CONFIG_INVALID, "desk.db was made by a newer version of this program."
                )
            _Base.metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version={_SCHEMA}")
    except DatabaseError as error:
        raise LiaisonError(Code.STORAGE_FAILED, "This concerns desk.db.") from error
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    # SQLAlchemy's own BEGIN decides how a transaction starts; the driver must not add one.
    connection.isolation_level = None
    with closing(connection.cursor()) as cursor:
        for pragma in (
            "busy_timeout=10000",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
