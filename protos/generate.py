"""Generate the Python beside each .proto: `python -m protos.generate [--check]`.

The wire's package is `liaison.v1`; the Python package is `protos.liaison.v1`, so the one import line of a service's
file is pointed there.
"""

from __future__ import annotations

import re
import sys
import tempfile
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).parent
_IMPORT = re.compile(r"^from liaison\.v1 import ", re.MULTILINE)


def generate(out: Path) -> dict[str, bytes]:
    """Generated files by path relative to `protos/`."""
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("liaison/**/*.proto"))
    include = str(resources.files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{ROOT}", f"-I{include}"]
    arguments += [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main([*arguments, *sources]) != 0:
        raise SystemExit("protoc failed")
    files = {}
    for path in sorted(out.glob("liaison/**/*.py*")):
        text = _IMPORT.sub("from protos.liaison.v1 import ", path.read_text())
        if path.name.endswith("_pb2_grpc.py") and "\nclass " not in text:
            continue
        files[str(path.relative_to(out))] = text.encode()
    return files


def main() -> int:
    """Write the files, or with --check say which are not what they should be."""
    with tempfile.TemporaryDirectory() as scratch:
        files = generate(Path(scratch))
    stale = [
        name
        for name, data in files.items()
        if not (ROOT / name).exists() or (ROOT / name).read_bytes() != data
    ]
    if "--check" in sys.argv:
        for name in stale:
            sys.stderr.write(f"protos/{name} is not what `make proto` makes\n")
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).write_bytes(files[name])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
