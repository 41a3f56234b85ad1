"""A node's galleries on real Milvus Lite: opened, killed, damaged, attacked, and shared by two processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agency_node.gallery import Galleries, GalleryDeclaration, create_key, open_galleries
from federation.errors import Code, LiaisonError

pytestmark = pytest.mark.slow

DECLARED = {"booking": GalleryDeclaration("booking", "Booking photographs", 3650)}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    create_key(tmp_path / "vault.key")
    return tmp_path


def opened(node: Path, *, hold_index: bool = True, engine_id: str = "engine@1", **declared) -> Galleries:
    key = f"file:{node / 'vault.key'}"
    return open_galleries(node, declared or DECLARED, engine_id, vault_key_uri=key, hold_index=hold_index)


def people(direction, enrolment, count: int = 5):
    return [
        enrolment(direction(n), f"Confidential Person {n}", photo=b"\xff\xd8\xff jpeg %d" % n)
        for n in range(count)
    ]


def code_of(call) -> Code:
    with pytest.raises(LiaisonError) as refused:
        call()
    return refused.value.code


def test_what_was_enrolled_is_found_after_closing_and_opening(node, direction, enrolment) -> None:
    with opened(node) as galleries, galleries.importing():
        galleries["booking"].enroll(people(direction, enrolment))
    with opened(node) as galleries:
        [match, *_] = galleries.named("booking").search(direction(3), 3)
        assert match.subject_ref == "Confidential Person 3"
        assert galleries["booking"].photo(match.encounter_id) == b"\xff\xd8\xff jpeg 3"
        assert not galleries.outgrown


def test_a_gallery_that_the_policy_does_not_declare_is_absent(node) -> None:
    with opened(node, hold_index=False) as galleries:
        assert code_of(lambda: galleries.named("other")) is Code.GALLERY_ABSENT


def test_a_gallery_s_name_cannot_leave_its_folder(node) -> None:
    assert code_of(lambda: opened(node, **{"../booking": DECLARED["booking"]})) is Code.CONFIG_INVALID


def damage_nothing_but_remove(index: Path) -> None:
    shutil.rmtree(index)


def damage_every_file(index: Path) -> None:
    for path in index.rglob("*"):
        if path.is_file():
            path.write_bytes(b"garbage")


def damage_the_vectors(index: Path) -> None:
    for path in index.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:100])


def replace_it_by_a_file(index: Path) -> None:
    shutil.rmtree(index)
    index.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [damage_nothing_but_remove, damage_every_file, damage_the_vectors, replace_it_by_a_file]
)
def test_an_index_that_is_gone_or_damaged_is_rebuilt_from_the_records(
    node, direction, enrolment, damage
) -> None:
    with opened(node) as galleries, galleries.importing():
        galleries["booking"].enroll(people(direction, enrolment))
    damage(node / "galleries" / "index")
    with opened(node) as galleries:
        found = [galleries["booking"].search(direction(n), 1)[0].subject_ref for n in range(5)]
    assert found == [f"Confidential Person {n}" for n in range(5)]


def test_another_vault_key_is_refused_with_a_clear_sentence(node, direction, enrolment) -> None:
    opened(node, hold_index=False).close()
    (node / "vault.key").unlink()
    create_key(node / "vault.key")
    assert code_of(lambda: opened(node, hold_index=False)) is Code.KEY_UNREADABLE


def test_a_second_process_cannot_hold_the_index_but_may_import_and_count(node, direction, enrolment) -> None:
    with opened(node) as server:
        assert code_of(lambda: opened(node)) is Code.GALLERY_BUSY
        with opened(node, hold_index=False) as importer, importer.importing():
            importer["booking"].enroll(people(direction, enrolment))
            with opened(node, hold_index=False) as third:
                assert code_of(lambda: third.importing().__enter__()) is Code.GALLERY_BUSY
                assert third["booking"].counts().subjects == 5
        assert server.refresh() == 5
        assert len(server["booking"].search(direction(0), 10)) == 5


def test_galleries_and_engines_of_one_node_have_indexes_of_their_own(node, direction, enrolment) -> None:
    both = DECLARED | {"missing-persons": GalleryDeclaration("missing-persons", "Missing", None)}
    with opened(node, **both) as galleries, galleries.importing():
        galleries["booking"].enroll(people(direction, enrolment))
        assert galleries["missing-persons"].search(direction(0), 5) == []
    with opened(node, engine_id="engine@2") as galleries:
        assert galleries["booking"].search(direction(0), 5) == []
        assert galleries["booking"].counts().templates == 0
    with opened(node) as galleries:
        assert len(galleries["booking"].search(direction(0), 5)) == 5


def test_whoever_reads_the_disk_finds_no_photograph_name_or_template(node, direction, enrolment) -> None:
    facts = {"name": "Grace Plainname", "provenance_url": "https://example.org/grace", "basis": "Order 4711"}
    with opened(node) as galleries, galleries.importing():
        galleries["booking"].enroll(
            [*people(direction, enrolment), enrolment(direction(9), "CII-99", "BK-1", **facts)]
        )
        secrets = [
            b"\xff\xd8\xff",
            b"jpeg",
            b"Confidential",
            b"Person",
            b"Plainname",
            b"example.org",
            b"4711",
        ]
        secrets += [b"CII-99", b"BK-1", direction(3).tobytes()[:64]]
        for path in (path for path in node.rglob("*") if path.is_file()):
            inside_index = "index" in path.relative_to(node).parts
            data = path.read_bytes()
            for secret in secrets[:-1] if inside_index else secrets:
                assert secret not in data, path.name
            if not inside_index and path.parent.name == "galleries":
                assert not re.search(rb"[A-Z]{2,3}-\d", data), path.name


def test_no_other_user_of_the_machine_can_reach_the_index(node) -> None:
    def listening_ports() -> set[str]:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {row[9] for row in rows if row[3] == "0A"}
        own = {os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}  # noqa: PTH115
        return {inode for inode in inodes if f"socket:[{inode}]" in own}

    before = listening_ports()
    with opened(node):
        assert listening_ports() == before
        folder = node / "galleries"
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (folder, folder / "index")} == {0}


IMPORTER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np
    from agency_node.gallery import *
    node = Path(sys.argv[1])
    declared = {"booking": GalleryDeclaration("booking", "Booking photographs", 3650)}
    key = f"file:{node / 'vault.key'}"
    with open_galleries(node, declared, "engine@1", vault_key_uri=key, hold_index=sys.argv[2] == "hold") as galleries:
        with galleries.importing():
            for n in range(400):
                vector = np.zeros(512, dtype=np.float32)
                vector[n] = 1
                face = EnrolledFace(vector, (0.0, 0.0, 9.0, 9.0), ((1.0, 1.0),) * 5, 90)
                galleries["booking"].enroll([Enrolment(EncounterFacts(f"S-{n}", "1"), b"photo %d" % n, face)])
                print(n, flush=True)
    """
)


def start_importer(node: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", IMPORTER, str(node), how], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("after", [1, 7, 30])
def test_an_import_killed_outright_leaves_what_it_acknowledged_and_no_orphan(
    node, direction, after: int
) -> None:
    with start_importer(node, "hold") as importer:
        assert importer.stdout is not None
        for _ in range(after):
            importer.stdout.readline()
        importer.send_signal(signal.SIGKILL)
        acknowledged = after + len(importer.stdout.readlines())
    with opened(node) as galleries:
        gallery = galleries["booking"]
        held = gallery.counts().subjects
        assert held in (acknowledged, acknowledged + 1)
        assert gallery.counts().templates == held
        assert gallery.counts().pending == 0
        assert {m.subject_ref for m in gallery.search(direction(0), 400)} == {f"S-{n}" for n in range(held)}
        assert len(list((node / "galleries" / "photos").rglob("*.*"))) == held


def test_another_process_imports_while_this_one_serves(node, direction) -> None:
    with opened(node) as galleries, start_importer(node, "leave") as importer:
        gallery = galleries["booking"]
        assert importer.stdout is not None
        seen = 0
        for line in importer.stdout:
            if int(line) % 50 == 49:
                galleries.refresh()
                found = len(gallery.search(direction(0), 400))
                assert found >= seen
                seen = found
        assert importer.wait() == 0
        galleries.refresh()
        assert len(gallery.search(direction(0), 400)) == 400
        assert gallery.counts().pending == 0
