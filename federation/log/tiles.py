"""The log as plain files that anybody's tools can read: C2SP tiles (c2sp.org/tlog-tiles).

    checkpoint                     the signed and cosigned note
    tile/<L>/<N>                   256 hashes: level L holds the roots over 256**L entries each
    tile/<L>/<N>.p/<W>             the last hashes of a level, W < 256 of them
    tile/entries/<N>[.p/<W>]       entries, each after its length in two bytes, big-endian

A full tile never changes. Partial tiles go when the full one is there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from federation.errors import Code, LiaisonError
from federation.log.checkpoint import Checkpoint, parse_checkpoint
from federation.log.merkle import HASH_BYTES, NodeReader, node_hash, root
from federation.log.note import parse_note

TILE_WIDTH = 256
TILE_HEIGHT = 8
CHECKPOINT_FILE = "checkpoint"
UNFINISHED_FILE = ".unfinished"

EntryReader = Callable[[int, int], Sequence[bytes]]


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Give the relative path of a hash tile; a width below 256 means a partial one."""
    return f"tile/{level}/{_index_path(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Give the relative path of an entry bundle; a width below 256 means a partial one."""
    return f"tile/entries/{_index_path(index, width)}"


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """List (level, index, width) of every hash tile of a log of `size` entries; level 0 has the bundles' shape."""
    level, count = 0, size
    while count:
        for index in range(count // TILE_WIDTH):
            yield level, index, TILE_WIDTH
        if count % TILE_WIDTH:
            yield level, count // TILE_WIDTH, count % TILE_WIDTH
        level, count = level + 1, count // TILE_WIDTH


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Write entries of at most 65,535 bytes as a bundle."""
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def decode_bundle(data: bytes) -> list[bytes]:
    """Read all entries of a bundle.

    Raises:
        LiaisonError: LOG_DAMAGED if it ends inside an entry.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2])
        if at + 2 > len(data) or end > len(data):
            raise LiaisonError(Code.LOG_DAMAGED, "An entry bundle ends inside an entry.")
        entries.append(data[at + 2 : end])
        at = end
    return entries


def export_tiles(
    directory: Path, size: int, read_node: NodeReader, read_entries: EntryReader, checkpoint_note: bytes
) -> None:
    """Bring a folder up to a checkpoint: write the tiles that are missing, and the checkpoint last.

    `read_entries(begin, end)` gives the entries in that range. Each file appears whole or not at all, so a
    reader always finds a checkpoint whose tiles are there. Full tiles under the folder's own checkpoint are left alone
    once it is proven, by its root, to be a prefix of this log; other full tiles that exist are compared. One writer at
    a time.

    Raises:
        LiaisonError: LOG_DAMAGED if the checkpoint is not that of the log, or if the folder holds another history;
            LOG_UNAVAILABLE if the folder cannot be written.
    """
    checkpoint = parse_checkpoint(parse_note(checkpoint_note).text)
    if (checkpoint.size, checkpoint.root) != (size, root(size, read_node)):
        raise LiaisonError(Code.LOG_DAMAGED, "The checkpoint to be exported is not that of the log.")
    try:
        done = _exported_size(directory, checkpoint, read_node)
        _write_tiles(directory, size, done, read_node, read_entries)
        _write_whole(directory, directory / CHECKPOINT_FILE, checkpoint_note)
    except OSError:
        raise LiaisonError(
            Code.LOG_UNAVAILABLE, "The folder of the exported log cannot be written."
        ) from None


class TileReader:
    """A log read from files alone: a `NodeReader` and its entries.

    Hash tiles are kept in memory once read (32 bytes an entry), and the last entry bundle. What the files say is not
    verified here; proofs made from them are, by whoever verifies proofs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._bundle: tuple[int, list[bytes]] = (-1, [])

    def checkpoint_note(self) -> bytes:
        """Read the signed note.

        Raises:
            LiaisonError: FILE_MISSING if there is none.
        """
        path = self._directory / CHECKPOINT_FILE
        try:
            if path.is_file():
                return path.read_bytes()
        except OSError:
            pass  # what cannot be read is as good as absent
        raise LiaisonError(Code.FILE_MISSING, "The folder has no checkpoint, so it is no exported log.")

    def read_node(self, level: int, index: int) -> bytes:
        """Give the hash of a complete subtree; see `NodeReader`.

        Raises:
            LiaisonError: LOG_DAMAGED if the tile that holds it is missing or too short.
        """
        row, rise = divmod(level, TILE_HEIGHT)
        tile, first = divmod(index << rise, TILE_WIDTH)
        count = 1 << rise
        data = self._tiles.get((row, tile), b"")
        if len(data) < (first + count) * HASH_BYTES:
            data = self._read(tile_path(row, tile))
            self._tiles[row, tile] = data
        hashes = [data[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(first, first + count)]
        if len(hashes[-1]) != HASH_BYTES:
            raise LiaisonError(Code.LOG_DAMAGED, f"{tile_path(row, tile)} is missing or too short.")
        while len(hashes) > 1:
            hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
        return hashes[0]

    def entries(self, begin: int, end: int) -> list[bytes]:
        """Give the entries from `begin` up to, not including, `end`.

        Raises:
            LiaisonError: LOG_DAMAGED if a bundle that holds one is missing or damaged.
        """
        return [self._entry(index) for index in range(begin, end)]

    def _entry(self, index: int) -> bytes:
        bundle, offset = divmod(index, TILE_WIDTH)
        if self._bundle[0] != bundle or len(self._bundle[1]) <= offset:
            self._bundle = (bundle, decode_bundle(self._read(entries_path(bundle))))
        if len(self._bundle[1]) <= offset:
            raise LiaisonError(Code.LOG_DAMAGED, f"{entries_path(bundle)} is missing or too short.")
        return self._bundle[1][offset]

    def _read(self, path: str) -> bytes:
        """Read a tile, or its widest partial form while it is not full, or nothing."""
        full = self._directory / path
        try:
            if full.is_file():
                return full.read_bytes()
            partial = full.with_name(f"{full.name}.p").glob("[0-9]*")
            files = [file for file in partial if file.name.isdecimal() and file.is_file()]
            return max(files, key=lambda file: int(file.name)).read_bytes() if files else b""
        except OSError:
            return b""


def _index_path(index: int, width: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    path = "/".join(reversed(groups))
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def _exported_size(directory: Path, checkpoint: Checkpoint, read_node: NodeReader) -> int:
    """Give the size of the checkpoint that the folder has, once it is known to be a prefix of the new one."""
    path = directory / CHECKPOINT_FILE
    if not path.exists():
        return 0
    try:
        old = parse_checkpoint(parse_note(path.read_bytes()).text)
    except LiaisonError:
        raise LiaisonError(Code.LOG_DAMAGED, "The checkpoint in the folder cannot be read.") from None
    if old.origin != checkpoint.origin or old.size > checkpoint.size or old.root != root(old.size, read_node):
        raise LiaisonError(Code.LOG_DAMAGED, "The folder holds another log, a newer one or another history.")
    return old.size


def _write_tiles(
    directory: Path, size: int, done: int, read_node: NodeReader, read_entries: EntryReader
) -> None:
    """Write the tiles that are not there; full ones below `done` entries are known to be right."""
    for level, index, width in tiles_of(size):
        proven = (index + 1) * TILE_WIDTH ** (level + 1) <= done
        if level == 0:
            path = directory / entries_path(index, width)
            if not (proven and path.exists()):
                begin = index * TILE_WIDTH
                _write_tile(directory, path, width, encode_bundle(read_entries(begin, begin + width)))
        path = directory / tile_path(level, index, width)
        if not (proven and path.exists()):
            begin = index * TILE_WIDTH
            hashes = [read_node(level * TILE_HEIGHT, at) for at in range(begin, begin + width)]
            _write_tile(directory, path, width, b"".join(hashes))


def _write_tile(directory: Path, path: Path, width: int, data: bytes) -> None:
    """Write a tile unless it is there, and drop the partial tiles that a full one replaces."""
    if path.exists():
        if path.read_bytes() != data:
            raise LiaisonError(Code.LOG_DAMAGED, f"{path.relative_to(directory)} differs from the log.")
        return
    _write_whole(directory, path, data)
    if width == TILE_WIDTH:
        shutil.rmtree(path.with_name(f"{path.name}.p"), ignore_errors=True)


def _write_whole(directory: Path, path: Path, data: bytes) -> None:
    """Put a file in place in one step, and make sure that it survives a loss of power."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = directory / UNFINISHED_FILE
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
