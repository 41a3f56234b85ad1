"""The engine: detection and template on one core, beside the bare onnxruntime calls on the very same inputs."""

from __future__ import annotations

from importlib import resources
from typing import Any
from unittest import mock

import cv2
import onnxruntime

from agency_node.engine import load_engine, open_picture
from bench.figures import Figure, paired_ratio
from demo.photographs import astronaut

_RUNS = 31


class _Recorded(onnxruntime.InferenceSession):  # type: ignore[misc]
    """A session that remembers its model and every input it was given."""

    calls: list[tuple[bytes, Any, Any]]

    def __init__(self, model: bytes, *arguments: Any, **options: Any) -> None:
        super().__init__(model, *arguments, **options)
        self.model = model

    def run(self, names: Any, feed: Any, *arguments: Any) -> Any:
        _Recorded.calls.append((self.model, names, feed))
        return super().run(names, feed, *arguments)


def run() -> list[Figure]:
    """One figure per picture."""
    cv2.setNumThreads(1)  # one core for both sides; onnxruntime is told so itself
    group = (resources.files("insightface") / "data" / "images" / "t1.jpg").read_bytes()
    return [_measure("astronaut, 1 face", astronaut()), _measure("group picture, 6 faces", group)]


def _measure(title: str, data: bytes) -> Figure:
    picture = open_picture(data)
    _Recorded.calls = []
    with mock.patch.object(onnxruntime, "InferenceSession", _Recorded):
        recorded = load_engine("mobilefacenet", threads=1)
        recorded.templates(picture, recorded.detect(picture))
    replay = [(_bare(model), names, feed) for model, names, feed in _Recorded.calls]
    engine = load_engine("mobilefacenet", threads=1)

    def ours() -> None:
        engine.templates(picture, engine.detect(picture))

    def bare() -> None:
        for session, names, feed in replay:
            session.run(names, feed)

    seconds, _, ratio = paired_ratio(ours, bare, _RUNS)
    return Figure("engine", title, seconds * 1000, "ms", "bare onnxruntime, same inputs", ratio, "<= 1.25")


_sessions: dict[bytes, onnxruntime.InferenceSession] = {}


def _bare(model: bytes) -> onnxruntime.InferenceSession:
    if model not in _sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        _sessions[model] = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return _sessions[model]
