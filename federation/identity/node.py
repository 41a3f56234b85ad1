"""What an agency says about one of its nodes, signed with the agency's key.

The sealing key stands here, so a hub cannot put its own in place and read the probes that it carries.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from federation.model import Document


class GalleryStatement(Document):
    """One gallery that a node serves: its name, kind, engine id and how much is in it."""

    name: str = Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")
    kind: str
    title: str = Field(max_length=200)
    engine: str = Field(max_length=200)
    subjects: int = Field(ge=0)
    templates: int = Field(ge=0)


class NodeStatement(Document):
    """A node's keys and galleries: `sealing_key` (1216 bytes, base64), `witness_vkey` (C2SP cosignature key)."""

    liaison: Literal["node/v1"] = "node/v1"
    agency: str
    node: str
    issued_at: str
    sealing_key: str
    witness_vkey: str
    policy_digest: str | None = None
    galleries: tuple[GalleryStatement, ...] = ()


class PolicyStatement(Document):
    """An agency's policy file as published: its exact text and its version."""

    liaison: Literal["policy-statement/v1"] = "policy-statement/v1"
    agency: str
    version: int = Field(ge=1)
    issued_at: str
    text: str
