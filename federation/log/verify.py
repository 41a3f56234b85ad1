"""The offline verifier: given a folder of tiles and the log's public key, find out whether the log is what it claims.

It trusts nobody: every hash is computed again from the entries, and every file in the folder must say the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from federation.errors import Code, LiaisonError
from federation.log.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, verify_cosignatures
from federation.log.entry import parse_entry
from federation.log.merkle import append_nodes, leaf_hash, root
from federation.log.note import VerifierKey, parse_note
from federation.log.tiles import (
    CHECKPOINT_FILE,
    TILE_HEIGHT,
    TILE_WIDTH,
    UNFINISHED_FILE,
    TileReader,
    encode_bundle,
    entries_path,
    tile_path,
    tiles_of,
)

MAX_PROBLEMS = 100

_TILE_FILE = re.compile(
    r"tile/(entries|0|[1-7])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Report:
    """What the verifier found.

    `size` and `root` (hex) are those of the entries in the folder, as recomputed; `witnesses` are those of the given
    keys that cosigned, each with its time in seconds since 1970; `entries` counts by type. The log is `verified`
    only if there is no problem at all.
    """

    origin: str
    size: int
    root: str
    witnesses: tuple[tuple[str, int], ...]
    entries: dict[str, int]
    problems: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Whether everything agrees."""
        return not self.problems

    def as_json(self) -> dict[str, object]:
        """Give the report for a machine."""
        return {
            "origin": self.origin,
            "size": self.size,
            "root": self.root,
            "verified": self.verified,
            "witnesses": [{"name": name, "timestamp": timestamp} for name, timestamp in self.witnesses],
            "entries": dict(self.entries),
            "problems": list(self.problems),
        }


def verify_directory(
    directory: Path,
    log_key: VerifierKey,
    *,
    origin: str | None = None,
    witness_keys: Sequence[VerifierKey] = (),
    threshold: int | None = None,
    since: bytes | None = None,
) -> Report:
    """Verify an exported log by its files alone.

    `origin` defaults to the name of the log's key; `threshold`, how many of the witnesses must have cosigned, to all
    of them; `since` is an older checkpoint (a signed note) that this log must be the continuation of.

    Whatever is wrong with the log becomes a problem of the report, one sentence each, the first hundred of them.

    Raises:
        LiaisonError: FILE_MISSING if the folder has no checkpoint at all.
    """
    note = TileReader(directory).checkpoint_note()
    origin = log_key.name if origin is None else origin
    keys = list(dict.fromkeys(witness_keys))
    needed = len(keys) if threshold is None else threshold
    problems: list[str] = []
    claimed = _claimed_checkpoint(note, origin, log_key, problems)
    if claimed is None:
        return Report(origin, 0, "", (), {}, tuple(problems))
    witnesses = _witnesses(note, keys, needed, problems)

    tree = _Recomputed(directory, claimed.size, problems)
    found = root(tree.size, tree.read_node)
    if (tree.size, found) != (claimed.size, claimed.root):
        problems.append(
            f"The {tree.size} entries in the folder do not have the root that the checkpoint states."
        )
    _check_files(directory, tree, problems)
    if since is not None:
        _check_since(since, origin, log_key, tree, problems)
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"There are {len(problems) - MAX_PROBLEMS} problems more."]
    return Report(origin, tree.size, found.hex(), witnesses, dict(tree.types), tuple(problems))


class _Recomputed:
    """The tree as the entries in the folder make it, up to the first one that cannot be read."""

    def __init__(self, directory: Path, size: int, problems: list[str]) -> None:
        self.size = 0
        self.types: Counter[str] = Counter()
        self._nodes: list[list[bytes]] = []
        self._reader = TileReader(directory)
        for begin in range(0, size, TILE_WIDTH):
            try:
                entries = self.entries(begin, min(begin + TILE_WIDTH, size))
            except LiaisonError as error:
                problems.append(error.detail)
                break
            self._append(entries)
            for index, entry in enumerate(entries, begin):
                try:
                    self.types[parse_entry(entry).type.value] += 1
                except LiaisonError as error:
                    problems.append(f"Entry {index}: {error.detail}")

    def entries(self, begin: int, end: int) -> list[bytes]:
        return self._reader.entries(begin, end)

    def read_node(self, level: int, index: int) -> bytes:
        return self._nodes[level][index]

    def row(self, level: int, begin: int, end: int) -> bytes:
        return b"".join(self._nodes[level][begin:end])

    def _append(self, entries: Sequence[bytes]) -> None:
        for level, _, digest in append_nodes(
            self.size, [leaf_hash(entry) for entry in entries], self.read_node
        ):
            if level == len(self._nodes):
                self._nodes.append([])
            self._nodes[level].append(digest)
        self.size += len(entries)


def _claimed_checkpoint(
    note: bytes, origin: str, log_key: VerifierKey, problems: list[str]
) -> Checkpoint | None:
    """Read the checkpoint; one that is not signed is still good for comparing the files with."""
    try:
        return open_checkpoint(note, origin, log_key)
    except LiaisonError as error:
        problems.append(error.sentence)
    try:
        return parse_checkpoint(parse_note(note).text)
    except LiaisonError:
        return None


def _witnesses(
    note: bytes, keys: Sequence[VerifierKey], needed: int, problems: list[str]
) -> tuple[tuple[str, int], ...]:
    """Count the witnesses one by one, so that the bad cosignature of one does not hide those of the others."""
    found: list[tuple[str, int]] = []
    for key in keys:
        try:
            found.extend(verify_cosignatures(note, [key]))
        except LiaisonError as error:
            problems.append(error.sentence)
    if len(found) < needed:
        problems.append(
            f"{len(found)} of the given witnesses have cosigned the checkpoint, but {needed} are needed."
        )
    return tuple(found)


def _check_files(directory: Path, tree: _Recomputed, problems: list[str]) -> None:
    """Compare every file with the recomputed tree, and miss none that a log of this size has."""
    missing = {tile_path(*tile) for tile in tiles_of(tree.size)}
    for file in sorted(path for path in directory.rglob("*") if not path.is_dir()):
        name = file.relative_to(directory).as_posix()
        if name in (CHECKPOINT_FILE, UNFINISHED_FILE):
            continue
        missing.discard(name)
        expected = _expected(name, tree)
        shown = name if name.isprintable() else ascii(name)
        if expected is None:
            problems.append(f"{shown} is not part of a log of {tree.size} entries.")
        elif not _holds(file, expected):
            problems.append(f"{shown} does not agree with the entries.")
    problems.extend(f"{name} is missing." for name in sorted(missing))


def _holds(file: Path, expected: bytes) -> bool:
    try:
        return file.is_file() and file.read_bytes() == expected
    except OSError:
        return False


def _expected(name: str, tree: _Recomputed) -> bytes | None:
    """Give what a tile file must hold, or None if a log of this size has no such file."""
    matched = _TILE_FILE.fullmatch(name)
    if matched is None:
        return None
    level = 0 if matched[1] == "entries" else int(matched[1])
    index = int(matched[2].replace("x", "").replace("/", ""))
    width = int(matched[3] or TILE_WIDTH)
    begin = index * TILE_WIDTH
    canonical = entries_path(index, width) if matched[1] == "entries" else tile_path(level, index, width)
    if name != canonical or begin + width > tree.size >> (level * TILE_HEIGHT):
        return None
    if matched[1] == "entries":
        return encode_bundle(tree.entries(begin, begin + width))
    return tree.row(level * TILE_HEIGHT, begin, begin + width)


def _check_since(
    since: bytes, origin: str, log_key: VerifierKey, tree: _Recomputed, problems: list[str]
) -> None:
    try:
        older = open_checkpoint(since, origin, log_key)
        if older.size > tree.size or older.root != root(older.size, tree.read_node):
            detail = f"The first {older.size} entries are not those of the older checkpoint."
            raise LiaisonError(Code.CHECKPOINT_INCONSISTENT, detail)
    except LiaisonError as error:
        problems.append(f"The older checkpoint: {error.sentence}")
