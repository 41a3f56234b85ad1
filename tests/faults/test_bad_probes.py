"""A probe that cannot be searched, or a request that may not be made: refused before anything leaves the agency."""

from __future__ import annotations

import base64
import json
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from demo.stage import Stage
from federation.errors import Code

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults-probes")]


def _png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _encoded(height: int, width: int) -> bytes:
    ok, data = cv2.imencode(".png", np.full((height, width, 3), 120, np.uint8))
    assert ok
    return data.tobytes()


def _group() -> bytes:
    return (resources.files("insightface") / "data" / "images" / "t1.jpg").read_bytes()


PICTURES: dict[str, tuple[Callable[[bytes], bytes], Code, str]] = {
    "empty": (lambda _: b"", Code.IMAGE_UNREADABLE, ""),
    "no image": (lambda _: b"%PDF-1.7 a report, not a picture", Code.IMAGE_UNREADABLE, ""),
    "noise": (lambda whole: whole[:8] + bytes(range(256)) * 8, Code.IMAGE_UNREADABLE, ""),
    "truncated PNG": (lambda whole: whole[: len(whole) // 2], Code.IMAGE_UNREADABLE, ""),
    "truncated JPEG": (lambda _: _group()[: len(_group()) // 2], Code.IMAGE_UNREADABLE, ""),
    "41 megapixels": (lambda _: _encoded(6400, 6410), Code.IMAGE_TOO_LARGE, "6410 x 6400"),
    "decompression bomb": (
        lambda _: _png(60_000, 60_000, zlib.compress(bytes(4_000_000))),
        Code.IMAGE_TOO_LARGE,
        "",
    ),
    "no face": (lambda _: _encoded(400, 400), Code.NO_FACE, ""),
    "several faces": (lambda _: _group(), Code.SEVERAL_FACES, "From left to right: 1: at"),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_that_cannot_be_searched_is_refused_before_anything_leaves(
    picture: str, gallery_stage: Stage, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    make, code, detail = PICTURES[picture]
    file = tmp_path / "probe.png"
    file.write_bytes(make(photograph))
    home = gallery_stage.node_home(kit.asking)
    before = kit.hub_state(gallery_stage), kit.contents(home, without=["node.db"])
    says = commands.refused("agency-node", home, code, "search", file, *kit.search)
    assert detail in says
    assert (kit.hub_state(gallery_stage), kit.contents(home, without=["node.db"])) == before


REQUESTS: dict[str, tuple[Code, str, list[str]]] = {
    "no case number": (
        Code.REQUEST_INVALID,
        "A search needs --case.",
        ["--purpose", "criminal-investigation", "--source", "cctv-still"],
    ),
    "no purpose": (
        Code.REQUEST_INVALID,
        "A search needs --purpose.",
        ["--case", "1", "--source", "cctv-still"],
    ),
    "a misspelt purpose": (
        Code.REQUEST_INVALID,
        "Did you mean `missing-person`?",
        ["--case", "1", "--purpose", "mising-person", "--source", "cctv-still"],
    ),
    "an unknown offence": (Code.REQUEST_INVALID, "offence", ["--offense", "nibrs:banana"]),
    "a face that is not there": (Code.FACE_NOT_THERE, "", ["--face", "9"]),
    "a gallery that nobody has": (Code.GALLERY_UNKNOWN, "`nobody/none`", ["--gallery", "nobody/none"]),
    "a user that is none": (Code.REQUEST_INVALID, "`nobody` is not a user", ["--user", "nobody"]),
    "no number of candidates": (Code.REQUEST_INVALID, "from 1 to 50", ["--candidates", "0"]),
    "a life that is no duration": (Code.REQUEST_INVALID, "`soon` is no duration", ["--expires", "soon"]),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_that_is_not_whole_is_refused_before_anything_leaves(
    request_: str, gallery_stage: Stage, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    code, detail, options = REQUESTS[request_]
    file = tmp_path / "probe.png"
    file.write_bytes(photograph)
    home = gallery_stage.node_home(kit.asking)
    before = kit.hub_state(gallery_stage), kit.contents(home, without=["node.db"])
    given = options if "--case" in options or "--purpose" in options else [*kit.search, *options]
    assert detail in commands.refused("agency-node", home, code, "search", file, *given)
    assert (kit.hub_state(gallery_stage), kit.contents(home, without=["node.db"])) == before


@pytest.mark.parametrize("option", ["--resume", "--cancel"])
def test_a_search_that_this_desk_never_made_cannot_be_gone_on_with(
    option: str, gallery_stage: Stage, commands: Any, kit: Any
) -> None:
    home = gallery_stage.node_home(kit.asking)
    commands.refused("agency-node", home, Code.REQUEST_UNKNOWN, "search", option, "0" * 32)


def test_a_picture_that_is_not_there_is_named(gallery_stage: Stage, commands: Any, kit: Any) -> None:
    home = gallery_stage.node_home(kit.asking)
    says = commands.refused("agency-node", home, Code.FILE_MISSING, "search", "gone.png", *kit.search)
    assert "gone.png" in says


def test_policy_refuses_everywhere_in_the_open_and_the_exit_status_says_so(
    gallery_stage: Stage, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "probe.png"
    file.write_bytes(photograph)
    home = gallery_stage.node_home(kit.asking)
    options = [*kit.search, "--purpose", "immigration-enforcement"]
    machine = commands.run("agency-node", "--home", home, "--json", "search", file, *options)
    person = commands.run("agency-node", "--home", home, "search", file, *options)
    kit.check_refusal(machine, person, Code.POLICY_DENIES)
    [delivery] = json.loads(machine.out)["deliveries"]
    assert delivery["status"] == "refused_by_hub"
    assert delivery["rule"] in person.out


def test_an_interrupted_search_ends_with_130_and_is_resumed(
    gallery_stage: Stage, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "probe.png"
    file.write_bytes(photograph)
    home = gallery_stage.node_home(kit.asking)
    gallery_stage.nodes[kit.owning].stop()
    command = [kit.program("agency-node"), "--home", str(home), "search", str(file), *kit.search]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        search_id = ""
        for line in process.stderr:
            if "is logged" in line:
                search_id = line.split()[1]
                break
        process.send_signal(signal.SIGINT)
        said = process.stdout.read() + process.stderr.read()
        assert process.wait(30) == 130, said
    assert "Interrupted." in said
    assert "Traceback" not in said
    gallery_stage.start_node(kit.owning)
    result = gallery_stage.run_node(kit.asking, "search", "--resume", search_id)
    [delivery] = result["deliveries"]
    assert (delivery["status"], delivery["candidates"][0]["subject"]) == ("answered", "astronaut")


def test_no_log_says_what_no_log_may_say(
    gallery_stage: Stage, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "quillfeather-till-camera.png"
    file.write_bytes(photograph)
    home = gallery_stage.node_home(kit.asking)
    found = gallery_stage.run_node(kit.asking, "search", str(file), *kit.search)
    assert found["deliveries"][0]["candidates"][0]["subject"] == "astronaut"
    refused = [*kit.search, "--purpose", "immigration-enforcement"]
    gallery_stage.run_node(kit.asking, "search", str(file), *refused, accept=(32,))
    commands.run("agency-node", "--home", home, "search", tmp_path, *kit.search)

    templates = [
        value
        for row in kit.rows(gallery_stage.node_home(kit.owning) / "galleries" / "records.db")["template"]
        for value in row
        if isinstance(value, bytes) and len(value) > 64
    ]
    words = ["MC-26-99317", "Quillfeather", "jewellers", "Robbery at", gallery_stage.user, "astronaut"]
    words += ["booking-photograph-4711", "quillfeather-till-camera", "probe.png"]
    secret = [word.lower().encode() for word in words]
    secret += [template[:48].lower() for template in templates]
    secret += [base64.b64encode(template[:48]).lower() for template in templates]

    logs = sorted((gallery_stage.folder / "logs").glob("*.log"))
    assert {log.stem for log in logs} == {"hub", kit.asking, kit.owning}
    places = {log.name: log.read_bytes() for log in logs}
    places["public log"] = b"\n".join(
        entry for _, _, entry in kit.rows(gallery_stage.hub_home / "hub.db")["log_leaf"]
    )
    assert b"criminal-investigation" in places["public log"]
    for place, text in places.items():
        assert [word for word in secret if word in text.lower()] == [], place


def test_the_whole_session_leaves_a_log_that_verifies(gallery_stage: Stage) -> None:
    deadline = time.monotonic() + 10
    while not (report := gallery_stage.run_hub("log", "verify"))["verified"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert report["verified"], report
