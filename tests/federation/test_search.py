"""The main job, as its users do it: processes, commands, and what they print."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from demo.stage import CommandFailedError

ASKING = "mill-creek-pd"
ANSWERING, REFUSING, PUBLIC = "san-joaquin-so/booking", "eastport-pd/booking", "valley-records/public"
AGENCIES = (ASKING, "san-joaquin-so", "eastport-pd", "valley-records")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(federation: Any) -> Any:
    """One search of all galleries, with its files."""
    return federation.search("--output", str(federation.stage.folder / "found"))


def galleries_of(result: Any) -> dict[str, Any]:
    return {f"{one['agency']}/{one['gallery']}": one for one in result["deliveries"]}


def test_a_search_shows_every_gallery_with_its_own_status_and_deciding_rule(found: Any) -> None:
    galleries = galleries_of(found)
    assert {name: (one["status"], one["rule"]) for name, one in galleries.items()} == {
        ANSWERING: ("answered", "san-joaquin-so/violent-felony-assist"),
        REFUSING: ("refused_by_hub", "eastport-pd/no-robbery-until-mou"),
        PUBLIC: ("answered", "valley-records/serious-offence-with-narrative"),
    }
    assert galleries[REFUSING]["candidates"] == []
    assert "Not in robbery cases" in galleries[REFUSING]["reason"]


def test_the_person_leads_the_candidates_of_both_galleries_that_hold_their_photograph(found: Any) -> None:
    for name in (ANSWERING, PUBLIC):
        candidates = galleries_of(found)[name]["candidates"]
        assert candidates[0]["subject"] == "astronaut"
        assert [one["rank"] for one in candidates] == list(range(1, len(candidates) + 1))
        assert all(one["fmr"] is None for one in candidates)


def test_an_answer_comes_with_the_owners_receipt_and_the_place_in_the_log(
    federation: Any, found: Any
) -> None:
    for name in (ANSWERING, PUBLIC):
        receipt = galleries_of(found)[name]["receipt"]
        assert receipt["log_index"] == found["log"]["index"]
        logged = [
            facts
            for kind, facts in federation.entries(found["id"])
            if kind == "answer" and facts["gallery"] == name
        ]
        assert [facts["receipt_sha256"] for facts in logged] == [receipt["sha256"]]
    folder = federation.stage.folder / "found"
    assert json.loads((folder / "result.json").read_text())["id"] == found["id"]
    assert (folder / "candidates.png").stat().st_size > 1000


def test_a_search_that_every_gallery_refuses_ends_with_the_exit_code_of_policy(federation: Any) -> None:
    result = federation.search("--gallery", REFUSING, accept=(32,))
    assert [one["status"] for one in result["deliveries"]] == ["refused_by_hub"]


def test_several_faces_unpicked_are_refused_and_nothing_is_submitted(federation: Any) -> None:
    before = federation.stage.run_hub("status")["log"]["size"]
    with pytest.raises(CommandFailedError) as refused:
        federation.search(probe="group-picture-face-3")
    assert (refused.value.code, refused.value.error["error"]) == (11, "several-faces")
    assert federation.stage.run_hub("status")["log"]["size"] == before
    picked = federation.search("--face", "3", "--gallery", ANSWERING, probe="group-picture-face-3")
    assert galleries_of(picked)[ANSWERING]["candidates"][0]["subject"] == "group-3"


def test_a_search_that_was_handed_in_is_read_later(federation: Any) -> None:
    handed_in = federation.search("--no-wait", "--gallery", ANSWERING)
    assert handed_in["state"] == "submitted"
    result = federation.search("--resume", handed_in["id"])
    assert galleries_of(result)[ANSWERING]["candidates"][0]["subject"] == "astronaut"
    again = federation.search("--resume", handed_in["id"])
    assert again["deliveries"] == result["deliveries"]


def test_status_and_doctor_say_that_all_is_well(federation: Any, found: Any) -> None:
    stage = federation.stage
    hub = stage.run_hub("status")
    assert hub["agencies"]["confirmed"] == len(AGENCIES)
    assert hub["deliveries"]["answered"] >= 2
    assert all(node["listed"] and not node["revoked"] for node in hub["nodes"])
    for agency in AGENCIES:
        status = stage.run_node(agency, "status")
        assert status["hub"]["reachable"]
        assert status["hub"]["confirmed"]
        assert status["serving"]
        assert [one["templates"] > 0 for one in status["galleries"]] == ([] if agency == ASKING else [True])
        checks = stage.run_node(agency, "doctor")
        assert [check for check in checks if not check["ok"]] == []


def test_the_log_verifies_in_the_database_and_offline_cosigned_by_every_node(
    federation: Any, found: Any, tmp_path: Path
) -> None:
    assert federation.stage.run_hub("log", "verify")["verified"]
    exported = _export(federation, tmp_path / "log", witnesses=len(AGENCIES))
    code, report = _verify_offline(tmp_path / "log", exported)
    assert (code, report["verified"]) == (0, True)
    assert len(report["witnesses"]) == len(AGENCIES)
    assert report["entries"]["request"] >= 1


def test_an_exported_log_of_which_one_byte_was_changed_does_not_verify(
    federation: Any, found: Any, tmp_path: Path
) -> None:
    exported = _export(federation, tmp_path / "log", witnesses=len(AGENCIES))
    entries = next(
        path for path in sorted((tmp_path / "log" / "tile" / "entries").rglob("*")) if path.is_file()
    )
    content = bytearray(entries.read_bytes())
    at = content.index(b'"type":"request"') - 10
    content[at] ^= 1
    entries.write_bytes(content)
    code, report = _verify_offline(tmp_path / "log", exported)
    assert (code, report["verified"]) == (44, False)


def test_a_gallery_whose_node_is_away_is_shown_as_not_searched_and_the_others_answer(federation: Any) -> None:
    with federation.away("valley-records"):
        result = federation.search("--expires", "10s")
    galleries = galleries_of(result)
    assert galleries[ANSWERING]["status"] == "answered"
    assert galleries[PUBLIC]["status"] == "unreachable"
    assert galleries[PUBLIC]["reason"].startswith("Not searched")
    assert galleries[PUBLIC]["candidates"] == []
    assert galleries[PUBLIC]["receipt"] is None


def test_a_node_that_comes_back_before_the_deadline_answers(federation: Any) -> None:
    with federation.away("valley-records"):
        handed_in = federation.search("--no-wait", "--gallery", PUBLIC)
        assert federation.state(handed_in["id"], PUBLIC) == "queued"
    result = federation.search("--resume", handed_in["id"])
    assert galleries_of(result)[PUBLIC]["candidates"][0]["subject"] == "astronaut"


def test_a_cancelled_search_is_shown_as_not_searched_and_is_never_served(federation: Any) -> None:
    with federation.away("valley-records"):
        handed_in = federation.search("--no-wait", "--gallery", PUBLIC)
        cancelled = federation.search("--cancel", handed_in["id"])
        assert galleries_of(cancelled)[PUBLIC]["status"] == "cancelled"
    # A later search is answered, so the node has been through its link; the cancelled one is still not served.
    federation.search("--gallery", PUBLIC)
    assert not federation.was_searched(handed_in["id"], PUBLIC)
    assert [kind for kind, _ in federation.entries(handed_in["id"])] == ["request", "decision", "cancel"]


def test_what_is_imported_while_the_node_serves_is_found_without_a_restart(
    federation: Any, cast: Any
) -> None:
    probe = next(one for one in cast.probes if one.id == "group-6-degraded")
    before = federation.search("--gallery", ANSWERING, probe=probe.id)
    assert "latecomer" not in [one["subject"] for one in galleries_of(before)[ANSWERING]["candidates"]]
    pid = federation.process("san-joaquin-so").pid
    done = federation.import_people(ANSWERING, {"latecomer": {"photograph.jpg": probe.picture}})
    assert done["added"] == 1
    deadline = time.monotonic() + 30
    while True:
        after = federation.search("--gallery", ANSWERING, probe=probe.id)
        if galleries_of(after)[ANSWERING]["candidates"][0]["subject"] == "latecomer":
            break
        assert time.monotonic() < deadline
    assert federation.process("san-joaquin-so").pid == pid


def test_a_member_without_a_gallery_loads_neither_milvus_nor_an_engine(federation: Any) -> None:
    heavy = ("onnxruntime", "milvus", "cv2")

    def loaded(agency: str) -> list[str]:
        maps = Path(f"/proc/{federation.process(agency).pid}/maps").read_text()
        return [name for name in heavy if name in maps]

    assert "onnxruntime" in loaded("san-joaquin-so")
    assert loaded(ASKING) == []


def _export(federation: Any, folder: Path, *, witnesses: int) -> Any:
    """Export until the newest checkpoint has every node's cosignature; they come a moment after the entries."""
    deadline = time.monotonic() + 20
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        exported = federation.stage.run_hub("log", "export", str(folder))
        if exported["cosignatures"] == witnesses:
            return exported
        assert time.monotonic() < deadline


def _verify_offline(folder: Path, exported: Any) -> tuple[int, Any]:
    command = [
        sys.executable,
        "-m",
        "federation.log",
        "verify",
        str(folder),
        "--log-key",
        exported["log_key"],
    ]
    for key in exported["witness_keys"]:
        command += ["--witness", key]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)
