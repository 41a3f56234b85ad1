"""A small log in memory, its keys, and its folder of tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.log import (
    Checkpoint,
    EntryType,
    KeyType,
    LogEntry,
    NoteSigner,
    VerifierKey,
    add_signatures,
    append_nodes,
    commit,
    cosign,
    export_tiles,
    leaf_hash,
    root,
    sign_checkpoint,
)

ORIGIN = "hub.example/delta/log"
NOON = 1_772_366_400


def signer(name: str, seed: int) -> NoteSigner:
    return NoteSigner(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


@dataclass
class MemoryLog:
    """A log that keeps its nodes in a dictionary, with one key and two witnesses."""

    entries: list[bytes] = field(default_factory=list)
    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    signer: NoteSigner = field(default_factory=lambda: signer(ORIGIN, 1))
    witnesses: list[NoteSigner] = field(
        default_factory=lambda: [signer("node.example/a/1", 2), signer("node.example/b/1", 3)]
    )

    @property
    def key(self) -> VerifierKey:
        return self.signer.verifier_key()

    @property
    def witness_keys(self) -> list[VerifierKey]:
        return [witness.verifier_key(KeyType.COSIGNATURE) for witness in self.witnesses]

    def append(self, entries: Sequence[bytes]) -> None:
        leaves = [leaf_hash(entry) for entry in entries]
        for level, index, digest in append_nodes(len(self.entries), leaves, self.read):
            assert (level, index) not in self.nodes
            self.nodes[level, index] = digest
        self.entries += entries

    def read(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def read_entries(self, begin: int, end: int) -> list[bytes]:
        return self.entries[begin:end]

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = len(self.entries) if size is None else size
        return Checkpoint(ORIGIN, size, root(size, self.read))

    def note(self, size: int | None = None) -> bytes:
        return sign_checkpoint(self.checkpoint(size), self.signer)

    def cosigned(self, size: int | None = None) -> bytes:
        note = self.note(size)
        return add_signatures(note, [cosign(note, witness, NOON) for witness in self.witnesses])

    def export(self, directory: Path, size: int | None = None) -> None:
        note = self.cosigned(size)
        size = len(self.entries) if size is None else size
        export_tiles(directory, size, self.read, self.read_entries, note)


def some_entries(count: int, first: int = 0) -> list[bytes]:
    kinds = [EntryType.REQUEST, EntryType.DECISION, EntryType.ANSWER]
    start = datetime(2026, 3, 1, 9, tzinfo=UTC)
    return [
        LogEntry(
            kinds[number % 3],
            start + timedelta(seconds=number),
            {"agency": "san-joaquin-so", "candidates": number % 20},
            commit(b"payload", number.to_bytes(32)),
        ).encode()
        for number in range(first, first + count)
    ]


@pytest.fixture
def make_log() -> Callable[[int], MemoryLog]:
    """Make a log of so many real entries."""

    def make(count: int) -> MemoryLog:
        log = MemoryLog()
        log.append(some_entries(count))
        return log

    return make


@pytest.fixture
def more_entries() -> Callable[[int, int], list[bytes]]:
    """Make so many more entries, counted from a number."""
    return some_entries
