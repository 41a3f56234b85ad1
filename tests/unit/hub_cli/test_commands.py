"""`hub …`: what it answers, what it refuses, with which exit code, and that nobody ever sees a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from federation.canonical import stamp
from federation.errors import CATALOGUE, Code
from federation.identity.certificates import make_csr
from federation.identity.keys import fingerprint, new_signing_key, new_tls_key
from federation.identity.spiffe import SpiffeId
from federation.identity.token import JoinToken
from hub.cli.main import cli
from hub.config import load_hub
from hub.registry.joining import Application, join
from hub.registry.service import issuer_of
from hub.store.writer import Writer

Hub = Callable[..., Any]
EXIT = {code: entry.exit for code, entry in CATALOGUE.items()}


def join_node(home: Path, token: JoinToken, node: str = "main") -> str:
    """Join as a node would; return the fingerprint that the agency reads out."""
    hub, signing = load_hub(home), new_signing_key()
    at = datetime.now(UTC)
    application = Application(
        token.secret,
        token.agency,
        node,
        make_csr(SpiffeId.of_node("delta", token.agency, node), new_tls_key()),
        make_csr(SpiffeId.of_agency("delta", token.agency), signing),
        stamp(at),
    )
    engine = hub.open_database()
    writer = Writer(engine, hub.load_log_signer(), lambda: at)
    writer.write(lambda t: join(t, issuer_of(hub), application))
    writer.close()
    engine.dispose()
    return fingerprint(signing.public_key())


def test_an_agency_comes_in_from_entry_to_confirmation(delta: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert delta("agency", "add", "a", "--name", "Agency A").code == 0
    token = JoinToken.decode(delta("token", "a").out)
    assert delta("agency", "show", "a", "--json").json["state"] == "no node has joined"
    read_out = join_node(home, token)
    assert delta("agency", "show", "a", "--json").json["state"] == "key waiting"
    wrong = delta("agency", "confirm", "a", "--fingerprint", "SHA256:0000")
    assert wrong.code == EXIT[Code.FINGERPRINT_MISMATCH]
    assert (
        delta("agency", "confirm", "a", "--fingerprint", read_out, "--json").json["fingerprint"] == read_out
    )
    shown = delta("agency", "list", "--json").json[0]
    assert (shown["state"], shown["fingerprint"], shown["waiting"]) == ("confirmed", read_out, None)
    assert "confirmed" in delta("agency", "show", "a").out
    assert delta("agency", "revoke-node", "a", "main", "--because", "Stolen.").code == 0
    assert delta("agency", "suspend", "a", "--because", "Audit.").code == 0
    assert delta("agency", "list", "--json").json[0]["state"] == "suspended"
    assert delta("agency", "suspend", "a", "--lift", "--because", "Closed.").code == 0
    assert delta("log", "verify", "--json").json["verified"] is True
    kinds = [entry["type"] for entry in delta("log", "show", "--json").json]
    assert kinds[:4] == ["region", "agency", "node", "certificate"]
    assert kinds[-3:] == ["revocation", "revocation", "agency"]
    status = delta("status", "--json").json
    assert status["agencies"] == {"total": 1, "confirmed": 1, "waiting": 0, "suspended": 0}
    assert status["nodes"][0]["revoked"] is True
    assert status["log"]["size"] == len(kinds)
    assert "1 confirmed" in delta("status").out


def test_init_twice_says_so_and_changes_nothing(delta: Hub, tmp_path: Path) -> None:
    before = (tmp_path / "home" / "region.json").read_bytes()
    again = delta("init", "--region", "delta", "--json")
    assert (again.code, again.error["error"]) == (EXIT[Code.HOME_EXISTS], "home-exists")
    assert (tmp_path / "home" / "region.json").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--region", "Delta!"),
        ("--region", "delta", "--listen", "nowhere"),
        ("--region", "delta", "--listen", "0.0.0.0:7443"),
        ("--region", "delta", "--tls-life", "a week"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_made(
    hub: Hub, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert hub("init", *arguments).code == EXIT[Code.CONFIG_INVALID]
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_listens_everywhere_is_dialled_by_its_name(hub: Hub) -> None:
    made = hub(
        "init", "--region", "delta", "--listen", "0.0.0.0:7443", "--host", "hub.delta.example", "--json"
    )
    assert made.json["broker"] == "hub.delta.example:7443"


def test_without_a_home_every_command_says_what_to_do(hub: Hub) -> None:
    for arguments in (("status",), ("token", "a"), ("agency", "list"), ("log", "verify"), ("serve",)):
        refused = hub(*arguments)
        assert refused.code == EXIT[Code.HOME_MISSING]
        assert "init" in refused.err


def test_json_may_stand_before_or_after_the_command(delta: Hub) -> None:
    assert delta("--json", "agency", "list").json == delta("agency", "list", "--json").json == []
    assert delta("agency", "--json", "show", "x").error["error"] == "agency-unknown"
    assert delta("token", "x", "--json").error["error"] == "agency-unknown"


def test_the_offline_keys_are_asked_for_only_by_the_commands_that_sign_with_them(
    delta: Hub, tmp_path: Path
) -> None:
    shutil.move(tmp_path / "home" / "offline", tmp_path / "stick")
    delta("agency", "add", "a", "--name", "A")
    read_out = join_node(tmp_path / "home", JoinToken.decode(delta("token", "a").out))
    for arguments in (("status",), ("log", "verify"), ("agency", "show", "a"), ("token", "a")):
        assert delta(*arguments).code == 0
    confirm = ("agency", "confirm", "a", "--fingerprint", read_out)
    assert delta(*confirm).code == EXIT[Code.KEY_UNREADABLE]
    assert delta("policy", "publish", "--revoke-signer", "7").code == EXIT[Code.KEY_UNREADABLE]
    assert delta(*confirm, "--offline", tmp_path / "stick").code == 0
    assert delta("policy", "publish", "--revoke-signer", "7", "--offline", tmp_path / "stick").code == 0


def test_policy_check_names_the_place_and_ends_with_its_exit_code(hub: Hub, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("liaison: region/v1\nregion: delta\nversion: 1\n")
    bad.write_text("liaison: region/v1\nregion: delta\nversion: 1\ncolour: red\n")
    assert hub("policy", "check", good).code == 0
    found = hub("policy", "check", good, bad, "--json")
    assert found.code == EXIT[Code.POLICY_INVALID] == 30
    assert [(f["file"], f["line"], f["severity"]) for f in found.json] == [(str(bad), 4, "error")]
    assert f"{bad}:4:1" in hub("policy", "check", bad).out
    assert f"{bad}:4:1" in hub("policy", "check", tmp_path).out
    assert hub("policy", "check", tmp_path / "none.yaml").code == EXIT[Code.FILE_MISSING]
    (tmp_path / "empty").mkdir()
    assert hub("policy", "check", tmp_path / "empty").code == EXIT[Code.FILE_MISSING]


def test_a_published_policy_is_in_force_logged_and_never_goes_back(delta: Hub, tmp_path: Path) -> None:
    file = tmp_path / "region.yaml"
    file.write_text("liaison: region/v1\nregion: delta\nversion: 2\nlimits: {candidates: 5}\n")
    assert delta("policy", "publish", "--region", file, "--json").json["version"] == 2
    hub = load_hub(tmp_path / "home")
    assert "candidates: 5" in hub.trust(datetime.now(UTC)).bundle.policy
    assert [e["facts"]["version"] for e in delta("log", "show", "--type", "region", "--json").json] == [1, 2]
    file.write_text("liaison: region/v1\nregion: delta\nversion: 1\n")
    assert delta("policy", "publish", "--region", file).code == EXIT[Code.POLICY_ROLLBACK]
    file.write_bytes(b"\xff\xfe")
    assert delta("policy", "publish", "--region", file).code == EXIT[Code.POLICY_INVALID]
    assert hub.bundle().version == 2
    assert delta("policy", "publish").code == 2


def test_an_exported_log_verifies_without_the_hub_and_grows(delta: Hub, tmp_path: Path) -> None:
    folder, key = tmp_path / "log", load_hub(tmp_path / "home").bundle().log_vkey
    assert delta("log", "export", folder, "--json").json["size"] == 1
    kept = tmp_path / "kept"
    shutil.copy(folder / "checkpoint", kept)
    delta("agency", "add", "a", "--name", "A")
    assert delta("log", "export", folder, "--json").json["size"] == 2
    assert delta("log", "verify", "--since", kept).code == 0
    shutil.rmtree(tmp_path / "home")
    verified = delta("log", "verify", folder, "--log-key", key, "--since", kept)
    assert (verified.code, verified.out.splitlines()[-1]) == (0, "VERIFIED")


def test_a_log_that_was_tampered_with_does_not_verify(delta: Hub, tmp_path: Path) -> None:
    engine = load_hub(tmp_path / "home").open_database()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE log_leaf SET entry = replace(entry, 'delta', 'omega')")
    engine.dispose()
    found = delta("log", "verify", "--json")
    assert found.code == EXIT[Code.LOG_DAMAGED] == 44
    assert found.json["verified"] is False
    assert found.error["error"] == "log-damaged"


def test_a_defect_shows_no_traceback_and_leaves_its_place_in_a_file(
    delta: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("-".join(["a", "secret"]))

    monkeypatch.setattr("hub.cli.agencies.make_token", broken)
    failed = delta("token", "a", "--json")
    assert (failed.code, failed.error["error"]) == (70, "internal")
    kept = (tmp_path / "home" / "hub-errors.log").read_text()
    assert "RuntimeError" in kept
    assert "agencies.py" in kept
    assert "a-secret" not in kept + failed.out + failed.err


def test_a_database_that_is_none_is_said_so(delta: Hub, tmp_path: Path) -> None:
    for file in (tmp_path / "home").glob("hub.db*"):
        file.unlink()
    (tmp_path / "home" / "hub.db").write_bytes(b"nonsense" * 1000)
    failed = delta("status")
    assert failed.code == EXIT[Code.STORAGE_FAILED]
    assert "Traceback" not in failed.err


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(cli), ids=" ".join)
def test_every_command_explains_itself_takes_json_and_gives_an_example(
    hub: Hub, path: tuple[str, ...]
) -> None:
    shown = hub(*path, "--help")
    assert shown.code == 0
    assert "--json" in shown.out
    assert "--home" in shown.out
    assert "Examples:" in shown.out or "Commands:" in shown.out


def test_wrong_usage_ends_with_two(hub: Hub) -> None:
    assert hub("nonsense").code == 2
    assert hub("agency", "add", "a").code == 2
    assert hub("token", "a", "--life", "soon").code == 2
