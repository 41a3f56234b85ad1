"""Verifying the log in the database from its entries alone, as `federation.log.verify` does for an exported folder.

Every entry is read and hashed again; the stored hashes, every checkpoint's root and signature, the commitments and
the cosignatures must agree with that. A root recomputed at every checkpoint's size is more than a consistency
proof between them: it shows that each is a prefix of the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation.errors import LiaisonError
from federation.log import (
    Checkpoint,
    Report,
    VerifierKey,
    add_signatures,
    append_nodes,
    leaf_hash,
    open_checkpoint,
    open_commitment,
    parse_entry,
    root,
    verify_cosignatures,
)
from hub.store.tables import CheckpointRow, CosignatureRow, HashRow, LeafRow, PayloadRow

_BATCH = 4096
_MOST_PROBLEMS = 100


class _Tree:
    """The tree as the entries make it, of which only the right edge and the newest batch are kept."""

    def __init__(self) -> None:
        self.size = 0
        self._nodes: dict[tuple[int, int], bytes] = {}

    def append(self, entries: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
        """Add entries; return the nodes that became complete."""
        edge = {
            (level, (self.size >> level) - 1): self._nodes[level, (self.size >> level) - 1]
            for level in range(self.size.bit_length())
        }
        added = append_nodes(self.size, [leaf_hash(entry) for entry in entries], self.read)
        fresh = {(level, index): value for level, index, value in added}
        self._nodes = edge | fresh
        self.size += len(entries)
        return fresh

    def read(self, level: int, index: int) -> bytes:
        """A node of the right edge or of the newest batch."""
        return self._nodes[level, index]


def verify_database(
    session: Session,
    log_key: VerifierKey,
    witness_keys: Sequence[VerifierKey] = (),
    since: bytes | None = None,
) -> Report:
    """Verify the whole log in the database; what is wrong becomes a problem of the report, one sentence each.

    `since` is an older checkpoint (a signed note), kept elsewhere, that the log must be the continuation of: it
    finds what nobody can find from inside, a log that was cut short or written anew together with its checkpoints.
    """
    problems: list[str] = []
    types: Counter[str] = Counter()
    tree = _Tree()
    claims, witnesses = _checkpoints(session, log_key, witness_keys, problems)
    older = _older(since, log_key, problems)
    if older is not None:
        claims.append((older, "The older checkpoint"))
    claims.sort(key=lambda claim: claim[0].size)
    waiting = iter(claims)
    claim = _compare(next(waiting, None), waiting, tree, problems)
    for rows in _batches(session):
        for row in rows:
            _check_entry(row, types, problems)
        fresh = tree.append([_blob(row.entry) for row in rows])
        _compare_hashes(session, fresh, problems)
        claim = _compare(claim, waiting, tree, problems)
    if claim is not None:
        problems.append(
            f"{claim[1]} is of {claim[0].size} entries, but only {tree.size} are there in order from the first."
        )
    _check_counts(session, tree.size, claims, problems)
    _check_commitments(session, problems)
    found = root(tree.size, tree.read)
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"There are {len(problems) - _MOST_PROBLEMS} problems more."]
    return Report(log_key.name, tree.size, found.hex(), witnesses, dict(types), tuple(problems))


def _batches(session: Session) -> Iterator[Sequence[LeafRow]]:
    """The leaves in order from 0, up to the first that is missing."""
    begin = 0
    while True:
        chosen = select(LeafRow).where(LeafRow.index >= begin, LeafRow.index < begin + _BATCH)
        rows = list(session.scalars(chosen.order_by(LeafRow.index)))
        whole = [row for offset, row in enumerate(rows) if row.index == begin + offset]
        if whole:
            yield whole
        session.expunge_all()
        if len(whole) < _BATCH:
            return
        begin += _BATCH


def _check_entry(row: LeafRow, types: Counter[str], problems: list[str]) -> None:
    try:
        kind = parse_entry(_blob(row.entry)).type.value
    except LiaisonError as error:
        problems.append(f"Entry {row.index}: {error.detail}")
        return
    types[kind] += 1
    if kind != row.type:
        problems.append(f"Entry {row.index} is filed as {row.type[:40]}, but is a {kind}.")


def _compare_hashes(session: Session, fresh: dict[tuple[int, int], bytes], problems: list[str]) -> None:
    by_level: dict[int, list[int]] = {}
    for level, index in fresh:
        by_level.setdefault(level, []).append(index)
    for level, indexes in by_level.items():
        where = (HashRow.level == level, HashRow.index >= min(indexes), HashRow.index <= max(indexes))
        stored = dict(session.execute(select(HashRow.index, HashRow.hash).where(*where)).all())
        problems.extend(
            f"The hash at level {level}, index {index} does not agree with the entries."
            for index in indexes
            if stored.get(index) != fresh[level, index]
        )


def _compare(
    claim: tuple[Checkpoint, str] | None,
    waiting: Iterator[tuple[Checkpoint, str]],
    tree: _Tree,
    problems: list[str],
) -> tuple[Checkpoint, str] | None:
    """Compare the claims that the tree has grown to; return the first that it has not."""
    while claim is not None and claim[0].size <= tree.size:
        if root(claim[0].size, tree.read) != claim[0].root:
            problems.append(
                f"{claim[1]}, of {claim[0].size} entries, states a root that the entries do not have."
            )
        claim = next(waiting, None)
    return claim


def _checkpoints(
    session: Session, log_key: VerifierKey, witness_keys: Sequence[VerifierKey], problems: list[str]
) -> tuple[list[tuple[Checkpoint, str]], tuple[tuple[str, int], ...]]:
    """The checkpoints that verify, and who of the known witnesses cosigned the newest that anybody did, and when."""
    claims: list[tuple[Checkpoint, str]] = []
    newest: tuple[int, tuple[tuple[str, int], ...]] = (0, ())
    lines: dict[int, list[bytes]] = {}
    for size, line in session.execute(select(CosignatureRow.size, CosignatureRow.line)):
        lines.setdefault(size, []).append(_blob(line))
    for size, note in session.execute(select(CheckpointRow.size, CheckpointRow.note)):
        name = f"Checkpoint {size}"
        try:
            checkpoint = open_checkpoint(_blob(note), log_key.name, log_key)
            if checkpoint.size != size:
                problems.append(f"{name} is one of {checkpoint.size} entries.")
            cosigned = add_signatures(_blob(note), lines.get(size, []))
            seen = verify_cosignatures(cosigned, witness_keys)
        except LiaisonError as error:
            problems.append(f"{name}: {error.sentence}")
            continue
        claims.append((checkpoint, name))
        if seen and size >= newest[0]:
            newest = (size, tuple(seen))
    return claims, newest[1]


def _older(since: bytes | None, log_key: VerifierKey, problems: list[str]) -> Checkpoint | None:
    try:
        return None if since is None else open_checkpoint(since, log_key.name, log_key)
    except LiaisonError as error:
        problems.append(f"The older checkpoint: {error.sentence}")
        return None


def _check_counts(
    session: Session, size: int, claims: Sequence[tuple[Checkpoint, str]], problems: list[str]
) -> None:
    leaves = session.scalar(select(func.count()).select_from(LeafRow)) or 0
    if leaves != size:
        problems.append(f"Entry {size} is missing, and {leaves - size} come after it.")
    hashes = session.scalar(select(func.count()).select_from(HashRow)) or 0
    expected = sum(size >> level for level in range(size.bit_length()))
    if hashes > expected:
        problems.append(f"There are {hashes - expected} hashes of entries that are not there.")
    if size and not any(claim.size == size for claim, _ in claims):
        problems.append(f"There is no checkpoint of all {size} entries.")


def _check_commitments(session: Session, problems: list[str]) -> None:
    """A payload that is still kept must be the one that its entry commits to."""
    rows = session.execute(
        select(PayloadRow.index, PayloadRow.salt, PayloadRow.payload, LeafRow.entry).join(
            LeafRow, LeafRow.index == PayloadRow.index
        )
    )
    for index, salt, payload, entry in rows:
        try:
            commitment = parse_entry(_blob(entry)).commitment
        except LiaisonError:
            continue  # said already
        if commitment is None or not open_commitment(commitment, _blob(payload), _blob(salt)):
            problems.append(f"The payload of entry {index} is not what the entry commits to.")


def _blob(value: object) -> bytes:
    """A column's bytes. SQLite lets whoever tampers put text there, which is to be found, not to stop the finding."""
    return value if isinstance(value, bytes) else str(value).encode()
