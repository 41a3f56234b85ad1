"""The real engine, and real photographs that installed packages carry."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from agency_node.engine import FaceEngine, Picture, load_engine, open_picture, pack, weights


@pytest.fixture(scope="session")
def pack_files() -> dict[str, bytes]:
    """The files of the default engine's pack, fetched once if they are not there."""
    pack.install(pack.pack_folder(), weights.gather)
    return pack.verify_pack(pack.pack_folder())


@pytest.fixture(scope="session")
def eye(pack_files: dict[str, bytes]) -> FaceEngine:
    """The default engine on one thread."""
    assert pack_files
    return load_engine(threads=1)


def _package_file(package: str, name: str) -> bytes:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return (Path(spec.submodule_search_locations[0]) / name).read_bytes()


@pytest.fixture(scope="session")
def group_bytes() -> bytes:
    """A JPEG of six people, 1280×886, faces about 100 pixels wide."""
    return _package_file("insightface", "data/images/t1.jpg")


@pytest.fixture(scope="session")
def group(group_bytes: bytes) -> Picture:
    """The same, decoded."""
    return open_picture(group_bytes)


@pytest.fixture(scope="session")
def astronaut() -> Picture:
    """A portrait, 512×512, public domain."""
    return open_picture(_package_file("skimage", "data/astronaut.png"))


@pytest.fixture(scope="session")
def people() -> dict[str, list[Path]]:
    """Grey portraits by person; the test skips where they are absent."""
    root = Path(__file__).parents[4] / "shared" / "faces" / "att"
    if not root.is_dir():
        pytest.skip("../shared/faces/att is absent")
    return {folder.name: sorted(folder.iterdir()) for folder in sorted(root.iterdir())}
