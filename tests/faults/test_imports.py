"""Imports with broken rows, on a full disk, and interrupted: what is good is in, once, and what is not is named."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from federation.errors import Code

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults-homes")]

# Runs a command that may make no file larger than 100 kB: to a program, a disk that is full.
_FULL = """\
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def home(commands: Any, kit: Any, tmp_path: Path) -> Path:
    """A node with an empty gallery."""
    made = tmp_path / "home"
    assert commands.run("agency-node", "--home", made, "init", "--agency", kit.owning).code == 0
    shutil.copy(kit.policies(tmp_path) / "agencies" / f"{kit.owning}.yaml", made / "policy.yaml")
    return made


def _manifest(folder: Path, photograph: bytes, lines: list[str]) -> Path:
    folder.mkdir()
    (folder / "good.png").write_bytes(photograph)
    (folder / "cut.png").write_bytes(photograph[:20_000])
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(["subject,encounter,captured,picture", *lines]) + "\n")
    return manifest


def test_broken_rows_are_named_and_skipped_and_the_rest_is_in(
    home: Path, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    lines = [
        "s-1,e-1,2025-03-01,good.png",
        "s-2,e-1,first of March,good.png",
        "s-3,e-1,2025-03-01",
        "s-4,e-1,2025-03-01,gone.png",
        "s-5,e-1,2025-03-01,cut.png",
        "s-6,e-1,2025-03-01,../../etc/passwd",
        "s-1,e-1,2025-03-01,good.png",
        "s-7,e-1,2025-03-01,good.png",
    ]
    manifest = _manifest(tmp_path / "source", photograph, lines)
    command = ["import", manifest, "--gallery", "booking"]
    machine = commands.run("agency-node", "--home", home, "--json", *command)
    person = commands.run("agency-node", "--home", home, *command)
    kit.check_refusal(machine, person, Code.IMPORT_INCOMPLETE)
    report = json.loads(machine.out)
    assert report["added"] == 2
    skipped = [(row["where"], row["error"]) for row in report["skipped"]]
    bad, gone, cut = "row-invalid", "file-missing", "image-unreadable"
    assert skipped == [
        *[("line 3", bad), ("line 4", bad), ("line 5", skipped[2][1]), ("line 6", cut), ("line 7", bad)],
        ("line 8", bad),
    ]
    assert skipped[2][1] in (bad, gone)
    for line in (3, 4, 5, 6, 7, 8):
        assert f"skipped line {line}: " in person.out
    assert "unchanged" in person.out
    records = kit.rows(home / "galleries" / "records.db")
    assert len(records["encounter"]) == len(records["template"]) == 2


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("subject,encounter,captured", "picture"),
        ("subject,encounter,captured,picture,wanted_by", "wanted_by"),
    ],
    ids=["a column is missing", "a column is unknown"],
)
def test_a_manifest_with_the_wrong_columns_imports_nothing(
    header: str, detail: str, home: Path, commands: Any, kit: Any, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"{header}\ns-1,e-1,2025-03-01,good.png\n")
    before = kit.contents(home)
    says = commands.refused(
        "agency-node", home, Code.MANIFEST_INVALID, "import", manifest, "--gallery", "booking"
    )
    assert detail in says
    assert kit.contents(home) == before


def test_an_interrupted_import_ends_with_130_and_the_next_one_finishes_it(
    home: Path, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    count = 80
    manifest = _manifest(
        tmp_path / "source", photograph, [f"s-{n},e-1,2025-03-01,good.png" for n in range(count)]
    )
    command = ["--home", str(home), "import", str(manifest), "--gallery", "booking"]
    database = home / "galleries" / "records.db"

    def enrolled() -> int:
        try:
            return len(kit.rows(database)["encounter"])
        except Exception:  # not made yet
            return 0

    with subprocess.Popen(
        [kit.program("agency-node"), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while enrolled() == 0 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Interrupted." in err
    assert "Traceback" not in out + err
    kept = enrolled()
    assert 0 < kept < count
    machine = commands.run("agency-node", "--json", *command)
    report = json.loads(machine.out)
    assert (machine.code, report["unchanged"], report["added"]) == (0, kept, count - kept)
    records = kit.rows(database)
    assert len(records["encounter"]) == len(records["template"]) == count
    assert not list(home.rglob("*.new")) + list(home.rglob("*.tmp"))


def test_an_import_onto_a_full_disk_says_so_and_the_next_one_does_it_all(
    home: Path, commands: Any, kit: Any, photograph: bytes, tmp_path: Path
) -> None:
    manifest = _manifest(tmp_path / "source", photograph, ["s-1,e-1,2025-03-01,good.png"])
    command = ["--home", str(home), "--json", "import", str(manifest), "--gallery", "booking"]
    full = subprocess.run(
        [sys.executable, "-c", _FULL, kit.program("agency-node"), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert full.returncode == 67, full.stderr
    assert json.loads(full.stderr)["error"] == "storage-failed"
    assert kit.rows(home / "galleries" / "records.db")["encounter"] == []
    assert not [path for path in (home / "galleries" / "photos").rglob("*") if path.is_file()]
    again = commands.run("agency-node", *command)
    assert (again.code, json.loads(again.out)["added"]) == (0, 1), again.everything
