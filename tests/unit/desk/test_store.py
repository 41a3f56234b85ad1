"""desk.db: what it keeps, what nobody can read in it, and what it refuses."""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agency_node.desk.directory import GalleryEntry
from agency_node.desk.intake import take_in
from agency_node.desk.store import DeskStore, SearchState
from agency_node.desk.submit import Member, Prepared, new_request_id, prepare
from federation.errors import Code, LiaisonError
from federation.probe.request import Requester
from protos.liaison.v1 import broker_pb2

KEY = bytes(range(32))


@pytest.fixture
def prepared(region: Any, engine: Any, picture: bytes, details: Any) -> Prepared:
    owner, asker = region.agencies["tracy-pd"], region.agencies["lodi-pd"]
    entry = GalleryEntry(
        "tracy-pd",
        "booking",
        "n1",
        "booking",
        "Booking",
        "toy@1",
        1,
        1,
        owner.sealing.public(),
        "",
        connected=True,
    )
    return prepare(
        take_in(picture, engine),
        details,
        Requester(agency="lodi-pd", user="det.ruiz", roles=("requester",)),
        [entry],
        Member("delta", "lodi-pd", asker.key, asker.certificate, "sha256:" + "0" * 64),
        new_request_id(),
        datetime.now(UTC),
    )


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = DeskStore(tmp_path / "desk.db", KEY)
    yield store
    store.close()


def test_a_search_comes_back_as_it_was_kept(store: DeskStore, prepared: Prepared) -> None:
    store.add(prepared, b"the working image", "still.png")
    kept = store.get(prepared.request.id)
    assert (kept.prepared, kept.probe, kept.label) == (prepared, b"the working image", "still.png")
    assert kept.state is SearchState.PREPARED
    assert kept.prepared.message.SerializeToString(deterministic=True) == prepared.message.SerializeToString(
        deterministic=True
    )


def test_nothing_that_names_the_case_opens_an_answer_or_shows_the_face_is_readable_on_the_disk(
    store: DeskStore, prepared: Prepared, tmp_path: Path
) -> None:
    image, answer = secrets.token_bytes(64), secrets.token_bytes(64)
    store.add(prepared, image, "still-of-somebody.png")
    collected = broker_pb2.CollectResponse(deliveries=[broker_pb2.CollectedDelivery(sealed_answer=answer)])
    store.collected(prepared.request.id, collected, SearchState.DONE, datetime.now(UTC))
    disk = b"".join(path.read_bytes() for path in tmp_path.glob("desk.db*"))
    for secret in (b"26-1044", b"det.ruiz", b"still-of", prepared.key.raw, image, answer):
        assert secret not in disk
    assert (tmp_path / "desk.db").stat().st_mode & 0o077 == 0


def test_another_vault_key_opens_nothing(store: DeskStore, prepared: Prepared, tmp_path: Path) -> None:
    store.add(prepared, b"x", "y")
    other = DeskStore(tmp_path / "desk.db", bytes(32))
    with pytest.raises(LiaisonError) as refusal:
        other.get(prepared.request.id)
    assert refusal.value.code is Code.SEAL_BROKEN
    other.close()


def test_a_column_moved_to_another_place_does_not_open(
    store: DeskStore, prepared: Prepared, tmp_path: Path
) -> None:
    store.add(prepared, b"x", "y")
    with sqlite3.connect(tmp_path / "desk.db") as raw:
        raw.execute("UPDATE searches SET sealed_label = sealed_probe")
    raw.close()
    with pytest.raises(LiaisonError) as refusal:
        store.get(prepared.request.id)
    assert refusal.value.code is Code.SEAL_BROKEN


def test_an_unknown_id_is_named(store: DeskStore) -> None:
    with pytest.raises(LiaisonError) as refusal:
        store.get("0" * 32)
    assert refusal.value.code is Code.REQUEST_UNKNOWN


def test_searches_are_listed_the_newest_first(store: DeskStore, prepared: Prepared) -> None:
    from dataclasses import replace

    from federation.canonical import stamp, unstamp

    later = stamp(unstamp(prepared.request.created_at) + timedelta(seconds=1))
    newer = replace(
        prepared, request=prepared.request.model_copy(update={"id": "f" * 32, "created_at": later})
    )
    store.add(prepared, b"x", "y")
    store.add(newer, b"x", "y")
    assert [line.id for line in store.list()] == ["f" * 32, prepared.request.id]
    assert store.list()[0].as_json()["state"] == "prepared"


def test_a_file_of_a_newer_version_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    newer = tmp_path / "newer.db"
    with sqlite3.connect(newer) as raw:
        raw.execute("PRAGMA user_version=99")
    raw.close()
    with pytest.raises(LiaisonError) as refusal:
        DeskStore(newer, KEY)
    assert refusal.value.code is Code.CONFIG_INVALID
    (tmp_path / "noise.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(LiaisonError) as refusal:
        DeskStore(tmp_path / "noise.db", KEY)
    assert refusal.value.code is Code.STORAGE_FAILED
