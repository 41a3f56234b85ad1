"""The pack of the default engine: a folder of pinned files, and how it is told from a damaged one.

    pnet.onnx  rnet.onnx  onet.onnx     detection, built from the arrays of the PyPI package `mtcnn` 1.0.0
    recognition.onnx                    recognition, built from `fr_feature.onnx` of the npm
                                        package `faceplugin-face-recognition-js` 0.0.1
    LICENSE.mtcnn  LICENSE.faceplugin   their licences, both MIT
    pack.json                           what is here, for people and for inventories

The pins live in this file, not in the folder: whoever can change the folder cannot change what it is compared
with. What is loaded is what was hashed: the bytes are read once, checked, and handed on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from federation.errors import Code, LiaisonError

NAME = "mobilefacenet"
WEIGHTS = {
    "onet.onnx": "68b8e0eb4e6ef9ab2d0f15e398a32701dcc2834950eb6e4e33d7cbd57f2866bf",
    "pnet.onnx": "d58077997ec07ede973ab39bd67f91840b77fdaa388debe878bfe7be9377abd2",
    "recognition.onnx": "fce47544671359147e9c4d71e12b3c3749037d1c17564c62dc143b891ac3ead6",
    "rnet.onnx": "9e03bcc4a090aadfb1448e699a4acaf3186613acfc47e4caeb00dfbc9f221f1c",
}
LICENCES = {
    "LICENSE.faceplugin": "ceb7e9130f684a8e335940a09ccfb81c2fa18f6aa54975d656c54bb7992aee1a",
    "LICENSE.mtcnn": "6287063788d4261ea47148c9c7bc67129f3ae29bf6ee5550a37c035118681017",
}
PINS = {**WEIGHTS, **LICENCES}
MANIFEST = "pack.json"
SOURCES = [
    {
        "package": "npm:faceplugin-face-recognition-js@0.0.1",
        "files": ["recognition.onnx"],
        "licence": "MIT",
        "licence_file": "LICENSE.faceplugin",
    },
    {
        "package": "pypi:mtcnn@1.0.0",
        "files": ["onet.onnx", "pnet.onnx", "rnet.onnx"],
        "licence": "MIT",
        "licence_file": "LICENSE.mtcnn",
    },
]


def engine_id() -> str:
    """The name of the engine and the first 12 hex digits of the SHA-256 over its weights' digests, by file name."""
    lines = "".join(f"{name} {WEIGHTS[name]}\n" for name in sorted(WEIGHTS))
    return f"{NAME}@{hashlib.sha256(lines.encode()).hexdigest()[:12]}"


def engines_folder() -> Path:
    """Where packs live: the folder that LIAISON_ENGINES names, or `~/.local/share/liaison/engines`."""
    named = os.environ.get("LIAISON_ENGINES")
    return Path(named) if named else Path.home() / ".local" / "share" / "liaison" / "engines"


def pack_folder(engines: Path | None = None) -> Path:
    """Where this pack lives."""
    return (engines or engines_folder()) / NAME


def manifest() -> bytes:
    """The contents of `pack.json`: a function of the pins alone."""
    said = {
        "format": "liaison-engine/v1",
        "name": NAME,
        "engine_id": engine_id(),
        "files": {name: {"sha256": PINS[name]} for name in sorted(PINS)},
        "sources": SOURCES,
    }
    return (json.dumps(said, indent=2) + "\n").encode()


def verify_pack(folder: Path) -> dict[str, bytes]:
    """Read every file of the pack, check it, and return the contents by name.

    Raises ENGINE_MISSING if the folder is not there, ENGINE_DAMAGED (naming the file) if a file is missing, cannot be
    read, or is not the pinned one.
    """
    if not folder.is_dir():
        raise LiaisonError(Code.ENGINE_MISSING, f"There is no pack at {folder}.")
    files = {name: _read(folder / name) for name in (*PINS, MANIFEST)}
    for name, data in files.items():
        expected = hashlib.sha256(manifest()).hexdigest() if name == MANIFEST else PINS[name]
        check_digest(name, data, expected)
    return files


def check_digest(name: str, data: bytes, expected: str) -> None:
    """Raise ENGINE_DAMAGED, naming the file, unless the data has the expected SHA-256."""
    if hashlib.sha256(data).hexdigest() != expected:
        raise LiaisonError(Code.ENGINE_DAMAGED, f"{name} does not have the pinned SHA-256.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LiaisonError(Code.ENGINE_DAMAGED, f"{path.name} cannot be read.") from error


def install(folder: Path, gather: Callable[[], Mapping[str, bytes]]) -> bool:
    """Put the pack into its folder and return True, or return False if it is there already and whole.

    `gather` fetches the files that PINS names; they are checked again here. The folder appears whole or not at
    all: it is filled beside its place, synced and renamed. Raises ENGINE_DAMAGED if the folder is there but not
    whole: what an operator has there is not overwritten silently.
    """
    if folder.exists():
        verify_pack(folder)
        return False
    files = {**gather(), MANIFEST: manifest()}
    for name, expected in PINS.items():
        check_digest(name, files[name], expected)
    try:
        _publish(folder, files)
    except OSError as error:
        raise LiaisonError(
            Code.ENGINE_UNAVAILABLE, f"{folder} cannot be written: {error.strerror}."
        ) from error
    verify_pack(folder)
    return True


def _publish(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        beside.chmod(0o755)
        for name, data in files.items():
            _write(beside / name, data)
        _sync(beside)
        try:
            beside.rename(folder)
        except OSError:
            # Another process was quicker; the caller verifies what it left.
            if not folder.is_dir():
                raise
        _sync(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
