"""One probe to three nodes: what broker and wire add to the slowest node's own serving, with TLS, log and sealing on.

    added = (from the call of Submit to the last answer opened) - (the slowest node's serving time, from its receipt)

Real processes: a hub, three nodes with galleries, and this process as the desk of a fourth agency. Taking in, signing
and sealing end before the clock starts; submitting, the proof, following, collecting and opening are inside.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from agency_node.config import load_node
from agency_node.desk.details import RequestDetails
from agency_node.desk.session import Desk
from agency_node.engine import load_engine
from bench.figures import Figure
from demo.photographs import astronaut, degrade, packaged_cast
from demo.stage import Stage

_GALLERIES = ("san-joaquin-so/booking", "valley-records/public", "eastport-pd/booking")
_ASKING = "mill-creek-pd"
_RUNS, _WARM = 30, 5


def run() -> list[Figure]:
    """The whole search, the slowest node, and the ratio of what is added to it."""
    with tempfile.TemporaryDirectory() as folder:
        policies = _open_policies(Path(folder))
        with Stage(Path(folder), policies) as stage:
            _set_up(stage)
            samples = asyncio.run(_measure(stage))
    whole = statistics.median(whole for whole, _ in samples)
    serving = statistics.median(serving for _, serving in samples)
    ratio = statistics.median((whole - serving) / serving for whole, serving in samples)
    return [
        Figure("search_path", "submit, follow, collect, open: three nodes", whole * 1000, "ms"),
        Figure("search_path", "the slowest node's serving", serving * 1000, "ms"),
        Figure(
            "search_path",
            "added by broker, wire and desk",
            (whole - serving) * 1000,
            "ms",
            "the slowest node's serving",
            ratio,
            "<= 0.25",
        ),
    ]


def _open_policies(folder: Path) -> Path:
    """The shipped policies, without the rule of eastport-pd that refuses robbery and what its own rule requires."""
    policies = folder / "policies"
    shutil.copytree("policies", policies)
    share = (policies / "agencies" / "san-joaquin-so.yaml").read_text()
    (policies / "agencies" / "eastport-pd.yaml").write_text(
        share.replace("agency: san-joaquin-so", "agency: eastport-pd")
    )
    return policies


def _set_up(stage: Stage) -> None:
    cast = packaged_cast(load_engine(), (_GALLERIES[0], _GALLERIES[1]), _GALLERIES[2])
    stage.found()
    stage.start_hub()
    for gallery in _GALLERIES:
        agency, _, name = gallery.partition("/")
        stage.admit(agency)
        stage.enroll(agency, name, cast.enrolled[gallery])
        stage.start_node(agency)
    stage.admit(_ASKING)


async def _measure(stage: Stage) -> list[tuple[float, float]]:
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
    async with Desk(load_node(stage.node_home(_ASKING)), load_engine()) as desk:
        for number in range(_RUNS + _WARM):
            prepared = await desk.prepare(probe, details)
            start = time.perf_counter()
            await desk.send(prepared)
            result = await desk.follow(prepared.request.id)
            whole = time.perf_counter() - start
            receipts = [outcome.receipt for outcome in result.outcomes]
            assert all(receipt is not None and receipt.outcome == "answered" for receipt in receipts)
            if number >= _WARM:
                samples.append((whole, max(receipt.seconds for receipt in receipts if receipt)))
    return samples
