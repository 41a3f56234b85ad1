"""What a node must not forget, in one SQLite file: deliveries, the trusted log, policy versions, evidence.

The inbox is what makes a search happen once: a delivery that was answered and comes again is answered with the stored
bytes, and a request id that comes with another digest is refused. Whoever asked is kept as a mark (SHA-256), enough to
count a user's searches of a day and no more. Receipts stay; sealed answers go once the hub has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from federation.canonical import stamp
from federation.errors import Code, LiaisonError

SCHEMA = 1

_metadata = sa.MetaData()
_deliveries = sa.Table(
    "deliveries",
    _metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False, index=True),
    sa.Column("request_sha256", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("receipt", sa.LargeBinary),
    sa.Column("sealed_answer", sa.LargeBinary),
    sa.Column("user_mark", sa.Text),
    sa.Column("gallery", sa.Text),
    sa.Column("searched_on", sa.Text),
    sa.Column("at", sa.Text, nullable=False),
    sa.Index("searches", "user_mark", "gallery", "searched_on"),
)
_kept = sa.Table(
    "kept",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_policies = sa.Table(
    "policies",
    _metadata,
    sa.Column("agency", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)
_evidence = sa.Table(
    "evidence",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("known", sa.LargeBinary, nullable=False),
    sa.Column("refused", sa.LargeBinary, nullable=False),
    sa.Column("acknowledged_at", sa.Text),
)


@dataclass(frozen=True, slots=True)
class Searched:
    """One search that was made, for counting: the user's mark, the gallery (`agency/gallery`), the UTC day."""

    user_mark: str
    gallery: str
    day: date


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a delivery: the signed receipt (encoded), and the sealed answer if the gallery was searched."""

    receipt: bytes
    sealed_answer: bytes | None = None
    searched: Searched | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two checkpoints (signed notes) that contradict each other, and when the second was refused."""

    at: str
    known: bytes
    refused: bytes


def user_mark(agency: str, user: str) -> str:
    """What stands for a user of another agency in this node's file."""
    return hashlib.sha256(f"{agency}\n{user}".encode()).hexdigest()


class NodeStore:
    """The file `node.db`. Every write is on the disk when its method returns.

    Raises LiaisonError(STORAGE_FAILED) when the file cannot be read or written, CONFIG_INVALID when a newer
    version of Liaison wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._engine = sa.create_engine(f"sqlite:///{path}")
        sa.event.listen(self._engine, "connect", _prepare)
        sa.event.listen(self._engine, "begin", _begin)
        try:
            self._bring_up_to_date()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    # --- The inbox ----------------------------------------------------------------------------------------

    def receive(self, delivery_id: str, request_id: str, request_sha256: str, at: datetime) -> Outcome | None:
        """Put a delivery into the inbox; return its outcome if it was served before.

        Raises LiaisonError(REQUEST_REPLAYED) when this request id is known with another digest.
        """
        with self._write() as connection:
            known = connection.execute(
                sa.select(_deliveries.c.request_sha256).where(_deliveries.c.request_id == request_id)
            ).scalars()
            if any(digest != request_sha256 for digest in known):
                raise LiaisonError(Code.REQUEST_REPLAYED)
            row = connection.execute(
                sa.select(_deliveries).where(_deliveries.c.delivery_id == delivery_id)
            ).one_or_none()
            if row is None:
                connection.execute(
                    sa.insert(_deliveries).values(
                        delivery_id=delivery_id,
                        request_id=request_id,
                        request_sha256=request_sha256,
                        state="received",
                        at=stamp(at),
                    )
                )
            return None if row is None or row.receipt is None else Outcome(row.receipt, row.sealed_answer)

    def answer(self, delivery_id: str, outcome: Outcome) -> None:
        """Keep what came of a delivery until the hub has it, and count the search if there was one."""
        searched = outcome.searched
        with self._write() as connection:
            connection.execute(
                sa.update(_deliveries)
                .where(_deliveries.c.delivery_id == delivery_id)
                .values(
                    state="answered",
                    receipt=outcome.receipt,
                    sealed_answer=outcome.sealed_answer,
                    user_mark=searched and searched.user_mark,
                    gallery=searched and searched.gallery,
                    searched_on=searched and searched.day.isoformat(),
                )
            )

    def settle(self, delivery_id: str) -> None:
        """The hub has the outcome: the sealed answer may go."""
        with self._write() as connection:
            connection.execute(
                sa.update(_deliveries)
                .where(_deliveries.c.delivery_id == delivery_id, _deliveries.c.state == "answered")
                .values(state="settled", sealed_answer=None)
            )

    def abandon(self, before: datetime) -> None:
        """Drop the sealed answers of deliveries that came before then and that the hub never took; receipts stay."""
        with self._write() as connection:
            connection.execute(
                sa.update(_deliveries)
                .where(_deliveries.c.at < stamp(before), _deliveries.c.state == "answered")
                .values(state="settled", sealed_answer=None)
            )

    def unsettled(self) -> list[tuple[str, Outcome]]:
        """Delivery id and outcome of all that the hub has not confirmed, the oldest first."""
        rows = sa.select(_deliveries).where(_deliveries.c.state == "answered").order_by(_deliveries.c.at)
        with self._read() as connection:
            return [
                (row.delivery_id, Outcome(row.receipt, row.sealed_answer)) for row in connection.execute(rows)
            ]

    def searches(self, searched: Searched) -> int:
        """How many searches of this gallery by this user on this day were made."""
        count = sa.select(sa.func.count()).where(
            _deliveries.c.user_mark == searched.user_mark,
            _deliveries.c.gallery == searched.gallery,
            _deliveries.c.searched_on == searched.day.isoformat(),
        )
        with self._read() as connection:
            return connection.execute(count).scalar_one()

    # --- The trusted log and its evidence -----------------------------------------------------------------

    def log_state(self, log_vkey: str) -> str | None:
        """The state of the trusted log with that key, as `TrustedLog.to_json` wrote it."""
        query = sa.select(_kept.c.value).where(_kept.c.name == f"log {log_vkey}")
        with self._read() as connection:
            return connection.execute(query).scalar_one_or_none()

    def keep_log_state(self, log_vkey: str, state: str, instead_of: str | None) -> bool:
        """Replace that state, unless another process has replaced it since; return whether it is kept now."""
        name = f"log {log_vkey}"
        with self._write() as connection:
            known = connection.execute(
                sa.select(_kept.c.value).where(_kept.c.name == name)
            ).scalar_one_or_none()
            if known != instead_of:
                return False
            connection.execute(sa.insert(_kept).prefix_with("OR REPLACE").values(name=name, value=state))
            return True

    def keep_evidence(self, known: bytes, refused: bytes, at: datetime) -> None:
        """Keep two checkpoints that contradict each other."""
        with self._write() as connection:
            connection.execute(sa.insert(_evidence).values(at=stamp(at), known=known, refused=refused))

    def evidence(self) -> list[Evidence]:
        """The contradictions that nobody has acknowledged yet, the oldest first."""
        query = sa.select(_evidence).where(_evidence.c.acknowledged_at.is_(None)).order_by(_evidence.c.id)
        with self._read() as connection:
            return [Evidence(row.at, row.known, row.refused) for row in connection.execute(query)]

    def acknowledge(self, at: datetime) -> int:
        """An operator has seen the evidence (which stays in the file); return how much there was."""
        with self._write() as connection:
            update = sa.update(_evidence).where(_evidence.c.acknowledged_at.is_(None))
            return connection.execute(update.values(acknowledged_at=stamp(at))).rowcount

    # --- Versions of other agencies' policies -------------------------------------------------------------

    def policy_version(self, agency: str) -> int:
        """The newest version of an agency's policy that this node has seen, or 0."""
        query = sa.select(_policies.c.version).where(_policies.c.agency == agency)
        with self._read() as connection:
            return connection.execute(query).scalar_one_or_none() or 0

    def note_policy_version(self, agency: str, version: int) -> None:
        """Remember a version, if it is newer than the one known."""
        if version <= self.policy_version(agency):
            return
        with self._write() as connection:
            connection.execute(
                sa.insert(_policies).prefix_with("OR REPLACE").values(agency=agency, version=version)
            )

    # --- The file -----------------------------------------------------------------------------------------

    def _bring_up_to_date(self) -> None:
        with self._read() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if version > SCHEMA:
            raise LiaisonError(Code.CONFIG_INVALID, "node.db was written by a newer version of Liaison.")
        if version == 0:
            with self._write() as connection:
                _metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.execution_options(writes=True).begin() as connection:
            yield connection


def _prepare(connection: sa.engine.interfaces.DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: `_begin` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("busy_timeout = 10000", "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sa.exc.DatabaseError as error:
        raise LiaisonError(Code.STORAGE_FAILED, "This concerns node.db.") from error
