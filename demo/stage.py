"""A whole federation on this machine: a hub and nodes, each its own process on loopback, set up by their own commands.

The demo, the federation tests and the benchmarks all stand on this. Nothing here reaches into a process: it runs the
commands that a coordinator and an operator would run, and reads what they print.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from federation.policy import load_agency

_BIN = Path(sys.executable).parent
_PROVENANCE = (
    *("--provenance-url", "https://photographs.example/demo"),
    *("--provenance-captured", "2026-01-15", "--basis", "sample photographs of installed packages"),
)
_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0


class CommandFailedError(Exception):
    """A command ended with another exit code than was expected; `error` is what it said, as JSON if it was JSON."""

    def __init__(self, command: Sequence[str], code: int, said: str) -> None:
        self.code = code
        self.said = said
        try:
            self.error: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        except (ValueError, IndexError):
            self.error = {}
        super().__init__(f"{' '.join(command)} ended with {code}:\n{said}")


@dataclass(slots=True)
class Daemon:
    """A process that serves until it is told to stop. `log` takes what it prints."""

    command: list[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id while it runs."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment
            )
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(seen)
                if b'"ready"' in log.read():
                    return
            if self.process.poll() is not None:
                raise CommandFailedError(self.command, self.process.returncode, self.tail())
            time.sleep(0.05)
        self.kill()
        raise CommandFailedError(self.command, -1, self.tail())

    def stop(self) -> int:
        """Ask it to end, as an operator would; its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it without warning."""
        return self._end(signal.SIGKILL)

    def wait(self, seconds: float = _STOP_SECONDS) -> int:
        """Its exit code, once it has ended by itself."""
        assert self.process is not None
        return self.process.wait(seconds)

    def tail(self, lines: int = 20) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, how: signal.Signals) -> int:
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.process.send_signal(how)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass(slots=True)
class Stage:
    """One region under `folder`, with the policies of a folder laid out as `policies/` is.

    `threads` is how many threads one search of a node may use; by default all of the machine's.
    """

    folder: Path
    policies: Path
    region: str = "delta"
    user: str = "d.ruiz"
    threads: int | None = None
    hub: Daemon | None = None
    nodes: dict[str, Daemon] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def hub_home(self) -> Path:
        """The hub's home."""
        return self.folder / "hub"

    @property
    def offline(self) -> Path:
        """Where the root and the coordinator's keys lie: not in the hub's home."""
        return self.folder / "offline"

    def node_home(self, agency: str, node: str = "n1") -> Path:
        """A node's home."""
        return self.folder / agency if node == "n1" else self.folder / f"{agency}.{node}"

    def found(self) -> Any:
        """`hub init`."""
        broker, join = _free_ports(2)
        options = [
            "--region",
            self.region,
            "--listen",
            f"127.0.0.1:{broker}",
            "--join-listen",
            f"127.0.0.1:{join}",
        ]
        options += ["--offline", str(self.offline), "--policy", str(self.policies / "region.yaml")]
        return self.run_hub("init", *options, "--statutes", str(self.policies / "statutes"))

    def start_hub(self) -> Daemon:
        """`hub serve`."""
        if self.hub is None:
            command = [str(_BIN / "hub"), "--home", str(self.hub_home), "--json", "serve"]
            self.hub = Daemon(command, self.folder / "logs" / "hub.log", dict(self.environment))
        self.hub.start()
        return self.hub

    def admit(self, agency: str, *, name: str = "") -> None:
        """An agency from nothing to confirmed: added, token, init, join, fingerprint compared."""
        self.run_hub("agency", "add", agency, "--name", name or agency)
        fingerprint = self.join(agency)
        self.run_hub(
            "agency", "confirm", agency, "--fingerprint", fingerprint, "--offline", str(self.offline)
        )

    def join(self, agency: str, node: str = "n1", *, agency_key: Path | None = None) -> str:
        """One node: init, its agency's policy and user, join. Returns the fingerprint that its operator reads out."""
        token = self.run_hub("token", agency)["token"]
        options = ["--agency-key", str(agency_key)] if agency_key else []
        self.run_node(agency, "init", "--agency", agency, "--node", node, *options, node=node)
        home = self.node_home(agency, node)
        shutil.copy(self.policies / "agencies" / f"{agency}.yaml", home / "policy.yaml")
        if self.threads:
            text = (home / "node.toml").read_text()
            (home / "node.toml").write_text(f"threads = {self.threads}\n{text}")
        with (home / "node.toml").open("a") as settings:
            settings.write(f'\n[users."{self.user}"]\nroles = ["requester", "examiner"]\n')
            settings.write(f"training_date = {time.strftime('%Y-%m-%d', time.gmtime())}\n")
        return str(self.run_node(agency, "join", token, node=node)["fingerprint"])

    def enroll(
        self, agency: str, gallery: str, people: Mapping[str, Mapping[str, Path | bytes]], *options: str
    ) -> Any:
        """`agency-node import` of people (each with photographs by file name); what it says of them."""
        source = self.folder / "photographs" / agency
        for person, photographs in people.items():
            (source / person).mkdir(parents=True)
            for file, content in photographs.items():
                (source / person / file).write_bytes(
                    content if isinstance(content, bytes) else content.read_bytes()
                )
        policy = load_agency((self.node_home(agency) / "policy.yaml").read_bytes())
        if policy.galleries[gallery].kind == "public-source":
            options = (*_PROVENANCE, *options)
        done = self.run_node(agency, "import", str(source), "--gallery", gallery, *options, accept=(0, 14))
        shutil.rmtree(source)
        return done

    def start_node(self, agency: str, node: str = "n1") -> Daemon:
        """`agency-node serve`."""
        home = self.node_home(agency, node)
        if home.name not in self.nodes:
            command = [str(_BIN / "agency-node"), "--home", str(home), "--json", "serve"]
            self.nodes[home.name] = Daemon(
                command, self.folder / "logs" / f"{home.name}.log", dict(self.environment)
            )
        self.nodes[home.name].start()
        return self.nodes[home.name]

    def run_hub(self, *arguments: str) -> Any:
        """One `hub` command; its JSON. Raises CommandFailedError."""
        return self._run("hub", self.hub_home, arguments)

    def run_node(self, agency: str, *arguments: str, node: str = "n1", accept: Collection[int] = (0,)) -> Any:
        """One `agency-node` command; its JSON. Raises CommandFailedError for an exit code not in `accept`."""
        return self._run("agency-node", self.node_home(agency, node), arguments, accept)

    def close(self) -> None:
        """Stop every process, nodes first."""
        for daemon in (*self.nodes.values(), *([self.hub] if self.hub else [])):
            daemon.stop()

    def _run(self, program: str, home: Path, arguments: Sequence[str], accept: Collection[int] = (0,)) -> Any:
        command = [str(_BIN / program), "--home", str(home), "--json", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=dict(self.environment), check=False
        )
        if done.returncode not in accept:
            raise CommandFailedError(command, done.returncode, done.stderr or done.stdout)
        return json.loads(done.stdout) if done.stdout.strip() else None


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now; held together, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in held]
    for server in held:
        server.close()
    return ports
