"""Opening an engine by its name."""

from __future__ import annotations

from pathlib import Path

from agency_node.engine import pack
from agency_node.engine.base import FaceEngine
from federation.errors import Code, LiaisonError


def load_engine(spec: str = pack.NAME, threads: int | None = None, engines: Path | None = None) -> FaceEngine:
    """Open an engine from its pack under `engines` (default: LIAISON_ENGINES, or the user's data folder).

    `spec` is an engine's name, or an engine id, which must then be that of the pack; `threads` bounds the threads of
    one call. Raises CONFIG_INVALID for an engine that there is not, ENGINE_MISSING for one that is not installed,
    ENGINE_DAMAGED (naming the file) for a pack that is not as pinned.
    """
    name, _, _ = spec.partition("@")
    if name != pack.NAME or spec not in (pack.NAME, pack.engine_id()):
        raise LiaisonError(
            Code.CONFIG_INVALID, f"`engine`: there is no engine {spec!r}; there is {pack.engine_id()}."
        )
    from agency_node.engine.mobilefacenet import MobileFaceNet

    return MobileFaceNet(pack.verify_pack(pack.pack_folder(engines)), threads)
