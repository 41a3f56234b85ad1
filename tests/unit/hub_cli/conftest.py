"""The command line as a person or a script meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.cli.main import cli
from hub.cli.shell import run


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)


Hub = Callable[..., Outcome]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hub:
    """`hub …` with its home in a fresh folder."""
    monkeypatch.setenv("LIAISON_HUB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LIAISON_HUB_OFFLINE", raising=False)

    def call(*arguments: str | Path) -> Outcome:
        code = run(cli, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def delta(hub: Hub) -> Hub:
    """The same, with the region delta founded."""
    assert hub("init", "--region", "delta").code == 0
    return hub
