"""`make demo`: set up a region on this machine, search it, verify its log, and look for a face on the hub's disk.

Environment: PHOTOS names a folder of one folder a person, to search their photographs instead of the packaged ones;
REPORT says where the JSON goes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from agency_node.config import load_node
from agency_node.desk.details import RequestDetails
from agency_node.desk.directory import GalleryEntry
from agency_node.desk.files import sheet_of
from agency_node.desk.session import Desk
from agency_node.engine import FaceEngine, load_engine, open_picture
from demo.blind import Look, look
from demo.photographs import Cast, Probe, folder_cast, packaged_cast
from demo.report import Report, Searched
from demo.show import Show
from demo.stage import CommandFailedError, Stage
from federation.errors import CATALOGUE, Code, LiaisonError

OUT = Path("demo-out")
BOOKING, CLOSED, PUBLIC = "san-joaquin-so/booking", "eastport-pd/booking", "valley-records/public"
ASKING = "mill-creek-pd"
AGENCIES = ("san-joaquin-so", "eastport-pd", "valley-records", ASKING)


def main() -> int:
    """Run the demo; 0 when the log verified and the hub's disk showed nothing."""
    photos, report_path = os.environ.get("PHOTOS"), Path(os.environ.get("REPORT") or OUT / "report.json")
    if photos and not Path(photos).is_dir():
        sys.stderr.write(f"{CATALOGUE[Code.FILE_MISSING].says} PHOTOS={photos} is no folder.\n")
        return CATALOGUE[Code.FILE_MISSING].exit
    show = Show()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="liaison-demo-") as folder:
            report = _run(Path(folder), Path(photos) if photos else None, show)
    except (LiaisonError, CommandFailedError) as error:
        sys.stderr.write(f"{error.diagnostics() if isinstance(error, LiaisonError) else error}\n")
        return 1
    report.notes.append(f"the whole demo took {time.monotonic() - started:.0f} s")
    report_path.parent.mkdir(parents=True, exist_ok=True)
    report_path.write_text(json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n")
    show.summary(report, str(report_path))
    return 0 if report.log["verified"] and report.hub_blind["blind"] else 1


def _run(folder: Path, photos: Path | None, show: Show) -> Report:
    engine = load_engine()
    answering = (BOOKING, PUBLIC)
    cast = folder_cast(photos, answering, CLOSED) if photos else packaged_cast(engine, answering, CLOSED)
    report = Report(notes=list(cast.notes))
    policies = _policies(folder / "policies", len(cast.probes))
    with Stage(folder, policies) as stage:
        _set_up(stage, cast, report, show)
        show.heading("Searching, as mill-creek-pd, which has no gallery")
        asyncio.run(_search(stage, engine, cast, report, show))
        show.heading("Checking, trusting nobody")
        _verify_log(stage, report, show)
        pictures = [s.result.working for s in report.searches if s.result] + [
            probe.picture for probe in cast.probes
        ]
        report.hub_blind |= {"after": _say_blind(look(stage.hub_home, pictures), "afterwards", show)}
        report.hub_blind["blind"] = all(report.hub_blind[when]["blind"] for when in ("during", "after"))
        report.hub_blind["control"] = _control(stage, pictures[0], show)
    return report


def _policies(folder: Path, searches: int) -> Path:
    """The shipped policies; with more probes than a user may search in a day, with that limit raised and said so."""
    shutil.copytree("policies", folder)
    if searches > 400:
        for path in (folder / "agencies").glob("*.yaml"):
            path.write_text(
                path.read_text().replace("per_user_per_day: 500", f"per_user_per_day: {searches + 100}")
            )
    return folder


def _set_up(stage: Stage, cast: Cast, report: Report, show: Show) -> None:
    show.heading("Setting up: a hub and four agencies, each its own process, over mutual TLS")
    founded = stage.found()
    show.step(f"hub init: region {stage.region}, root {founded['root'][:23]}…, its key offline")
    stage.start_hub()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(stage.admit, AGENCIES))
    show.step(f"agency, token, init, join, confirm: {', '.join(AGENCIES)}")
    for gallery, people in cast.enrolled.items():
        _import(stage, gallery, people, report, show)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(stage.start_node, AGENCIES))
    show.step("agency-node serve: four nodes are linked to the hub")


def _import(
    stage: Stage, gallery: str, people: dict[str, dict[str, Path | bytes]], report: Report, show: Show
) -> None:
    agency, _, name = gallery.partition("/")
    done = stage.enroll(agency, name, people)
    report.notes += [f"{gallery}: {row['where']} was not enrolled: {row['says']}" for row in done["skipped"]]
    show.step(f"agency-node import: {done['added']} photographs into {gallery}")


async def _search(stage: Stage, engine: FaceEngine, cast: Cast, report: Report, show: Show) -> None:
    details = RequestDetails(
        user=stage.user,
        purpose="criminal-investigation",
        offense="nibrs:120",
        probe_source="cctv-still",
        case_number="MC-26-0417",
        narrative="Robbery of a shop; the camera above the till shows the person at the counter.",
        legal_basis="Reasonable suspicion of robbery",
        life=timedelta(minutes=10),
    )
    brief = len(cast.probes) > 20
    async with Desk(load_node(stage.node_home(ASKING)), engine) as desk:
        entries = (await desk.directory()).galleries
        report.galleries = [_gallery_json(entry) for _, entry in sorted(entries.items())]
        for number, probe in enumerate(cast.probes, start=1):
            during: Callable[[], None] | None = None
            if number == 1:
                during = lambda: report.hub_blind.update(  # noqa: E731
                    during=_say_blind(
                        look(stage.hub_home, [cast.probes[0].picture]), "while it searches", show
                    )
                )
            searched = await _one(desk, engine, probe, details, during)
            report.searches.append(searched)
            if not brief:
                show.searched(searched)
            elif number % 25 == 0 or number == len(cast.probes):
                show.step(f"{number} of {len(cast.probes)} probes, rank-1 so far {report.rank_rate(1):.3f}")
    _write_sheet(report, {name: entry.title for name, entry in entries.items()})


def _gallery_json(entry: GalleryEntry) -> dict[str, Any]:
    return {
        field: getattr(entry, field)
        for field in ("agency", "gallery", "kind", "engine", "subjects", "templates")
    }


def _write_sheet(report: Report, titles: dict[str, str]) -> None:
    """The first search that was answered, as a picture; and the same with the first candidates alone."""
    for searched in report.searches:
        if searched.result and searched.result.answered:
            (OUT / "candidates.png").write_bytes(sheet_of(searched.result, titles=titles))
            (OUT / "first-candidates.png").write_bytes(sheet_of(searched.result, titles=titles, most=1))
            return


async def _one(
    desk: Desk, engine: FaceEngine, probe: Probe, details: RequestDetails, during: Callable[[], None] | None
) -> Searched:
    searched = Searched(probe, picked=probe.face)
    try:
        try:
            search_id = await desk.start(probe.picture, details, face=probe.face, label=probe.id)
        except LiaisonError as error:
            if error.code is not Code.SEVERAL_FACES:
                raise
            # A person at the desk would pick; here it is the largest face, and the report says so.
            faces = engine.detect(open_picture(probe.picture))
            searched.picked = 1 + max(range(len(faces)), key=lambda index: faces[index].area)
            search_id = await desk.start(probe.picture, details, face=searched.picked, label=probe.id)
        if during:
            during()
        searched.result = await desk.follow(search_id)
    except LiaisonError as error:
        if error.code not in (Code.NO_FACE, Code.PROBE_QUALITY, Code.IMAGE_UNREADABLE, Code.IMAGE_TOO_LARGE):
            raise
        searched.error = error.sentence
    return searched


def _verify_log(stage: Stage, report: Report, show: Show) -> None:
    exported = stage.run_hub("log", "export", str(OUT / "log"))
    command = [
        sys.executable,
        "-m",
        "federation.log",
        "verify",
        str(OUT / "log"),
        "--log-key",
        exported["log_key"],
    ]
    for key in exported["witness_keys"]:
        command += ["--witness", key]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    verified = json.loads(done.stdout)
    report.log = {
        "size": verified["size"],
        "root": verified["root"],
        "verified": verified["verified"] and done.returncode == 0,
        "witnesses": verified["witnesses"],
        "entries": verified["entries"],
        "problems": verified["problems"],
    }
    show.step(f"the log, {verified['size']} entries, verifies offline: {report.log['verified']}")
    show.step(f"cosigned by {len(verified['witnesses'])} of {len(exported['witness_keys'])} nodes")


def _say_blind(seen: Look, when: str, show: Show) -> dict[str, int | bool]:
    show.step(
        f"the hub's disk {when}: {seen.files} files, {seen.bytes:,} bytes, {seen.known} slices of a probe, "
        f"{seen.decodable} pictures that open"
    )
    return {"files": seen.files, "known": seen.known, "decodable": seen.decodable, "blind": seen.blind}


def _control(stage: Stage, picture: bytes, show: Show) -> bool:
    """The same look must find a probe that really is there, or it proves nothing."""
    folder = stage.folder / "control"
    folder.mkdir()
    (folder / "file").write_bytes(b"x" * 999 + picture + b"x" * 99)
    found = look(folder, [picture])
    show.step(f"the same look at a file with a probe in it finds it: {not found.blind}")
    return not found.blind


if __name__ == "__main__":
    raise SystemExit(main())
