"""The galleries of a node: photographs encrypted on disk, records in SQLite, templates in Milvus.

The records are the truth and Milvus is the index: it is reconciled with the records whenever it is opened, and
rebuilt from them when it is missing or cannot be read. In the node's home:

    galleries/records.db     who exists; personal fields and templates sealed by the vault
    galleries/photos/        one encrypted file for each photograph
    galleries/index/         Milvus Lite
    galleries/*.lock         which process holds the index, which one imports
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agency_node.gallery.database import RecordsFile
from agency_node.gallery.gallery import Gallery
from agency_node.gallery.index import TemplateIndex
from agency_node.gallery.locks import FileLock
from agency_node.gallery.model import (
    Counts,
    EncounterFacts,
    EnrolledFace,
    Enrolment,
    GalleryDeclaration,
    Match,
    Standing,
)
from agency_node.gallery.records import Records
from agency_node.gallery.vault import Vault, create_key, read_key
from federation.errors import Code, LiaisonError
from federation.policy.model import AgencyPolicy

__all__ = [
    "Counts",
    "EncounterFacts",
    "EnrolledFace",
    "Enrolment",
    "Galleries",
    "Gallery",
    "GalleryDeclaration",
    "Match",
    "Standing",
    "create_key",
    "declared_galleries",
    "open_galleries",
]

# Gallery names become names of folders and of Milvus collections.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LITE_OUTGROWN_AT = 20_000


def open_galleries(
    home: Path,
    declared: Mapping[str, GalleryDeclaration],
    engine_id: str,
    *,
    vault_key_uri: str,
    hold_index: bool,
    milvus_uri: str | None = None,
    dimension: int = 512,
) -> Galleries:
    """Open the galleries that the agency's policy declares, as one engine sees them.

    With `hold_index` this process keeps the index: it can search, and everything is reconciled first. Only one
    process can; the others open with `hold_index=False` to import or to count.

    Raises GALLERY_BUSY when another process holds the index, KEY_UNREADABLE for a missing or wrong vault key,
    INDEX_UNAVAILABLE when a Milvus server does not answer, CONFIG_INVALID for a gallery's name that cannot be used.
    """
    for name in declared:
        if not _NAME.fullmatch(name):
            raise LiaisonError(
                Code.CONFIG_INVALID, "A gallery's name may hold a-z, 0-9 and hyphens, at most 63."
            )
    folder = home / "galleries"
    vault = Vault(read_key(vault_key_uri), folder / "photos")
    records = RecordsFile(folder / "records.db", vault)
    galleries = Galleries(folder, records)
    try:
        indexes: dict[str, TemplateIndex] = {}
        if hold_index and declared:
            collections = {name: _collection(records.instance, name, engine_id) for name in declared}
            indexes = galleries.hold_index(milvus_uri, collections, dimension)
        for name, declaration in declared.items():
            galleries.add(
                Gallery(
                    name,
                    declaration,
                    engine_id,
                    records=Records(records, vault, name, engine_id),
                    vault=vault,
                    index=indexes.get(name),
                    new_id=_new_id,
                )
            )
        if hold_index:
            galleries.reconcile()
    except BaseException:
        galleries.close()
        raise
    return galleries


def declared_galleries(policy: AgencyPolicy | None) -> dict[str, GalleryDeclaration]:
    """Return the galleries that an agency's policy declares; none without a policy."""
    galleries = policy.galleries if policy else {}
    return {
        name: GalleryDeclaration(str(gallery.kind), gallery.title, gallery.retention_days)
        for name, gallery in galleries.items()
    }


class Galleries(Mapping[str, Gallery]):
    """The galleries of one node, by name; made by `open_galleries`. Close it when done."""

    def __init__(self, folder: Path, records: RecordsFile) -> None:
        self._folder = folder
        self._records = records
        self._galleries: dict[str, Gallery] = {}
        self._closing: list[Callable[[], None]] = [records.close]
        self._lite = False

    def __getitem__(self, name: str) -> Gallery:
        return self._galleries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._galleries)

    def __len__(self) -> int:
        return len(self._galleries)

    def __enter__(self) -> Galleries:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def named(self, name: str) -> Gallery:
        """Return a gallery; raises GALLERY_ABSENT when the policy declares none of that name."""
        try:
            return self._galleries[name]
        except KeyError:
            known = ", ".join(sorted(self)) or "none"
            raise LiaisonError(Code.GALLERY_ABSENT, f"Declared are: {known}.") from None

    @property
    def outgrown(self) -> bool:
        """Whether there are more templates here than Milvus Lite suits."""
        return self._lite and sum(gallery.counts().templates for gallery in self.values()) > _LITE_OUTGROWN_AT

    def refresh(self) -> int:
        """Bring to the index what an importing process has written; quick when there is nothing."""
        return sum(gallery.refresh() for gallery in self.values())

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Be the only process that enrolls; raises GALLERY_BUSY when another one is at it."""
        lock = self._import_lock()
        try:
            self._sweep()
            yield
        finally:
            lock.release()

    def close(self) -> None:
        """Close index and records, and let go of the index."""
        while self._closing:
            self._closing.pop()()

    def add(self, gallery: Gallery) -> None:
        """Take a gallery in; for `open_galleries`."""
        self._galleries[gallery.name] = gallery

    def hold_index(
        self, uri: str | None, collections: Mapping[str, str], dimension: int
    ) -> dict[str, TemplateIndex]:
        """Take the index lock and open one index a gallery; for `open_galleries`."""
        lock = FileLock(self._folder / "index.lock", "It has the index open.")
        self._closing.append(lock.release)
        self._lite = uri is None
        try:
            return self._open_indexes(uri, collections, dimension)
        except LiaisonError as error:
            if error.code is not Code.GALLERY_DAMAGED or uri is not None:
                raise
        # The records hold every template, so an index that cannot be read is no loss.
        damaged = self._folder / "index"
        shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()
        return self._open_indexes(uri, collections, dimension)

    def reconcile(self) -> None:
        """Make index and photographs agree with the records; for `open_galleries`."""
        for gallery in self.values():
            gallery.reconcile()
        try:
            lock = self._import_lock()
        except LiaisonError:
            return  # whoever imports has swept already
        try:
            self._sweep()
        finally:
            lock.release()

    def _open_indexes(
        self, uri: str | None, collections: Mapping[str, str], dimension: int
    ) -> dict[str, TemplateIndex]:
        from agency_node.gallery.milvus import MilvusStore

        store = MilvusStore(folder=self._folder / "index", uri=uri)
        try:
            indexes = {
                name: store.open_index(collection, dimension) for name, collection in collections.items()
            }
        except BaseException:
            store.close()
            raise
        self._closing.append(store.close)
        return dict(indexes)

    def _import_lock(self) -> FileLock:
        return FileLock(self._folder / "import.lock", "It is importing.")

    def _sweep(self) -> None:
        for gallery in self.values():
            gallery.sweep()


def _collection(instance: str, gallery: str, engine_id: str) -> str:
    """Name a Milvus collection: readable, and unlike any other node's, gallery's or engine's on the same server."""
    digest = hashlib.sha256(f"{instance}\n{gallery}\n{engine_id}".encode()).hexdigest()[:16]
    return f"g_{gallery.replace('-', '_')}_{digest}"


def _new_id() -> int:
    return secrets.randbits(62) + 1
