"""The index on Milvus: Milvus Lite in a folder of the node's home, or a Milvus server by URI.

What shapes this module:

- pymilvus serves Milvus Lite on an open TCP port of the loopback address, where every user of the machine could
  read all templates. Here Milvus Lite listens on a Unix socket in a folder that only the node's user may enter.
- Rows that Milvus Lite has not flushed are searched by a Python loop (0.4 s at 10,000 rows, 11 ms once flushed).
- `insert` of an existing id duplicates it, so rows are always upserted.
- A search at Bounded consistency is quick and may return what was just deleted; the records drop that.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from agency_node.gallery.index import LARGEST_K, Hit, Vectors
from federation.errors import Code, LiaisonError

_ID = "template_id"
_VECTOR = "vector"
_ROWS_PER_CALL = 512
_IDS_PER_PAGE = 16_384
_ROWS_BEFORE_FLUSH = 512
_CALL_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_STOP_SECONDS = 2.0
# One call carries at most _ROWS_PER_CALL vectors of a few kilobytes.
_MESSAGE_BYTES = 64 * 1024 * 1024


class MilvusStore:
    """One Milvus: a server by URI, or Milvus Lite in a folder; it opens the collections of the node's galleries.

    Only one process can have a folder open. Errors: GALLERY_BUSY when another has it, INDEX_UNAVAILABLE when the
    server does not answer.
    """

    def __init__(self, *, folder: Path, uri: str | None) -> None:
        # Loading pymilvus takes half a second and 100 MB, so commands that only read records never do.
        from pymilvus import MilvusClient

        # Every failure is translated below; pymilvus would print tracebacks to the terminal besides.
        for name in ("pymilvus", "pymilvus.milvus_client", "milvus_lite"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._lite = None if uri else _Lite(folder)
        try:
            with _translated(server=self._lite is None):
                self._client = MilvusClient(uri or self._lite_address(), timeout=_CONNECT_SECONDS)
        except LiaisonError:
            self._stop_lite()
            raise

    @property
    def is_lite(self) -> bool:
        """Whether this is Milvus Lite, which suits up to about 20,000 templates."""
        return self._lite is not None

    def open_index(self, collection: str, dimension: int) -> MilvusIndex:
        """Open a collection, made if it is not there; raises GALLERY_DAMAGED when it cannot be read."""
        with _translated(server=not self.is_lite):
            if not self._client.has_collection(collection):
                self._create(collection, dimension)
            self._client.load_collection(collection, timeout=_CALL_SECONDS)
        return MilvusIndex(self._client, collection, lite=self.is_lite)

    def close(self) -> None:
        """Close the connection and stop Milvus Lite, its threads included."""
        self._client.close()
        self._stop_lite()

    def _create(self, collection: str, dimension: int) -> None:
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(_ID, DataType.INT64, is_primary=True)
        schema.add_field(_VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
        index = self._client.prepare_index_params()
        # Approximate indexes lose true mates, and an exact one is quick enough up to a million templates.
        index.add_index(_VECTOR, index_type="FLAT", metric_type="IP")
        self._client.create_collection(
            collection, schema=schema, index_params=index, consistency_level="Bounded", timeout=_CALL_SECONDS
        )

    def _lite_address(self) -> str:
        assert self._lite is not None
        return self._lite.address

    def _stop_lite(self) -> None:
        if self._lite is not None:
            self._lite.stop()


class MilvusIndex:
    """A `TemplateIndex` on one Milvus collection; made by `MilvusStore.open_index`."""

    def __init__(self, client: Any, collection: str, *, lite: bool) -> None:
        self._client = client
        self._collection = collection
        self._lite = lite
        self._unflushed = 0
        self._lock = threading.Lock()

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        with self._lock, _translated(server=not self._lite):
            for start in range(0, len(ids), _ROWS_PER_CALL):
                part = slice(start, start + _ROWS_PER_CALL)
                rows = [
                    {_ID: template_id, _VECTOR: vector}
                    for template_id, vector in zip(ids[part], vectors[part], strict=True)
                ]
                self._client.upsert(self._collection, rows, timeout=_CALL_SECONDS)
                self._flush_after(len(rows))

    def delete(self, ids: Sequence[int]) -> None:
        with self._lock, _translated(server=not self._lite):
            for start in range(0, len(ids), _ROWS_PER_CALL):
                part = list(ids[start : start + _ROWS_PER_CALL])
                self._client.delete(self._collection, ids=part, timeout=_CALL_SECONDS)

    def search(self, vectors: Vectors, k: int) -> list[list[Hit]]:
        probes = np.atleast_2d(vectors)
        if k < 1 or not len(probes):
            return [[] for _ in probes]
        with _translated(server=not self._lite):
            found = self._client.search(
                self._collection,
                data=list(probes),
                limit=min(k, LARGEST_K),
                output_fields=[_ID],
                consistency_level="Bounded",
                timeout=_CALL_SECONDS,
            )
        return [[(int(hit[_ID]), float(hit["distance"])) for hit in hits] for hits in found]

    def ids(self) -> set[int]:
        with _translated(server=not self._lite):
            if self._lite:  # it has no page cursors, and no limit either
                rows = self._client.query(self._collection, filter=f"{_ID} > 0", output_fields=[_ID])
                return {int(row[_ID]) for row in rows}
            found: set[int] = set()
            pages = self._client.query_iterator(
                self._collection, batch_size=_IDS_PER_PAGE, output_fields=[_ID], consistency_level="Strong"
            )
            while page := pages.next():
                found.update(int(row[_ID]) for row in page)
            pages.close()
        return found

    def count(self) -> int:
        with _translated(server=not self._lite):
            answer = self._client.query(
                self._collection,
                output_fields=["count(*)"],
                consistency_level="Strong",
                timeout=_CALL_SECONDS,
            )
        return int(answer[0]["count(*)"])

    def _flush_after(self, rows: int) -> None:
        self._unflushed += rows
        if self._lite and self._unflushed >= _ROWS_BEFORE_FLUSH:
            self._client.flush(self._collection, timeout=_CALL_SECONDS)
            self._unflushed = 0


class _Lite:
    """Milvus Lite in this process, on a Unix socket that only this user can reach."""

    def __init__(self, folder: Path) -> None:
        import grpc
        from milvus_lite.adapter.grpc.servicer import MilvusServicer
        from milvus_lite.db import MilvusLite
        from milvus_lite.exceptions import DataDirLockedError
        from pymilvus.grpc_gen import milvus_pb2_grpc

        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = MilvusLite(str(folder))
        except DataDirLockedError:
            raise LiaisonError(Code.GALLERY_BUSY, "It has the index open.") from None
        except (OSError, ValueError) as error:
            raise LiaisonError(Code.GALLERY_DAMAGED, "The index's folder cannot be opened.") from error
        # A socket's path may have no more than 107 bytes, so it cannot always lie in the home.
        self._sockets = Path(tempfile.mkdtemp(prefix="liaison-"))
        self.address = f"unix:{self._sockets / 'milvus'}"
        # One worker: Milvus Lite does not keep concurrent writers apart.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="milvus-lite")
        self._server = grpc.server(
            self._worker,
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
            ],
        )
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(self._database), self._server)
        self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        # With no grace at all grpc may complain on the terminal about a channel that is just closing.
        self._server.stop(grace=_STOP_SECONDS).wait()
        self._worker.shutdown()
        self._database.close()
        shutil.rmtree(self._sockets, ignore_errors=True)


@contextmanager
def _translated(*, server: bool) -> Iterator[None]:
    """Turn what pymilvus raises into errors of the catalogue."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        if server:
            raise LiaisonError(Code.INDEX_UNAVAILABLE) from error
        raise LiaisonError(Code.GALLERY_DAMAGED, "The index cannot be read.") from error
