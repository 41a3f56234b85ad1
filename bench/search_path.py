"""One probe to three nodes: what broker and wire add to the slowest node's own serving, with TLS, log and sealing on.

    added = (from the call of Submit to the last sealed answer at the desk) - (the slowest node's serving time)

A node's serving time, which it logs, is from the arrival of a delivery until its outcome is on the node's disk. Each
gallery has 28 subjects, so that an answer carries what answers usually carry: 20 candidates with their photographs. The
whole region shares this machine's cores, so every node searches with one thread. Real processes: a hub, three nodes,
and this process as the desk of a fourth agency.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from agency_node.config import load_node
from agency_node.desk import collect
from agency_node.desk.details import RequestDetails
from agency_node.desk.follow import open_collected
from agency_node.desk.session import Desk
from agency_node.engine import load_engine
from bench.figures import Figure
from demo.photographs import astronaut, degrade, packaged_portraits
from demo.stage import Stage

_OWNERS = ("san-joaquin-so", "valley-records", "eastport-pd")
_ASKING = "mill-creek-pd"
_LIGHTS = (1.0, 0.85, 0.7, 0.55)
_RUNS, _WARM = 40, 5


def run() -> list[Figure]:
    """The whole search, the slowest node, what is added, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        policies = _same_policies(Path(folder))
        with Stage(Path(folder), policies, threads=1) as stage:
            _set_up(stage)
            timed = asyncio.run(_measure(stage))
            slowest = _slowest(stage)
    samples = [(arrived, opened, slowest[request]) for request, arrived, opened in timed]
    arrived, opened, serving = (statistics.median(column) * 1000 for column in zip(*samples, strict=True))
    ratio = statistics.median((whole - node) / node for whole, _, node in samples)
    name = "search_path"
    return [
        Figure(name, "submit to last sealed answer: three nodes", arrived, "ms"),
        Figure(name, "the slowest node's serving", serving, "ms"),
        Figure(
            name, "broker and wire", arrived - serving, "ms", "the slowest node's serving", ratio, "<= 0.25"
        ),
        Figure(name, "opening, verifying, keeping at the desk", opened - arrived, "ms"),
    ]


def _same_policies(folder: Path) -> Path:
    """The shipped policies, with the sheriff's gallery and rules at all three owners."""
    policies = folder / "policies"
    shutil.copytree("policies", policies)
    text = (policies / "agencies" / f"{_OWNERS[0]}.yaml").read_text()
    for owner in _OWNERS[1:]:
        (policies / "agencies" / f"{owner}.yaml").write_text(
            text.replace(f"agency: {_OWNERS[0]}", f"agency: {owner}")
        )
    return policies


def _set_up(stage: Stage) -> None:
    portraits = packaged_portraits(load_engine())
    people = {
        f"{name}-{number}": {"1.jpg": degrade(portrait, [{"op": "light", "gain": gain}])}
        for name, portrait in portraits.items()
        for number, gain in enumerate(_LIGHTS)
    }
    stage.found()
    stage.start_hub()
    for owner in _OWNERS:
        stage.admit(owner)
        stage.enroll(owner, "booking", people)
        stage.start_node(owner)
    stage.admit(_ASKING)


def _slowest(stage: Stage) -> dict[str, float]:
    """Of each request, the serving time of the node that took longest."""
    seconds: dict[str, float] = {}
    for node in stage.nodes.values():
        for line in node.log.read_text().splitlines():
            entry = json.loads(line)
            if entry.get("event") == "served":
                request = entry["delivery"].partition("/")[0]
                seconds[request] = max(seconds.get(request, 0.0), entry["seconds"])
    return seconds


async def _measure(stage: Stage) -> list[tuple[str, float, float]]:
    """Of each search: its request, seconds until the answers were here, and until they were open and kept."""
    details = RequestDetails(
        user=stage.user,
        purpose="criminal-investigation",
        offense="nibrs:120",
        probe_source="cctv-still",
        case_number="MC-26-0417",
        narrative="Robbery of a shop.",
        life=timedelta(minutes=5),
    )
    probe = degrade(astronaut(), [{"op": "blur", "sigma": 1.0}])
    samples = []
    with _arrivals() as arrivals:
        async with Desk(load_node(stage.node_home(_ASKING)), load_engine()) as desk:
            for _ in range(_RUNS + _WARM):
                prepared = await desk.prepare(probe, details)
                start = time.perf_counter()
                await desk.send(prepared)
                result = await desk.follow(prepared.request.id)
                opened = time.perf_counter() - start
                assert sum(outcome.answer is not None for outcome in result.outcomes) == len(_OWNERS)
                samples.append((prepared.request.id, arrivals[-1] - start, opened))
                await desk.finish()
    return samples[_WARM:]


@contextmanager
def _arrivals() -> Iterator[list[float]]:
    """The moments at which the desk had all sealed answers and began to open them."""
    moments: list[float] = []
    genuine = open_collected

    def noted(*arguments: Any) -> Any:
        moments.append(time.perf_counter())
        return genuine(*arguments)

    with mock.patch.object(collect, "open_collected", noted):
        yield moments
