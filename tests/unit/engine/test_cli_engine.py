"""`agency-node engine`, as a person and as a program use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from agency_node.cli.engine import engine
from agency_node.engine import pack
from federation.errors import Code, LiaisonError


@pytest.fixture
def no_pack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIAISON_ENGINES", str(tmp_path))


@pytest.mark.usefixtures("no_pack")
def test_without_a_pack_list_says_so_and_show_fails() -> None:
    runner = CliRunner()
    listed = runner.invoke(engine, ["list", "--json"])
    assert json.loads(listed.stdout)[0]["state"] == "not installed"
    shown = runner.invoke(engine, ["show"])
    assert isinstance(shown.exception, LiaisonError)
    assert shown.exception.code is Code.ENGINE_MISSING


@pytest.mark.usefixtures("no_pack")
@pytest.mark.slow
def test_a_damaged_pack_is_listed_as_damaged(pack_files: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / pack.NAME
    folder.mkdir()
    for name, data in pack_files.items():
        (folder / name).write_bytes(data[:-1])
    listed = CliRunner().invoke(engine, ["list", "--json"])
    assert json.loads(listed.stdout)[0]["state"] == "damaged"


@pytest.mark.slow
@pytest.mark.usefixtures("pack_files")
def test_pull_again_says_that_it_is_there_and_prints_both_licences() -> None:
    pulled = CliRunner().invoke(engine, ["pull"])
    assert pulled.exit_code == 0
    assert "was there already, and is whole" in pulled.stdout
    assert pulled.stdout.count("MIT License") == 2


@pytest.mark.slow
@pytest.mark.usefixtures("pack_files")
def test_show_names_every_file_with_its_pinned_digest() -> None:
    shown = json.loads(CliRunner().invoke(engine, ["show", "--json"]).stdout)
    assert shown["engine_id"] == pack.engine_id()
    assert {name: file["sha256"] for name, file in shown["files"].items()} == pack.PINS


@pytest.mark.slow
@pytest.mark.usefixtures("pack_files")
def test_check_reports_faces_and_failures_together_and_its_status_is_the_first_failure(
    group_bytes: bytes, tmp_path: Path
) -> None:
    good, text, absent = tmp_path / "group.jpg", tmp_path / "notes.txt", tmp_path / "absent.png"
    good.write_bytes(group_bytes)
    text.write_text("no picture")
    checked = CliRunner().invoke(
        engine, ["check", "--json", "--threads", "1", str(text), str(good), str(absent)]
    )
    reports = json.loads(checked.stdout)
    assert checked.exit_code == 10
    assert [report.get("error") for report in reports] == ["image-unreadable", None, "file-missing"]
    assert [face["number"] for face in reports[1]["faces"]] == [1, 2, 3, 4, 5, 6]
    assert all(0 <= face["quality"]["unified"] <= 100 for face in reports[1]["faces"])
    shown = CliRunner().invoke(engine, ["check", str(good)])
    assert shown.exit_code == 0
    assert "group.jpg" in shown.stdout


@pytest.mark.parametrize("arguments", [[], ["pull"], ["list"], ["show"], ["check"]])
def test_every_command_explains_itself(arguments: list[str]) -> None:
    shown = CliRunner().invoke(engine, [*arguments, "--help"])
    assert shown.exit_code == 0
    assert len(shown.stdout) > 150
