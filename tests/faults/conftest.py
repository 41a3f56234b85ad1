"""What the fault tests share: the real commands, what they must say when they refuse, and the state of a home."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo.photographs import astronaut
from demo.stage import Stage
from federation.errors import CATALOGUE, Code

BIN = Path(sys.executable).parent
ASKING, OWNING = "mill-creek-pd", "san-joaquin-so"
_CLOCK = """\
import datetime, os
_real, _shift = datetime.datetime, datetime.timedelta(seconds=float(os.environ["CLOCK_SHIFT"]))
class _Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, _real)
class _Shifted(_real, metaclass=_Kind):
    @classmethod
    def now(cls, tz=None):
        return _real.now(tz) + _shift
datetime.datetime = _Shifted
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What one command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def everything(self) -> str:
        """Both streams."""
        return self.out + self.err


@dataclass
class Commands:
    """The two programs, as people run them."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(
        self,
        program: str,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        cwd: Path | None = None,
    ) -> Said:
        """Run one to its end."""
        done = subprocess.run(
            [str(BIN / program), *map(str, arguments)],
            capture_output=True,
            text=True,
            input=stdin,
            env={**self.environment, **(env or {})},
            cwd=cwd or self.folder,
            timeout=60,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def refused(
        self, program: str, home: Path, code: Code, *arguments: object, env: Mapping[str, str] | None = None
    ) -> str:
        """The sentence with which both forms of a command refuse: by code, exit status, sentence and next step."""
        with ThreadPoolExecutor(2) as pool:
            machine, person = pool.map(
                lambda form: self.run(program, "--home", home, *form, *arguments, env=env), (("--json",), ())
            )
        return check_refusal(machine, person, code)

    def refused_in_turn(
        self, program: str, home: Path, code: Code, *arguments: object, env: Mapping[str, str] | None = None
    ) -> str:
        """The same for what must not run beside itself."""
        machine = self.run(program, "--home", home, "--json", *arguments, env=env)
        person = self.run(program, "--home", home, *arguments, env=env)
        return check_refusal(machine, person, code)

    def shifted(self, seconds: int) -> dict[str, str]:
        """The environment of a process whose clock differs by so many seconds."""
        place = self.folder / "clock"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(_CLOCK)
        return {"PYTHONPATH": str(place), "CLOCK_SHIFT": str(seconds)}


def check_refusal(machine: Said, person: Said, code: Code) -> str:
    """Both forms of one refusal are whole; returns the sentence."""
    entry = CATALOGUE[code]
    for said in (machine, person):
        assert "Traceback" not in said.everything, said.everything
        assert said.code == entry.exit, said.everything
    lines = [line for line in machine.err.splitlines() if line.startswith("{")]
    assert len(lines) == 1, machine.everything
    error: dict[str, str] = json.loads(lines[0])
    assert (error["error"], error["next"]) == (code.value, entry.next)
    assert error["says"].startswith(entry.says)
    assert entry.says in person.err, person.everything
    assert entry.next in person.err, person.everything
    return error["says"]


def contents(home: Path, *, without: Sequence[str] = ()) -> dict[str, str]:
    """Every file of a home with its digest; of a database, the digest of its rows."""
    found = {}
    for path in sorted(home.rglob("*")):
        name = str(path.relative_to(home))
        if path.is_dir() or path.name.endswith(("-wal", "-shm", ".lock")) or name in without:
            continue
        data = path.read_bytes()
        if data.startswith(b"SQLite format 3\0"):
            data = repr(rows(path)).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def rows(database: Path) -> dict[str, list[Any]]:
    """Every row of every table of a database that may be in use."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {table: sorted(connection.execute(f'SELECT * FROM "{table}"'), key=repr) for table in tables}


def hub_state(stage: Stage) -> dict[str, Any]:
    """What the hub has acknowledged: everything but when a node was last seen, and who witnessed."""
    state = rows(stage.hub_home / "hub.db")
    state["node"] = [row[:4] for row in state["node"]]
    return {name: found for name, found in state.items() if name != "cosignature"}


def traces(stage: Stage) -> list[str]:
    """Where a defect left a trace: in what the servers printed, or in a home's file of defects."""
    logs = sorted((stage.folder / "logs").glob("*.log"))
    found = [str(log) for log in logs if "Traceback" in log.read_text(errors="replace")]
    return found + [str(path) for path in stage.folder.rglob("*errors.log")]


def policies(folder: Path) -> Path:
    """A copy of the shipped policies."""
    return shutil.copytree("policies", folder / "policies")


@pytest.fixture(scope="session")
def photograph() -> bytes:
    """One person, large and sharp: scikit-image's astronaut."""
    return astronaut()


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """The two programs."""
    return Commands(tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A hub that serves, and the desk of an agency without a gallery, which has joined and been confirmed.

    Afterwards no process may have left a traceback anywhere.
    """
    folder = tmp_path_factory.mktemp("stage")
    with Stage(folder, policies(folder)) as made:
        made.found()
        made.start_hub()
        made.admit(ASKING)
        yield made
        assert traces(made) == []


@pytest.fixture(scope="module")
def gallery_stage(stage: Stage, photograph: bytes) -> Stage:
    """The same with a sheriff's gallery of one subject; both nodes serve."""
    source = stage.folder / "photographs" / "astronaut"
    source.mkdir(parents=True)
    (source / "booking-photograph-4711.png").write_bytes(photograph)
    stage.admit(OWNING)
    stage.run_node(OWNING, "import", str(source.parent), "--gallery", "booking")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(stage.start_node, (OWNING, ASKING)))
    stage.run_node(ASKING, "search", "--list")
    return stage


@pytest.fixture(scope="session")
def kit() -> Any:
    """The functions above, for tests: importlib mode lets test files import from no conftest."""
    return Kit


class Kit:
    """What tests need of this file."""

    asking, owning = ASKING, OWNING
    contents = staticmethod(contents)
    rows = staticmethod(rows)
    hub_state = staticmethod(hub_state)
    traces = staticmethod(traces)
    policies = staticmethod(policies)
    check_refusal = staticmethod(check_refusal)
    program = staticmethod(lambda name: str(BIN / name))
    search = (
        *("--case", "MC-26-99317", "--purpose", "criminal-investigation", "--offense", "nibrs:120"),
        *("--source", "cctv-still", "--narrative", "Robbery at the Quillfeather jewellers."),
        *("--basis", "Reasonable suspicion of robbery"),
    )
