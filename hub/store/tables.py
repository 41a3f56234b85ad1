"""The hub's tables: members, requests and deliveries, and the log. None of them can hold a readable face.

Times are stamps (RFC 3339, UTC, milliseconds; text sorts as time). Signed statements are stored as they travelled.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base of the hub's tables, with constraint names that migrations can refer to."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {bytes: LargeBinary, str: String(255), dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class AgencyRow(Base):
    """An agency. `signing_csr` waits for the coordinator; `signing_certificate` is there once confirmed."""

    __tablename__ = "agency"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[str]
    signing_csr: Mapped[bytes | None]
    fingerprint: Mapped[str | None]
    signing_certificate: Mapped[bytes | None]
    suspended_at: Mapped[str | None]
    policy: Mapped[bytes | None]
    policy_version: Mapped[int | None]
    policy_digest: Mapped[str | None]


class TokenRow(Base):
    """A join token, of which only the digest of the secret is kept."""

    __tablename__ = "join_token"
    secret_sha256: Mapped[str] = mapped_column(primary_key=True)
    agency: Mapped[str] = mapped_column(ForeignKey("agency.id"))
    created_at: Mapped[str]
    expires_at: Mapped[str]
    used_at: Mapped[str | None]
    used_by: Mapped[str | None]


class NodeRow(Base):
    """A node that has joined, with what its agency last said about it."""

    __tablename__ = "node"
    agency: Mapped[str] = mapped_column(ForeignKey("agency.id"), primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    joined_at: Mapped[str]
    revoked_at: Mapped[str | None]
    revoked_because: Mapped[str | None] = mapped_column(Text)
    statement: Mapped[bytes | None]
    policy_digest: Mapped[str | None]
    last_seen: Mapped[str | None]


class CertificateRow(Base):
    """A TLS certificate that the issuing CA made."""

    __tablename__ = "tls_certificate"
    serial: Mapped[str] = mapped_column(primary_key=True)
    agency: Mapped[str]
    node: Mapped[str]
    issued_at: Mapped[str]
    not_after: Mapped[str]
    revoked_at: Mapped[str | None]


class RequestRow(Base):
    """A request that was accepted: the signed statement, and the ciphertext while anybody may still need it."""

    __tablename__ = "request"
    id: Mapped[str] = mapped_column(primary_key=True)
    agency: Mapped[str] = mapped_column(ForeignKey("agency.id"), index=True)
    user: Mapped[str]
    statement: Mapped[bytes]
    digest: Mapped[str]
    payload_digest: Mapped[str]
    ciphertext: Mapped[bytes | None]
    accepted_at: Mapped[str]
    deadline: Mapped[str]
    log_index: Mapped[int] = mapped_column(BigInteger)
    receipt: Mapped[bytes]


class DeliveryRow(Base):
    """One request at one gallery. `version` grows with every change, so that watchers know what they have seen."""

    __tablename__ = "delivery"
    id: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("request.id"), index=True)
    agency: Mapped[str]
    gallery: Mapped[str]
    node: Mapped[str | None]
    state: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    code: Mapped[str | None]
    rules: Mapped[list[Any]]
    candidates: Mapped[int | None]
    deadline: Mapped[str]
    sealed_key: Mapped[bytes | None]
    sealed_answer: Mapped[bytes | None]
    receipt: Mapped[bytes | None]
    updated_at: Mapped[str]
    version: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        Index("ix_delivery_agency_state", "agency", "state"),
        Index("ix_delivery_state_deadline", "state", "deadline"),
    )


class LeafRow(Base):
    """A leaf of the log: the entry's bytes. Rows are only ever added."""

    __tablename__ = "log_leaf"
    index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str]
    entry: Mapped[bytes]


class HashRow(Base):
    """The hash of a complete subtree. Rows are only ever added."""

    __tablename__ = "log_node"
    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes]


class PayloadRow(Base):
    """What a leaf commits to, and the salt: erased when its time is over, without breaking the tree."""

    __tablename__ = "log_payload"
    index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    salt: Mapped[bytes]
    payload: Mapped[bytes]


class CheckpointRow(Base):
    """A signed checkpoint (C2SP note) of the tree at a size."""

    __tablename__ = "checkpoint"
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    note: Mapped[bytes]


class CosignatureRow(Base):
    """A witness's cosignature line on a checkpoint."""

    __tablename__ = "cosignature"
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    witness: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[bytes]
