"""`agency-node search`, `status` and `doctor`, as a person types them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from agency_node.cli.doctor import doctor
from agency_node.cli.options import Invocation
from agency_node.cli.search import search
from agency_node.cli.status import status
from federation.errors import Code, LiaisonError

ASK = [
    "--case",
    "26-1044",
    "--purpose",
    "criminal-investigation",
    "--offense",
    "120",
    "--source",
    "cctv-still",
]


@pytest.fixture
def run(node: Any, hub_port: int, engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command of this node against the hub in the other thread."""
    address = f"127.0.0.1:{hub_port}"
    for module in ("agency_node.desk.session", "agency_node.link.channel"):
        monkeypatch.setattr(f"{module}.open_channel", lambda *_: grpc.aio.insecure_channel(address))
    monkeypatch.setattr("agency_node.engine.load.load_engine", lambda *_: engine)

    def command(command: Any, *arguments: str, as_json: bool = False) -> Result:
        return CliRunner().invoke(command, arguments, obj=Invocation(node.home, as_json))

    return command


@pytest.fixture
def still(tmp_path: Path, picture: bytes) -> str:
    path = tmp_path / "still.png"
    path.write_bytes(picture)
    return str(path)


def test_a_search_prints_status_sentence_rule_candidates_and_the_fixed_wording(
    run: Any, hub: Any, still: str
) -> None:
    hub.refusing = {"tracy-pd/booking"}
    result = run(search, still, *ASK)
    assert result.exit_code == 0, result.output
    for shown in (
        "stockton-pd/booking",
        "S-1",
        "0.710",
        "not calibrated",
        "deciding rule: tracy-pd/no-such-search",
    ):
        assert shown in result.stdout
    assert "refused by hub" in result.stdout
    assert "never an identification" in " ".join(result.stdout.split())


def test_nothing_that_a_search_prints_holds_a_percentage(run: Any, still: str, tmp_path: Path) -> None:
    outputs = [run(search, still, *ASK), run(search, still, *ASK, as_json=True), run(search, "--list")]
    assert all(result.exit_code == 0 for result in outputs)
    assert "%" not in "".join(result.output for result in outputs)


def test_json_has_the_shape_that_reports_are_made_of(run: Any, hub: Any, still: str) -> None:
    hub.refusing = {"tracy-pd/booking"}
    result = run(search, still, *ASK, as_json=True)
    found = json.loads(result.stdout)
    assert found["probe"] == "still.png"
    answered, refused = found["deliveries"]
    wanted = {"agency", "gallery", "status", "reason", "rule", "code", "candidates", "receipt"}
    assert wanted <= answered.keys()
    assert wanted <= refused.keys()
    first = answered["candidates"][0]
    assert (first["rank"], first["subject"], first["similarity"], first["fmr"]) == (1, "S-1", 0.71, None)
    assert (refused["rule"], refused["candidates"], refused["receipt"]) == (
        "tracy-pd/no-such-search",
        [],
        None,
    )
    assert found["seconds"] > 0


def test_output_writes_files_for_their_owner_alone(run: Any, hub: Any, still: str, tmp_path: Path) -> None:
    hub.refusing = {"tracy-pd/booking"}
    folder = tmp_path / "out"
    assert run(search, still, *ASK, "--output", str(folder)).exit_code == 0
    written = sorted(path.name for path in folder.iterdir())
    assert written == [
        "candidates.png",
        "result.json",
        "stockton-pd--booking--01.jpg",
        "stockton-pd--booking.receipt.json",
    ]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    sheet = Image.open(io.BytesIO((folder / "candidates.png").read_bytes()))
    assert sheet.width > 1000


def test_without_output_no_picture_reaches_the_disk(run: Any, still: str, node: Any, tmp_path: Path) -> None:
    assert run(search, still, *ASK).exit_code == 0
    names = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert names & {".jpg", ".png"} == {".png"}  # the one that was handed in
    assert len(list(tmp_path.rglob("*.png"))) == 1


def test_when_every_gallery_refuses_the_command_says_so(run: Any, hub: Any, still: str) -> None:
    hub.refusing = {"tracy-pd/booking", "stockton-pd/booking"}
    result = run(search, still, *ASK)
    assert isinstance(result.exception, LiaisonError)
    assert result.exception.code is Code.POLICY_DENIES
    assert "Never for this." in result.stdout


def test_a_search_handed_in_without_waiting_is_listed_and_resumed(run: Any, still: str) -> None:
    handed_in = json.loads(run(search, still, *ASK, "--no-wait", as_json=True).stdout)
    assert handed_in["id"] in run(search, "--list").stdout
    listed = json.loads(run(search, "--list", as_json=True).stdout)
    assert [(line["id"], line["state"]) for line in listed] == [(handed_in["id"], "submitted")]
    assert "S-1" in run(search, "--resume", handed_in["id"]).stdout


@pytest.mark.parametrize("left_out", ["--case", "--purpose", "--offense", "--source"])
def test_no_search_leaves_without_case_purpose_offence_and_source(
    run: Any, hub: Any, still: str, left_out: str
) -> None:
    place = ASK.index(left_out)
    result = run(search, still, *ASK[:place], *ASK[place + 2 :])
    assert isinstance(result.exception, LiaisonError)
    assert result.exception.code is Code.REQUEST_INVALID
    assert hub.submitted == []


def test_a_picture_that_is_not_there_and_two_things_at_once_are_named(run: Any, still: str) -> None:
    missing = run(search, "nowhere.png", *ASK)
    assert isinstance(missing.exception, LiaisonError)
    assert missing.exception.code is Code.FILE_MISSING
    assert run(search, still, "--list").exit_code == 2
    assert run(search).exit_code == 2


def test_status_says_where_a_member_without_a_gallery_stands(run: Any, node: Any) -> None:
    result = run(status, as_json=True)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["member"] == {"agency": "lodi-pd", "node": "n1", "region": "delta", "joined": True}
    assert found["region"]["bundle_version"] == 1
    assert found["galleries"] == []
    assert found["serving"] is False
    assert "lodi-pd" in run(status).stdout


def test_doctor_names_a_key_that_others_may_read_and_a_hub_that_does_not_know_it(run: Any, node: Any) -> None:
    (node.home / "keys" / "agency.key").chmod(0o644)
    result = run(doctor, as_json=True)
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert checks["home"]["ok"]
    assert checks["policy"]["ok"]
    assert not checks["keys/agency.key"]["ok"]
    assert checks["keys/agency.key"]["next"]
    assert result.exit_code == 28


def test_doctor_of_a_folder_that_was_never_set_up_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(doctor, [], obj=Invocation(tmp_path / "none"))
    assert result.exit_code == 17
    assert "init" in result.stdout


def test_doctor_finds_the_evidence_of_a_log_that_contradicts_itself(run: Any, node: Any, region: Any) -> None:
    from agency_node.link.store import NodeStore

    store = NodeStore(node.database_path)
    store.keep_evidence(b"one", b"other", region.at)
    store.close()
    result = run(doctor, as_json=True)
    log = next(check for check in json.loads(result.stdout) if check["name"] == "log")
    assert (log["ok"], log["code"]) == (False, "checkpoint-inconsistent")
    assert result.exit_code != 0
