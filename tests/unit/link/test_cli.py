"""The command line: every way to fail is a sentence, a next step and the catalogue's exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from agency_node.cli.main import cli, run
from agency_node.cli.options import Invocation
from agency_node.config import Node
from federation.errors import CATALOGUE, Code


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_init_says_the_fingerprint_and_what_is_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "node")
    assert run(["--home", home, "init", "--agency", "eastport-pd", "--jurisdiction", "us-ca"]) == 0
    said = capsys.readouterr().out
    assert "SHA256:" in said
    assert "agency-node join" in said


def test_init_twice_is_an_error_in_words_and_in_json(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["init", "--agency", "eastport-pd", "--home", str(node.home)]
    assert run(arguments) == 17
    assert "--home" in capsys.readouterr().err
    assert run([*arguments, "--json"]) == 17
    assert json.loads(capsys.readouterr().err)["error"] == "home-exists"


@pytest.mark.parametrize("command", [["serve"], ["join", "token"]])
def test_without_a_home_the_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert run(["--home", str(tmp_path), *command]) == CATALOGUE[Code.HOME_MISSING].exit
    assert "init" in capsys.readouterr().err


def test_serving_before_joining_says_what_to_do(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(node.home), "serve"]) == CATALOGUE[Code.IDENTITY_UNKNOWN].exit
    assert "token" in capsys.readouterr().err


def test_a_token_comes_as_an_argument_or_in_a_file_but_not_both(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("liaison-join-v1.garbage")
    home = ["--home", str(node.home)]
    assert run([*home, "join"]) == 2
    assert run([*home, "join", "x", "--token-file", str(file)]) == 2
    assert run([*home, "join", "--token-file", str(file)]) == CATALOGUE[Code.TOKEN_INVALID].exit
    assert "Traceback" not in capsys.readouterr().err


def test_wrong_usage_ends_in_two() -> None:
    assert run(["no-such-command"]) == 2
    assert run(["init"]) == 2


def test_every_command_in_the_list_exists_and_takes_home_and_json() -> None:
    context = cli.make_context("agency-node", ["--json"], obj=Invocation(), resilient_parsing=True)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None, name
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--home", "--json"} <= options, name


def test_a_defect_reaches_people_as_a_sentence_and_the_home_as_places_without_words(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_home: Path) -> Node:
        raise RuntimeError("Jane Doe's face")

    monkeypatch.setattr("agency_node.cli.serve.load_node", broken)
    assert run(["--home", str(node.home), "serve"]) == 70
    said = "".join(capsys.readouterr())
    written = (node.home / "errors.log").read_text()
    assert "RuntimeError" in written
    assert "Jane" not in said + written
    assert "Traceback" not in said


def test_an_interrupt_ends_in_130(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_home: Path) -> Node:
        raise KeyboardInterrupt

    monkeypatch.setattr("agency_node.cli.serve.load_node", interrupted)
    assert run(["--home", str(node.home), "serve"]) == 130
