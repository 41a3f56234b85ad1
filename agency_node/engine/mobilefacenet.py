"""The default engine: MTCNN finds and marks the faces, MobileFaceNet makes the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agency_node.engine import pack
from agency_node.engine.align import aligned
from agency_node.engine.base import Face, Template
from agency_node.engine.mtcnn import Mtcnn
from agency_node.engine.picture import Picture
from agency_node.engine.session import open_session


class MobileFaceNet:
    """The engine `mobilefacenet`; build it from the checked files of its pack."""

    name = pack.NAME
    dimension = 512

    def __init__(self, files: Mapping[str, bytes], threads: int | None = None) -> None:
        self._detector = Mtcnn(files, threads)
        self._network = open_session(files["recognition.onnx"], threads)

    @property
    def engine_id(self) -> str:
        """The name and the first 12 hex digits of a SHA-256 over the weights."""
        return pack.engine_id()

    def detect(self, picture: Picture) -> list[Face]:
        """Find the faces, from left to right."""
        return self._detector.detect(picture.pixels)

    def template(self, picture: Picture, face: Face) -> Template:
        """Make the template of one face: float32[512], of unit length."""
        # RGB, scaled to -1..1, as ArcFace networks are trained.
        crop = aligned(picture.pixels, face)[:, :, ::-1].transpose(2, 0, 1)
        planes = (np.ascontiguousarray(crop, dtype=np.float32) - 127.5) / 127.5
        (raw,) = self._network.run(["output"], {"input": planes[None]})
        values = np.asarray(raw[0], np.float32)
        return np.asarray(values / np.linalg.norm(values), np.float32)

    def templates(self, picture: Picture, faces: Sequence[Face]) -> list[Template]:
        """Make the templates one by one: a batch was measured to take as long a face, and up to a sixth longer."""
        return [self.template(picture, face) for face in faces]
