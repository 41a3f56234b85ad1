"""Joining with the wrong token or clock, identities that are shut out or doubled, requests that are replayed."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agency_node.config import load_node
from agency_node.desk.session import open_store
from agency_node.link.channel import call_errors, open_channel
from agency_node.link.membership import sign_as_agency
from demo.stage import Daemon, Stage
from federation.canonical import stamp
from federation.errors import CATALOGUE, Code, LiaisonError
from federation.identity.token import JoinToken
from protos.liaison.v1 import broker_pb2, broker_pb2_grpc

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults-membership")]


def _token(stage: Stage, agency: str, *options: str) -> str:
    return str(stage.run_hub("token", agency, *options)["token"])


def _log_types(stage: Stage) -> list[str]:
    return [entry["type"] for entry in stage.run_hub("log", "show")]


def _until(seen: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@pytest.fixture
def newcomer(stage: Stage, commands: Any, kit: Any, tmp_path: Path) -> Path:
    """The home of another node of the asking agency that has not joined."""
    home = tmp_path / "newcomer"
    key = stage.node_home(kit.asking) / "keys" / "agency.key"
    made = ["--agency", kit.asking, "--node", "n9", "--agency-key", key]
    assert commands.run("agency-node", "--home", home, "init", *made).code == 0
    shutil.copy(stage.node_home(kit.asking) / "policy.yaml", home)
    return home


def test_a_token_works_once(stage: Stage, newcomer: Path, commands: Any, kit: Any) -> None:
    token = _token(stage, kit.asking)
    assert commands.run("agency-node", "--home", newcomer, "join", token).code == 0
    before = kit.hub_state(stage), kit.contents(newcomer)
    commands.refused_in_turn("agency-node", newcomer, Code.TOKEN_USED, "join", token)
    assert (kit.hub_state(stage), kit.contents(newcomer)) == before


@pytest.mark.parametrize("forged", [False, True], ids=["as made", "with a later date written into it"])
def test_an_expired_token_is_refused(
    forged: bool, stage: Stage, newcomer: Path, commands: Any, kit: Any
) -> None:
    token = JoinToken.decode(_token(stage, kit.asking, "--life", "1s"))
    time.sleep(1.1)
    if forged:
        token = replace(token, expires=stamp(datetime.now(UTC) + timedelta(days=1)))
    before = kit.hub_state(stage), kit.contents(newcomer)
    commands.refused_in_turn("agency-node", newcomer, Code.TOKEN_EXPIRED, "join", token.encode())
    assert (kit.hub_state(stage), kit.contents(newcomer)) == before


def _of_another(token: JoinToken) -> str:
    return replace(token, agency="eastport-pd").encode()


TOKENS: dict[str, tuple[Callable[[JoinToken], str], Code]] = {
    "cut off": (lambda token: token.encode()[:-9], Code.TOKEN_INVALID),
    "no token": (lambda _: "open sesame", Code.TOKEN_INVALID),
    "another agency's": (_of_another, Code.TOKEN_INVALID),
    "another secret": (lambda token: replace(token, secret="x" * 43).encode(), Code.TOKEN_INVALID),
    "another root": (lambda token: replace(token, root="sha256:" + "0" * 64).encode(), Code.ROOT_MISMATCH),
    "an address where nobody is": (
        lambda token: replace(token, join="127.0.0.1:1").encode(),
        Code.HUB_UNREACHABLE,
    ),
}


@pytest.mark.parametrize("wrong", TOKENS)
def test_a_wrong_token_changes_nothing_and_the_right_one_still_works(
    wrong: str, stage: Stage, newcomer: Path, commands: Any, kit: Any
) -> None:
    change, code = TOKENS[wrong]
    token = _token(stage, kit.asking)
    before = kit.hub_state(stage), kit.contents(newcomer)
    commands.refused("agency-node", newcomer, code, "join", change(JoinToken.decode(token)))
    assert (kit.hub_state(stage), kit.contents(newcomer)) == before
    assert commands.run("agency-node", "--home", newcomer, "join", token).code == 0


@pytest.mark.parametrize("seconds", [3600, -3600], ids=["an hour ahead", "an hour behind"])
def test_a_node_whose_clock_is_wrong_cannot_join_and_its_token_is_not_used_up(
    seconds: int, stage: Stage, newcomer: Path, commands: Any, kit: Any
) -> None:
    token, clock = _token(stage, kit.asking), commands.shifted(seconds)
    before = kit.hub_state(stage), kit.contents(newcomer)
    commands.refused("agency-node", newcomer, Code.CLOCK_SKEW, "join", token, env=clock)
    assert (kit.hub_state(stage), kit.contents(newcomer)) == before
    assert commands.run("agency-node", "--home", newcomer, "join", token).code == 0


@pytest.mark.parametrize("seconds", [3600, -3600], ids=["an hour ahead", "an hour behind"])
@pytest.mark.parametrize("command", ["search", "serve"])
def test_a_member_whose_clock_is_wrong_is_told_so(
    command: str,
    seconds: int,
    gallery_stage: Stage,
    commands: Any,
    kit: Any,
    photograph: bytes,
    tmp_path: Path,
) -> None:
    file = tmp_path / "probe.png"
    file.write_bytes(photograph)
    arguments = ["search", file, *kit.search] if command == "search" else ["serve"]
    home = gallery_stage.node_home(kit.asking)
    clock = commands.shifted(seconds)
    if command == "serve":
        gallery_stage.nodes[kit.asking].stop()
    before = kit.hub_state(gallery_stage)
    try:
        commands.refused_in_turn("agency-node", home, Code.CLOCK_SKEW, *arguments, env=clock)
        assert kit.hub_state(gallery_stage) == before
    finally:
        if command == "serve":
            gallery_stage.start_node(kit.asking)


def test_a_request_id_with_another_payload_is_refused_logged_and_leaves_the_first_alone(
    gallery_stage: Stage, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "probe.png"
    file.write_bytes(photograph)
    first = gallery_stage.run_node(kit.asking, "search", str(file), *kit.search)
    node = load_node(gallery_stage.node_home(kit.asking))
    store = open_store(node)
    try:
        prepared = store.get(first["id"]).prepared
    finally:
        store.close()
    other = prepared.request.model_copy(update={"case_number": "MC-26-00000"})
    statement = sign_as_agency(node, "probe-request", other.encode(), datetime.now(UTC))
    replay = broker_pb2.SubmitRequest(
        request=statement.encode(), ciphertext=prepared.message.ciphertext, keys=prepared.message.keys
    )

    async def submit(message: broker_pb2.SubmitRequest) -> broker_pb2.SubmitResponse:
        async with open_channel(node) as channel:
            with call_errors():
                return await broker_pb2_grpc.BrokerServiceStub(channel).Submit(message, timeout=15)

    before = kit.hub_state(gallery_stage)
    with pytest.raises(LiaisonError) as refused:
        asyncio.run(submit(replay))
    assert refused.value.code is Code.REQUEST_REPLAYED
    after = kit.hub_state(gallery_stage)
    assert (after["request"], after["delivery"]) == (before["request"], before["delivery"])
    fresh = [
        entry for entry in gallery_stage.run_hub("log", "show") if entry["index"] >= len(before["log_leaf"])
    ]
    assert [(entry["type"], entry["facts"]["request"]) for entry in fresh] == [("replay-alarm", first["id"])]

    again = asyncio.run(submit(prepared.message))
    assert [one.state for one in again.deliveries] == ["answered"]
    assert kit.hub_state(gallery_stage) == after
    resumed = gallery_stage.run_node(kit.asking, "search", "--resume", first["id"])
    assert resumed["deliveries"][0]["candidates"] == first["deliveries"][0]["candidates"]


def test_of_two_processes_with_one_identity_the_newest_wins_and_the_log_says_so(
    gallery_stage: Stage, kit: Any
) -> None:
    stage = gallery_stage
    older = stage.nodes[kit.asking]
    copy = shutil.copytree(stage.node_home(kit.asking), stage.folder / "copied")
    count = _log_types(stage).count("link-superseded")
    newer = Daemon(
        [kit.program("agency-node"), "--home", str(copy), "--json", "serve"],
        stage.folder / "logs" / "copied.log",
        dict(stage.environment),
    )
    newer.start()
    try:
        assert older.wait() == CATALOGUE[Code.LINK_SUPERSEDED].exit
        error = json.loads(older.tail().splitlines()[-1])
        assert (error["error"], error["next"]) == ("link-superseded", CATALOGUE[Code.LINK_SUPERSEDED].next)
        assert _log_types(stage).count("link-superseded") == count + 1
        assert newer.process is not None
        assert newer.process.poll() is None
    finally:
        newer.stop()
        stage.start_node(kit.asking)


def test_one_home_is_served_by_one_process(gallery_stage: Stage, commands: Any, kit: Any) -> None:
    for agency in (kit.asking, kit.owning):
        home = gallery_stage.node_home(agency)
        assert "serve" in commands.refused("agency-node", home, Code.GALLERY_BUSY, "serve")
        assert gallery_stage.nodes[agency].process.poll() is None


def test_one_hub_is_served_by_one_process(gallery_stage: Stage, commands: Any, kit: Any) -> None:
    before = kit.hub_state(gallery_stage)
    commands.refused("hub", gallery_stage.hub_home, Code.CONFIG_INVALID, "serve")
    assert kit.hub_state(gallery_stage) == before


def _damage_database(home: Path) -> None:
    for path in home.glob("node.db*"):
        path.unlink()
    (home / "node.db").write_bytes(b"\x07" * 9000)


def _take_the_locks_place(home: Path) -> None:
    (home / "serve.lock").unlink()
    (home / "serve.lock").mkdir()


@pytest.mark.parametrize(
    ("spoil", "detail"), [(_damage_database, "node.db"), (_take_the_locks_place, "serve.lock")]
)
def test_a_node_does_not_serve_from_files_that_it_cannot_use(
    spoil: Callable[[Path], None], detail: str, gallery_stage: Stage, commands: Any, kit: Any, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(gallery_stage.node_home(kit.asking), tmp_path / "home"))
    spoil(home)
    before = kit.hub_state(gallery_stage), kit.contents(home)
    assert detail in commands.refused_in_turn("agency-node", home, Code.STORAGE_FAILED, "serve")
    assert (kit.hub_state(gallery_stage), kit.contents(home)) == before


def test_while_the_hub_is_away_nothing_is_lost_and_the_node_goes_on_trying(
    gallery_stage: Stage, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    stage, home = gallery_stage, gallery_stage.node_home(kit.asking)
    file = tmp_path / "probe.png"
    file.write_bytes(photograph)
    assert stage.hub is not None
    desk = kit.rows(home / "desk.db")
    stage.hub.kill()
    try:
        commands.refused("agency-node", home, Code.HUB_UNREACHABLE, "search", file, *kit.search)
        assert kit.rows(home / "desk.db") == desk
        status = json.loads(commands.run("agency-node", "--home", home, "--json", "status").out)
        assert (status["hub"]["reachable"], status["serving"]) == (False, True)
    finally:
        stage.start_hub()
    found = _searched(stage, kit, file)
    assert found["deliveries"][0]["status"] == "answered"


def _searched(stage: Stage, kit: Any, file: Path) -> Any:
    return stage.run_node(kit.asking, "search", str(file), *kit.search)


def test_a_revoked_node_is_cut_off_and_refused_until_it_joins_again(
    gallery_stage: Stage, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    stage, home = gallery_stage, gallery_stage.node_home(kit.asking)
    file = tmp_path / "probe.png"
    file.write_bytes(photograph)
    daemon = stage.nodes[kit.asking]
    stage.run_hub("agency", "revoke-node", kit.asking, "n1", "--because", "The disk was stolen.")
    assert daemon.wait() == CATALOGUE[Code.CERTIFICATE_REVOKED].exit
    assert json.loads(daemon.tail().splitlines()[-1])["error"] == "certificate-revoked"

    before = kit.hub_state(stage)
    commands.refused("agency-node", home, Code.CERTIFICATE_REVOKED, "search", file, *kit.search)
    commands.refused_in_turn("agency-node", home, Code.CERTIFICATE_REVOKED, "serve")
    assert kit.hub_state(stage) == before
    hub = json.loads(commands.run("agency-node", "--home", home, "--json", "status").out)["hub"]
    assert (hub["reachable"], hub["code"]) == (False, "certificate-revoked")

    stage.run_node(kit.asking, "join", _token(stage, kit.asking))
    stage.start_node(kit.asking)
    found = stage.run_node(kit.asking, "search", str(file), *kit.search)
    assert found["deliveries"][0]["status"] == "answered"


def test_when_the_log_cannot_be_written_nothing_is_accepted_and_it_is_again_once_it_can(
    gallery_stage: Stage, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    stage, home = gallery_stage, gallery_stage.node_home(kit.asking)
    file = tmp_path / "probe.png"
    file.write_bytes(photograph)
    assert stage.hub is not None
    soft, hard = resource.prlimit(stage.hub.pid, resource.RLIMIT_FSIZE)
    before = kit.hub_state(stage)
    resource.prlimit(stage.hub.pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        commands.refused("agency-node", home, Code.LOG_UNAVAILABLE, "search", file, *kit.search)
        assert kit.hub_state(stage) == before
    finally:
        resource.prlimit(stage.hub.pid, resource.RLIMIT_FSIZE, (soft, hard))
    found = stage.run_node(kit.asking, "search", str(file), *kit.search)
    assert found["deliveries"][0]["status"] == "answered"
    assert stage.run_hub("log", "verify")["verified"]
