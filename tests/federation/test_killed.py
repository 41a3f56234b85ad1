"""Promise 7: nothing acknowledged is lost and nothing is done twice, whoever is killed at whichever moment."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from federation.probe.delivery import TERMINAL

AGENCIES = ("mill-creek-pd", "san-joaquin-so", "valley-records")
ASKING, GALLERY, PUBLIC = "mill-creek-pd", "san-joaquin-so/booking", "valley-records/public"
BOTH = ("--gallery", GALLERY, "--gallery", PUBLIC)
FINAL = {state.value for state in TERMINAL}

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def books(federation: Any) -> Any:
    """After every test: each acknowledged request is in the log once, each delivery ended once, nothing hangs."""
    yield
    check_books(federation)


def check_books(federation: Any) -> None:
    stage = federation.stage
    federation.eventually(
        lambda: {state for (state,) in federation.hub_rows("SELECT state FROM delivery")} <= FINAL
    )
    unsettled = "SELECT count(*) FROM deliveries WHERE state = 'answered'"
    for agency in AGENCIES[1:]:
        federation.eventually(lambda agency=agency: federation.node_rows(agency, unsettled) == [(0,)])
    listed = stage.run_node(ASKING, "search", "--list")
    accepted = [request for (request,) in federation.hub_rows("SELECT id FROM request")]
    assert {one["id"] for one in listed if one["state"] in ("submitted", "done")} <= set(accepted)
    for request in accepted:
        entries = federation.entries(request)
        assert [kind for kind, _ in entries].count("request") == 1
        ends = Counter(facts["gallery"] for kind, facts in entries if kind in ("answer", "refusal"))
        states = dict(
            federation.hub_rows(
                "SELECT agency || '/' || gallery, state FROM delivery WHERE request_id = ?", request
            )
        )
        assert states == dict.fromkeys(states, "answered")
        assert ends == Counter(states.keys())
    assert stage.run_hub("log", "verify")["verified"]


def test_a_hub_killed_after_it_acknowledged_a_request_completes_it_when_it_is_back(federation: Any) -> None:
    with federation.frozen("san-joaquin-so", "valley-records"):
        handed_in = federation.search("--no-wait", *BOTH)
        federation.stage.hub.kill()
        federation.stage.start_hub()
    check_found(federation.search("--resume", handed_in["id"]), 2)


def test_a_node_killed_while_it_searches_answers_once_when_it_is_back(federation: Any) -> None:
    """A node that has claimed is killed; the claim is a moment, so it is tried until one was hit."""
    for _ in range(8):
        with federation.frozen("san-joaquin-so"):
            handed_in = federation.search("--no-wait", "--gallery", GALLERY)
            wait_for_dispatch(federation, handed_in["id"])
        hit = claimed(federation, handed_in["id"])
        if hit:
            federation.process("san-joaquin-so").kill()
            hit = federation.state(handed_in["id"], GALLERY) == "claimed"
            federation.stage.start_node("san-joaquin-so")
        check_found(federation.search("--resume", handed_in["id"]), 1)
        if hit:
            return
    pytest.fail("no claim was hit in eight searches")


def test_a_hub_killed_before_it_has_settled_an_outcome_takes_the_same_one_again(federation: Any) -> None:
    with federation.frozen("san-joaquin-so"):
        handed_in = federation.search("--no-wait", "--gallery", GALLERY)
        wait_for_dispatch(federation, handed_in["id"])
        disk = sqlite3.connect(federation.stage.hub_home / "hub.db", isolation_level=None)
        disk.execute("BEGIN IMMEDIATE")  # the hub still reads, and can write nothing of what comes back
    with closing(disk):
        outcome = "SELECT receipt FROM deliveries WHERE delivery_id = ? AND state = 'answered'"
        [(signed,)] = federation.eventually(
            lambda: federation.node_rows("san-joaquin-so", outcome, f"{handed_in['id']}/{GALLERY}")
        )
        federation.stage.hub.kill()
    assert federation.state(handed_in["id"], GALLERY) == "dispatched"
    federation.stage.start_hub()
    check_found(federation.search("--resume", handed_in["id"]), 1)
    assert federation.hub_rows("SELECT receipt FROM delivery WHERE request_id = ?", handed_in["id"]) == [
        (signed,)
    ]


def test_a_desk_killed_after_it_submitted_opens_the_answers_when_it_resumes(federation: Any) -> None:
    known = len(federation.hub_rows("SELECT id FROM request"))
    with federation.frozen("san-joaquin-so", "valley-records"):
        desk = start_search(federation, "--gallery", GALLERY, "--gallery", PUBLIC)
        federation.eventually(lambda: len(federation.hub_rows("SELECT id FROM request")) > known, pause=0.005)
        desk.kill()
        desk.communicate()
    newest = federation.stage.run_node(ASKING, "search", "--list")[0]
    check_found(federation.search("--resume", newest["id"]), 2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_processes_killed_at_random_moments_lose_nothing_and_do_nothing_twice(
    federation: Any, seed: int
) -> None:
    chance = random.Random(seed)
    desks = [start_search(federation, "--no-wait", *BOTH) for _ in range(2)]
    for victim in chance.sample(["hub", "san-joaquin-so", "valley-records"], 2):
        time.sleep(chance.uniform(0.3, 1.5))
        federation.process(victim).kill()
        federation.process(victim).start()
    acknowledged = []
    for desk in desks:
        said, _ = desk.communicate(timeout=90)
        if desk.returncode == 0:
            acknowledged.append(json.loads(said)["id"])
    for request in acknowledged:
        check_found(federation.search("--resume", request), 2)
    listed = federation.stage.run_node(ASKING, "search", "--list")
    for request in (one["id"] for one in listed if one["state"] == "prepared"):
        check_found(federation.search("--resume", request), 2)


def check_found(result: Any, galleries: int) -> None:
    """Every gallery answered, with the astronaut first."""
    assert [one["status"] for one in result["deliveries"]] == ["answered"] * galleries
    assert {one["candidates"][0]["subject"] for one in result["deliveries"]} == {"astronaut"}


def wait_for_dispatch(federation: Any, request: str) -> None:
    federation.eventually(lambda: federation.state(request, GALLERY) == "dispatched")


def claimed(federation: Any, request: str) -> bool:
    """Whether the delivery was seen as claimed before it was answered."""
    state = ""
    while state not in ("claimed", "answered"):
        state = federation.state(request, GALLERY)
    return state == "claimed"


def start_search(federation: Any, *options: str) -> subprocess.Popen[str]:
    """A desk's command in a process of its own, still running."""
    stage = federation.stage
    program = str(stage.nodes[ASKING].command[0])
    command = [
        program,
        "--home",
        str(stage.node_home(ASKING)),
        "--json",
        "search",
        *federation.reasons(),
        *options,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
