"""A node at rest with 10,000 templates: the memory of the real serving process, engine and gallery open."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from agency_node.config import load_node
from agency_node.engine import load_engine
from agency_node.gallery import EncounterFacts, EnrolledFace, Enrolment, declared_galleries, open_galleries
from bench.figures import Figure
from demo.stage import Stage

_TEMPLATES = 10_000
_BATCH = 500
_AGENCY = "san-joaquin-so"


def run() -> list[Figure]:
    """One figure: resident megabytes, with the goal."""
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), Path("policies")) as stage:
        stage.found()
        stage.start_hub()
        stage.admit(_AGENCY)
        fill(stage.node_home(_AGENCY), "booking", _TEMPLATES)
        node = stage.start_node(_AGENCY)
        time.sleep(5)
        resident = resident_megabytes(node.pid)
    return [Figure("node_memory", f"node at rest, {_TEMPLATES:,} templates", resident, "MB", goal="<= 600")]


def fill(home: Path, gallery: str, count: int) -> None:
    """Enroll random unit vectors under made-up subjects: the index cannot tell them from faces."""
    node = load_node(home)
    engine_id = load_engine(node.engine_spec).engine_id
    random = np.random.default_rng(7)
    galleries = open_galleries(
        home, declared_galleries(node.policy), engine_id, vault_key_uri=node.vault_key_uri, hold_index=False
    )
    with galleries, galleries.importing():
        for start in range(0, count, _BATCH):
            vectors = random.standard_normal((_BATCH, 512)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            batch = [_enrolment(start + row, vector) for row, vector in enumerate(vectors)]
            galleries[gallery].enroll(batch)


def resident_megabytes(pid: int) -> float:
    """The resident set of a process, in MB of 1024 * 1024 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def _enrolment(number: int, vector: np.ndarray) -> Enrolment:
    facts = EncounterFacts(subject_ref=f"S{number:06d}", encounter_ref="1")
    face = EnrolledFace(vector, (0.0, 0.0, 1.0, 1.0), (), 80)
    return Enrolment(facts, f"picture {number}".encode(), face)
