"""Every command explains itself, answers in JSON, and takes nonsense calmly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demo.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults-membership")]

NODE = ["init", "join", "serve", "import", "search", "status", "doctor"]
NODE_COMMANDS = [
    [],
    *([name] for name in NODE),
    *(["engine", *name] for name in ([], ["pull"], ["list"], ["show"], ["check"])),
]
HUB_COMMANDS = [
    [],
    *([name] for name in ("init", "serve", "token", "status", "certify", "agency", "policy", "log")),
    *(["agency", name] for name in ("add", "list", "show", "confirm", "revoke-node", "suspend")),
    *(["policy", name] for name in ("check", "publish")),
    *(["log", name] for name in ("verify", "export", "show")),
]
EVERY = [("agency-node", command) for command in NODE_COMMANDS] + [
    ("hub", command) for command in HUB_COMMANDS
]


@pytest.mark.parametrize(
    ("program", "command"), EVERY, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_help_is_printed_without_a_home(
    program: str, command: list[str], commands: Any, tmp_path: Path
) -> None:
    said = commands.run(program, *command, "--help", env={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: {' '.join([program, *command])}")
    assert "--json" in said.out
    assert list(tmp_path.iterdir()) == []


NONSENSE = [
    ("agency-node", []),
    ("hub", []),
    ("agency-node", ["nonsense"]),
    ("hub", ["nonsense"]),
    ("agency-node", ["status", "--nonsense"]),
    ("agency-node", ["init"]),
    ("agency-node", ["join"]),
    ("agency-node", ["search"]),
    ("hub", ["agency", "nonsense"]),
    ("hub", ["token", "a", "--life", "soon"]),
    ("hub", ["policy", "publish"]),
    ("hub", ["log", "show", "--tail", "0"]),
]


@pytest.mark.parametrize(
    ("program", "arguments"), NONSENSE, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_wrong_usage_ends_with_2_and_says_how_it_is_used(
    program: str, arguments: list[str], commands: Any, stage: Stage, kit: Any
) -> None:
    home = stage.hub_home if program == "hub" else stage.node_home(kit.asking)
    said = commands.run(program, "--home", home, *arguments)
    assert said.code == 2, said.everything
    assert "Usage: " in said.everything
    assert "Traceback" not in said.everything


def test_every_command_answers_in_json(stage: Stage, commands: Any, kit: Any, tmp_path: Path) -> None:
    """`serve` and the commands that a stage is set up with answer in JSON as well, or no stage would stand."""
    node, hub = stage.node_home(kit.asking), stage.hub_home
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"no picture")
    asked = [
        ("agency-node", node, ["status"], 0),
        ("agency-node", node, ["search", "--list"], 0),
        ("agency-node", node, ["engine", "list"], 0),
        ("agency-node", node, ["engine", "show"], 0),
        ("agency-node", node, ["engine", "pull"], 0),
        ("agency-node", node, ["engine", "check", str(picture)], 10),
        ("hub", hub, ["status"], 0),
        ("hub", hub, ["agency", "list"], 0),
        ("hub", hub, ["agency", "show", kit.asking], 0),
        ("hub", hub, ["policy", "check", "policies"], 0),
        ("hub", hub, ["log", "verify"], 0),
        ("hub", hub, ["log", "show"], 0),
        ("hub", hub, ["log", "export", str(tmp_path / "log")], 0),
        ("hub", hub, ["agency", "suspend", kit.asking, "--because", "A test."], 0),
        ("hub", hub, ["agency", "suspend", kit.asking, "--lift", "--because", "A test."], 0),
        (
            "hub",
            hub,
            ["policy", "publish", "--statutes", "policies/statutes", "--offline", str(stage.offline)],
            0,
        ),
        ("hub", hub, ["certify", "--offline", str(stage.offline)], 0),
    ]
    for program, home, arguments, code in asked:
        said = commands.run(program, "--home", home, "--json", *arguments, cwd=Path.cwd())
        assert said.code == code, (arguments, said.everything)
        assert json.loads(said.out) is not None
    for program, home, arguments in (
        ("agency-node", node, ["engine", "list"]),
        ("agency-node", node, ["status"]),
        ("hub", hub, ["status"]),
    ):
        after = commands.run(program, *arguments, "--home", home, "--json")
        assert json.loads(after.out) is not None
    said = commands.run("agency-node", "--home", node, "--json", "doctor")
    assert {"name", "ok", "says", "next", "code"} == set(json.loads(said.out)[0])
