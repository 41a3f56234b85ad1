"""Watching the log: every checkpoint that this node sees must continue the last one, whoever shows it.

A checkpoint that contradicts the last one is refused, both are kept as evidence, and nothing is served until an
operator has acknowledged it: the log is the only thing that keeps searches from being made off the books.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from agency_node.link.store import NodeStore
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from federation.log.checkpoint import Checkpoint, cosign, open_checkpoint
from federation.log.merkle import verify_consistency
from federation.log.note import NoteSigner, parse_vkey
from federation.log.trusted import TrustedLog

# (smaller size, larger size) → the hashes of the consistency proof
FetchProof = Callable[[int, int], Awaitable[Sequence[bytes]]]

# What a hub answers that does not have the entries (any more); every other error says nothing about the log.
_CANNOT_PROVE = frozenset({Code.REQUEST_INVALID, Code.REQUEST_UNKNOWN, Code.PROOF_INVALID})

_log = structlog.get_logger("agency_node.link")


@dataclass(frozen=True, slots=True)
class Offered:
    """A consistency proof from a tree of size `since`, as it came with a checkpoint. Nothing of it is believed."""

    since: int
    hashes: Sequence[bytes]


NOTHING_OFFERED = Offered(0, ())


class LogWitness:
    """The log as this node knows it: state on disk first, then believed.

    Which log that is, the coordinator's bundle says. `fetch` asks the hub for a consistency proof; what it returns is
    verified, never believed.
    """

    def __init__(
        self,
        store: NodeStore,
        trust: Callable[[], Trust],
        signer: NoteSigner,
        fetch: FetchProof,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._trust = trust
        self._signer = signer
        self._fetch = fetch
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._state: str | None = None
        self._log = self._as_kept()

    @property
    def size(self) -> int | None:
        """The size of the last checkpoint, or None before the first."""
        return self._log.last.size if self._log.last else None

    async def see(self, note: bytes, offered: Offered = NOTHING_OFFERED) -> Checkpoint:
        """Accept a checkpoint, as the newest or as one that came before it.

        `offered` is a proof that came with it: used if it fits what this node trusts, else another is fetched.
        Raises LiaisonError(CHECKPOINT_INVALID or CHECKPOINT_INCONSISTENT), also while evidence of an earlier
        contradiction waits for the operator, and HUB_UNREACHABLE when the proof cannot be fetched.
        """
        async with self._one_at_a_time:
            if self._store.evidence():
                raise LiaisonError(Code.CHECKPOINT_INCONSISTENT, "Evidence of it waits for the operator.")
            bundle = self._trust().bundle
            shown = open_checkpoint(note, bundle.log_origin, parse_vkey(bundle.log_vkey))
            try:
                while not await self._take(note, shown, offered):
                    pass  # the desk of this home has seen another checkpoint meanwhile: compare with that one
            except LiaisonError as error:
                if error.code is Code.CHECKPOINT_INCONSISTENT:
                    self._condemn(note)
                raise
            return shown

    async def cosign(self, note: bytes) -> tuple[int, bytes]:
        """Accept a checkpoint and cosign it: its size and the C2SP cosignature line."""
        checkpoint = await self.see(note)
        return checkpoint.size, cosign(note, self._signer, int(self._clock().timestamp()))

    def check_inclusion(
        self, entry: bytes, index: int, checkpoint: Checkpoint, proof: Sequence[bytes]
    ) -> None:
        """Check that an entry is in the log of a checkpoint that `see` returned. Raises PROOF_INVALID."""
        self._log.check_inclusion(entry, index, checkpoint, proof)

    async def _take(self, note: bytes, shown: Checkpoint, offered: Offered) -> bool:
        """Compare with the last checkpoint that this home has seen; False if that changed before ours was kept."""
        self._log = self._as_kept()
        known = self._log.last
        if known == shown:
            return True
        if known is not None and shown.size < known.size:
            self._log.accept_older(note, await self._proof(shown.size, known.size))
            return True
        proof: Sequence[bytes] = []
        if known is not None:
            fits = _continues(offered, known, shown)
            proof = offered.hashes if fits else await self._proof(known.size, shown.size)
        # The disk first: what was not kept before a crash must not have been believed.
        newer = TrustedLog.from_json(self._log.to_json())
        newer.update(note, proof)
        state = newer.to_json()
        if not self._store.keep_log_state(self._trust().bundle.log_vkey, state, self._state):
            return False
        self._log, self._state = newer, state
        return True

    async def _proof(self, first: int, second: int) -> Sequence[bytes]:
        # There is nothing to prove from an empty log or between equals, and a hub may say so with an error.
        if first in (0, second):
            return []
        try:
            return await self._fetch(first, second)
        except LiaisonError as error:
            if error.code in _CANNOT_PROVE:
                raise LiaisonError(
                    Code.CHECKPOINT_INCONSISTENT,
                    f"The hub cannot prove that {first} entries became {second}.",
                ) from error
            raise

    def _as_kept(self) -> TrustedLog:
        """The log that the coordinator's bundle names, as far as this home has seen it."""
        bundle = self._trust().bundle
        state = self._store.log_state(bundle.log_vkey)
        if state is None:
            self._state = None
            return TrustedLog(bundle.log_origin, parse_vkey(bundle.log_vkey))
        if state != self._state:
            self._state = state
            return TrustedLog.from_json(state)
        return self._log

    def _condemn(self, refused: bytes) -> None:
        known = self._log.last_note
        assert known is not None  # before the first checkpoint there is nothing to contradict
        self._store.keep_evidence(known, refused, self._clock())
        _log.critical("checkpoint refused: the log contradicts itself; both notes are kept in node.db")


def _continues(offered: Offered, known: Checkpoint, shown: Checkpoint) -> bool:
    """Whether the proof that came along is the one that is needed. If not, that says nothing about the log yet."""
    if offered.since != known.size:
        return False
    try:
        verify_consistency(known.size, shown.size, offered.hashes, known.root, shown.root)
    except LiaisonError:
        return False
    return True
