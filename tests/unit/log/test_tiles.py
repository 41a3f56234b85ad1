"""The log as files: C2SP's layout, whole files only, and no second history in the same folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.log import TileReader, consistency_proof, export_tiles, inclusion_proof, root
from federation.log.tiles import decode_bundle, encode_bundle, entries_path, tile_path, tiles_of

MakeLog = Callable[[int], Any]


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def code_of(act: Callable[[], object]) -> Code:
    with pytest.raises(LiaisonError) as raised:
        act()
    return raised.value.code


def test_paths_are_those_of_the_specification() -> None:
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(2, 5, 17) == "tile/2/005.p/17"
    assert entries_path(0) == "tile/entries/000"
    assert entries_path(1000, 3) == "tile/entries/x001/000.p/3"


def test_the_tiles_of_seventy_thousand_entries_are_those_of_the_specification() -> None:
    tiles = list(tiles_of(70_000))
    assert len([tile for tile in tiles if tile[0] == 0 and tile[2] == 256]) == 273
    assert tiles[-4:] == [(0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)]
    assert list(tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]
    assert list(tiles_of(0)) == []


def test_every_entry_in_a_bundle_follows_its_length_in_two_bytes() -> None:
    assert encode_bundle([b"", b"a", b"bc"]).hex() == "000000016100026263"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_reads_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02a", b"\x00\x01ab", b"\xff\xff"])
def test_a_bundle_that_ends_inside_an_entry_is_refused(data: bytes) -> None:
    assert code_of(lambda: decode_bundle(data)) is Code.LOG_DAMAGED


def test_an_exported_log_has_the_layout_of_the_specification(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(300)
    log.export(tmp_path)
    exported = files(tmp_path)
    assert {
        name: len(data) // 32 for name, data in exported.items() if name.startswith(("tile/0", "tile/1"))
    } == {
        "tile/0/000": 256,
        "tile/0/001.p/44": 44,
        "tile/1/000.p/1": 1,
    }
    assert exported["tile/1/000.p/1"] == log.read(8, 0)
    assert exported["tile/entries/001.p/44"] == encode_bundle(log.entries[256:])
    assert exported["checkpoint"] == log.cosigned()
    assert len(exported) == 6


def test_an_empty_log_is_exported_as_its_checkpoint_alone(make_log: MakeLog, tmp_path: Path) -> None:
    make_log(0).export(tmp_path)
    assert set(files(tmp_path)) == {"checkpoint"}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 400), min_size=1, max_size=4))
def test_exporting_as_the_log_grows_ends_where_exporting_once_does(
    make_log: MakeLog, tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    log = make_log(max(sizes))
    grown, once = tmp_path_factory.mktemp("grown"), tmp_path_factory.mktemp("once")
    for size in sorted(sizes):
        log.export(grown, size)
    log.export(once)
    left_over = files(grown).keys() - files(once).keys()
    assert all(".p/" in name for name in left_over)
    assert {name: data for name, data in files(grown).items() if name not in left_over} == files(once)


def test_partial_tiles_go_when_the_full_one_is_there(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(257)
    log.export(tmp_path, 100)
    assert (tmp_path / "tile/0/000.p/100").exists()
    log.export(tmp_path)
    assert not (tmp_path / "tile/0/000.p").exists()
    assert not (tmp_path / "tile/entries/000.p").exists()


def test_a_second_export_reads_only_what_is_new(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(2_000)
    log.export(tmp_path, 1_900)
    asked: list[tuple[int, int]] = []

    def read_entries(begin: int, end: int) -> list[bytes]:
        asked.append((begin, end))
        return list(log.entries[begin:end])

    export_tiles(tmp_path, 2_000, log.read, read_entries, log.note())
    assert asked == [(1_792, 2_000)]


def test_a_full_tile_with_other_contents_is_not_overwritten(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(300)
    for name in ("tile/0/000", "tile/entries/000"):
        directory = tmp_path / name.replace("/", "-")
        (directory / name).parent.mkdir(parents=True)
        (directory / name).write_bytes(b"another history")
        assert code_of(partial(log.export, directory)) is Code.LOG_DAMAGED
        assert (directory / name).read_bytes() == b"another history"
        assert not (directory / "checkpoint").exists()


def test_another_history_is_not_exported_into_the_folder(make_log: MakeLog, tmp_path: Path) -> None:
    make_log(300).export(tmp_path)
    before = files(tmp_path)
    other = make_log(0)
    other.append([b"another first entry", *make_log(310).entries[1:]])
    assert code_of(lambda: other.export(tmp_path)) is Code.LOG_DAMAGED
    assert files(tmp_path) == before


def test_an_older_checkpoint_does_not_replace_a_newer_one(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(300)
    log.export(tmp_path)
    assert code_of(lambda: log.export(tmp_path, 299)) is Code.LOG_DAMAGED


def test_a_checkpoint_that_is_not_of_the_log_is_not_exported(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(10)
    assert (
        code_of(lambda: export_tiles(tmp_path, 10, log.read, log.read_entries, log.note(9)))
        is Code.LOG_DAMAGED
    )
    assert files(tmp_path) == {}


def test_an_export_goes_on_after_it_was_killed_anywhere(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(600)
    log.export(tmp_path / "whole")
    whole = files(tmp_path / "whole")
    names = [name for name in whole if name != "checkpoint"]
    for done in range(len(names)):
        directory = tmp_path / str(done)
        directory.mkdir()
        for name in names[:done]:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(whole[name])
        (directory / ".unfinished").write_bytes(whole[names[done]][:7])
        log.export(directory)
        assert files(directory) == whole


def test_a_folder_whose_checkpoint_cannot_be_read_is_left_alone(make_log: MakeLog, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"garbage")
    assert code_of(lambda: make_log(3).export(tmp_path)) is Code.LOG_DAMAGED


def test_a_folder_that_cannot_be_written_ends_in_an_error_of_the_catalogue(
    make_log: MakeLog, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert code_of(lambda: make_log(3).export(tmp_path / "file")) is Code.LOG_UNAVAILABLE


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
def test_files_alone_give_every_node_entry_and_proof(make_log: MakeLog, tmp_path: Path, size: int) -> None:
    log = make_log(size)
    log.export(tmp_path)
    reader = TileReader(tmp_path)
    assert all(reader.read_node(level, index) == digest for (level, index), digest in log.nodes.items())
    assert reader.entries(0, size) == log.entries
    assert root(size, reader.read_node) == root(size, log.read)
    for index in range(0, size, 37):
        assert inclusion_proof(index, size, reader.read_node) == inclusion_proof(index, size, log.read)
        assert consistency_proof(index, size, reader.read_node) == consistency_proof(index, size, log.read)


def test_a_missing_or_short_tile_is_damage(make_log: MakeLog, tmp_path: Path) -> None:
    make_log(300).export(tmp_path)
    (tmp_path / "tile/0/000").write_bytes(b"short")
    (tmp_path / "tile/entries/000").unlink()
    reader = TileReader(tmp_path)
    assert code_of(lambda: reader.read_node(0, 0)) is Code.LOG_DAMAGED
    assert code_of(lambda: reader.read_node(0, 300)) is Code.LOG_DAMAGED
    assert code_of(lambda: reader.entries(0, 1)) is Code.LOG_DAMAGED
    assert code_of(lambda: TileReader(tmp_path / "nowhere").checkpoint_note()) is Code.FILE_MISSING
