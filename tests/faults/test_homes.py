"""Homes that are missing, taken, damaged or half there, engines likewise, policies that say too much; without a hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.errors import Code

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults-homes")]
ENGINES = Path(os.environ.get("LIAISON_ENGINES") or Path.home() / ".local/share/liaison/engines")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, commands: Any, kit: Any, photograph: bytes) -> Path:
    """The home of a node with one subject in its gallery; it has joined no hub."""
    folder = tmp_path_factory.mktemp("pristine")
    home, source = folder / "home", folder / "photographs"
    assert commands.run("agency-node", "--home", home, "init", "--agency", kit.owning).code == 0
    shutil.copy(kit.policies(folder) / "agencies" / f"{kit.owning}.yaml", home / "policy.yaml")
    with (home / "node.toml").open("a") as settings:
        settings.write('\n[users."d.ruiz"]\nroles = ["requester"]\n')
    (source / "astronaut").mkdir(parents=True)
    (source / "astronaut" / "one.png").write_bytes(photograph)
    done = commands.run("agency-node", "--home", home, "import", source, "--gallery", "booking")
    assert done.code == 0, done.everything
    return home


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(pristine, tmp_path / "home"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["doctor"],
        ["serve"],
        ["join", "x"],
        ["import", ".", "--gallery", "booking"],
        ["search", "p.png"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_node_command_in_a_folder_that_was_not_set_up_says_so_and_makes_nothing(
    arguments: list[str], commands: Any, kit: Any, tmp_path: Path
) -> None:
    home = tmp_path / "nothing"
    if arguments[0] == "doctor":
        said = commands.run("agency-node", "--home", home, "--json", "doctor")
        assert (said.code, json.loads(said.out)[0]["code"]) == (17, "home-missing")
    else:
        commands.refused("agency-node", home, Code.HOME_MISSING, *arguments)
    assert not home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["serve"],
        ["token", "a"],
        ["agency", "list"],
        ["log", "verify"],
        ["log", "show"],
        ["certify"],
    ],
    ids=" ".join,
)
def test_a_hub_command_in_a_folder_that_was_not_set_up_says_so_and_makes_nothing(
    arguments: list[str], commands: Any, tmp_path: Path
) -> None:
    home = tmp_path / "nothing"
    commands.refused("hub", home, Code.HOME_MISSING, *arguments)
    assert not home.exists()


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("hub", ["init", "--region", "delta"]), ("agency-node", ["init", "--agency", "mill-creek-pd"])],
    ids=["hub", "agency-node"],
)
def test_a_folder_in_which_something_is_already_is_left_as_it_is(
    program: str, arguments: list[str], commands: Any, kit: Any, tmp_path: Path
) -> None:
    home = tmp_path / "taken"
    home.mkdir()
    (home / "thesis.txt").write_text("Do not lose this.")
    commands.refused(program, home, Code.HOME_EXISTS, *arguments)
    assert list(kit.contents(home)) == ["thesis.txt"]
    assert (home / "thesis.txt").read_text() == "Do not lose this."


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("hub", ["init", "--region", "delta"]), ("agency-node", ["init", "--agency", "mill-creek-pd"])],
    ids=["hub", "agency-node"],
)
def test_a_home_that_cannot_be_made_leaves_nothing_behind(
    program: str, arguments: list[str], commands: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    commands.refused(program, tmp_path / "file" / "home", Code.STORAGE_FAILED, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _drop(name: str) -> Callable[[Path], None]:
    return lambda home: (home / name).unlink()


def _replace(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(home: Path) -> None:
        for path in home.glob(f"{name}-*"):
            path.unlink()
        (home / name).write_bytes(content)

    return spoil


def _open_to_all(name: str) -> Callable[[Path], None]:
    return lambda home: (home / name).chmod(0o644)


def _add(name: str, text: str) -> Callable[[Path], None]:
    def spoil(home: Path) -> None:
        (home / name).write_text((home / name).read_text() + text)

    return spoil


IMPORT = ["import", "PHOTOGRAPHS", "--gallery", "booking"]
SPOILED: dict[str, tuple[Callable[[Path], None], Code, str, list[str]]] = {
    "the vault's key is missing": (_drop("keys/vault.key"), Code.KEY_UNREADABLE, "vault.key", IMPORT),
    "the vault's key is cut": (
        _replace("keys/vault.key", b"short"),
        Code.KEY_UNREADABLE,
        "vault.key",
        IMPORT,
    ),
    "a key may be read by everybody": (
        _open_to_all("keys/vault.key"),
        Code.KEY_UNREADABLE,
        "vault.key",
        IMPORT,
    ),
    "the records are damaged": (
        _replace("galleries/records.db", b"\x07" * 9000),
        Code.GALLERY_DAMAGED,
        "records",
        IMPORT,
    ),
    "the desk's database is damaged": (
        _replace("desk.db", b"\x07" * 9000),
        Code.STORAGE_FAILED,
        "desk.db",
        ["search", "--list"],
    ),
    "the policy has an unknown field": (
        _add("policy.yaml", "share_with_everybody: true\n"),
        Code.POLICY_INVALID,
        "share_with_everybody",
        IMPORT,
    ),
    "the policy is not YAML": (_replace("policy.yaml", b"{{{"), Code.POLICY_INVALID, "", IMPORT),
    "the policy is another agency's": (
        _replace("policy.yaml", Path("policies/agencies/mill-creek-pd.yaml").read_bytes()),
        Code.POLICY_INVALID,
        "mill-creek-pd",
        IMPORT,
    ),
    "the settings have an unknown entry": (
        _replace("node.toml", b'agency = "san-joaquin-so"\nspeed = "fast"\n'),
        Code.CONFIG_INVALID,
        "`speed`",
        IMPORT,
    ),
    "the settings are no TOML": (
        _replace("node.toml", b"agency ="),
        Code.CONFIG_INVALID,
        "node.toml",
        IMPORT,
    ),
    "the engine is none that there is": (
        _replace("node.toml", b'agency = "san-joaquin-so"\nengine = "banana"\n'),
        Code.CONFIG_INVALID,
        "`engine`: there is no engine 'banana'",
        IMPORT,
    ),
    "it has not joined": (lambda _: None, Code.IDENTITY_UNKNOWN, "not joined", ["serve"]),
    "no such gallery": (
        lambda _: None,
        Code.GALLERY_ABSENT,
        "booking",
        ["import", "PHOTOGRAPHS", "--gallery", "x"],
    ),
    "no such photographs": (
        lambda _: None,
        Code.FILE_MISSING,
        "gone",
        ["import", "gone", "--gallery", "booking"],
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_home_is_named_and_not_touched(
    case: str, home: Path, pristine: Path, commands: Any, kit: Any
) -> None:
    spoil, code, detail, arguments = SPOILED[case]
    given = [str(pristine.parent / "photographs") if word == "PHOTOGRAPHS" else word for word in arguments]
    spoil(home)
    before = kit.contents(home)
    assert detail in commands.refused_in_turn("agency-node", home, code, *given)
    assert kit.contents(home) == before


def test_an_engine_that_is_not_there_or_not_the_pinned_one_is_not_used(
    home: Path, pristine: Path, commands: Any, kit: Any, tmp_path: Path
) -> None:
    before = kit.contents(home)
    arguments = ["import", pristine.parent / "photographs", "--gallery", "booking"]
    (tmp_path / "empty").mkdir()
    missing = {"LIAISON_ENGINES": str(tmp_path / "empty")}
    commands.refused("agency-node", home, Code.ENGINE_MISSING, *arguments, env=missing)
    commands.refused("agency-node", home, Code.ENGINE_MISSING, "engine", "show", env=missing)

    shutil.copytree(ENGINES, tmp_path / "engines")
    weights = tmp_path / "engines" / "mobilefacenet" / "recognition.onnx"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    damaged = {"LIAISON_ENGINES": str(tmp_path / "engines")}
    says = commands.refused("agency-node", home, Code.ENGINE_DAMAGED, *arguments, env=damaged)
    assert "recognition.onnx" in says
    commands.refused("agency-node", home, Code.ENGINE_DAMAGED, "engine", "show", env=damaged)
    listed = commands.run("agency-node", "engine", "list", "--json", env=damaged)
    assert json.loads(listed.out)[0]["state"] == "damaged"
    assert kit.contents(home) == before


def test_a_policy_with_an_unknown_field_is_named_by_line_and_field(commands: Any, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    shipped = Path("policies/agencies/mill-creek-pd.yaml").read_text()
    file.write_text(shipped + "share_with_everybody: true\n")
    machine = commands.run("hub", "--json", "policy", "check", file)
    person = commands.run("hub", "policy", "check", file)
    assert machine.code == person.code == 30
    [finding] = [one for one in json.loads(machine.out) if one["severity"] == "error"]
    assert "share_with_everybody" in finding["sentence"]
    assert finding["line"] == len(shipped.splitlines()) + 1
    assert json.loads(machine.err)["error"] == "policy-invalid"
    assert "share_with_everybody" in person.out
    assert "Traceback" not in person.everything + machine.everything


def test_a_region_is_not_founded_on_a_policy_with_an_unknown_field(commands: Any, tmp_path: Path) -> None:
    file = tmp_path / "region.yaml"
    file.write_text(Path("policies/region.yaml").read_text() + "share_with_everybody: true\n")
    home = tmp_path / "hub"
    options = ["init", "--region", "delta", "--policy", file, "--offline", tmp_path / "offline"]
    assert "share_with_everybody" in commands.refused("hub", home, Code.POLICY_INVALID, *options)
    assert not home.exists()
    assert not (tmp_path / "offline").exists()
