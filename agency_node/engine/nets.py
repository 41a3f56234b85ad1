"""The three networks of MTCNN as ONNX, built from the arrays that the `mtcnn` package carries.

The arrays are in Keras order: convolution kernels are H×W×in×out, dense kernels in×out, PReLU slopes 1×1×C or C.
ONNX convolutions want out×in×H×W. The flattened features of R-Net and O-Net run width first, then height, then
channel, which is what the transposition before `Flatten` restores.

Every input is float32 N×3×H×W in RGB, scaled by (x - 127.5) / 128. The bytes that come out are a function of the
arrays alone: names, order, opset and IR version are fixed, so the result can be pinned by its SHA-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Axes: TypeAlias = Sequence[int | str]
Weights: TypeAlias = Sequence[npt.NDArray[np.float32]]

OPSET = 17
IR_VERSION = 8
NEGLIGIBLE = 1e-15  # a weight below this leaves every template as it is, to the bit


class _Graph:
    """An ONNX graph that grows by one layer at a time."""

    def __init__(self, weights: Weights) -> None:
        from onnx import helper, numpy_helper

        self._helper = helper
        self._numpy_helper = numpy_helper
        self._weights = iter(weights)
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []

    def _next(self, name: str, axes: tuple[int, ...] = (), shape: tuple[int, ...] = ()) -> str:
        array = next(self._weights)
        array = array.transpose(axes) if axes else array
        array = array.reshape(shape) if shape else array
        little = np.ascontiguousarray(array, dtype="<f4")
        self._initializers.append(self._numpy_helper.from_array(little, name))
        return name

    def _add(self, op: str, name: str, *inputs: str, **attributes: object) -> str:
        self._nodes.append(self._helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, name: str, data: str) -> str:
        """Convolution without padding, stride 1."""
        kernel = self._next(f"{name}.kernel", axes=(3, 2, 0, 1))
        return self._add("Conv", name, data, kernel, self._next(f"{name}.bias"))

    def prelu(self, name: str, data: str) -> str:
        """PReLU with one slope a channel."""
        return self._add("PRelu", name, data, self._next(f"{name}.slope", shape=(-1, 1, 1)))

    def pool(self, name: str, data: str, size: int, *, same: bool) -> str:
        """Maximum pooling, stride 2; `same` pads at the end as Keras does."""
        padding = "SAME_UPPER" if same else "VALID"
        return self._add("MaxPool", name, data, kernel_shape=[size, size], strides=[2, 2], auto_pad=padding)

    def flatten(self, name: str, data: str) -> str:
        """N×C×H×W to N×(W·H·C)."""
        turned = self._add("Transpose", f"{name}.turned", data, perm=[0, 3, 2, 1])
        return self._add("Flatten", name, turned)

    def dense(self, name: str, data: str) -> str:
        """A fully connected layer."""
        kernel = self._next(f"{name}.kernel")
        return self._add("Gemm", name, data, kernel, self._next(f"{name}.bias"))

    def dense_prelu(self, name: str, data: str) -> str:
        """PReLU with one slope a feature."""
        return self._add("PRelu", name, data, self._next(f"{name}.slope"))

    def softmax(self, name: str, data: str) -> str:
        """Softmax over the channels."""
        return self._add("Softmax", name, data, axis=1)

    def model(self, name: str, size: Axes, outputs: dict[str, Axes]) -> bytes:
        """Close the graph and serialize it, the same bytes every time."""
        helper, floats = self._helper, 1  # the number of float32 in ONNX's list of types
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info("input", floats, ["n", 3, *size])],
            [helper.make_tensor_value_info(key, floats, shape) for key, shape in outputs.items()],
            self._initializers,
        )
        model = helper.make_model(
            graph,
            producer_name="liaison",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def build_pnet(weights: Weights) -> bytes:
    """P-Net, convolutional: outputs `boxes` (n, 4, h, w) and `scores` (n, 2, h, w), one cell per 2 pixels."""
    g = _Graph(weights)
    x = g.prelu("prelu1", g.conv("conv1", "input"))
    x = g.pool("pool1", x, 2, same=True)
    x = g.prelu("prelu2", g.conv("conv2", x))
    x = g.prelu("prelu3", g.conv("conv3", x))
    g.conv("boxes", x)
    g.softmax("scores", g.conv("logits", x))
    return g.model("pnet", ("h", "w"), {"boxes": ["n", 4, "oh", "ow"], "scores": ["n", 2, "oh", "ow"]})


def build_rnet(weights: Weights) -> bytes:
    """R-Net on 24×24 patches: outputs `boxes` (n, 4) and `scores` (n, 2)."""
    g = _Graph(weights)
    x = g.prelu("prelu1", g.conv("conv1", "input"))
    x = g.pool("pool1", x, 3, same=True)
    x = g.prelu("prelu2", g.conv("conv2", x))
    x = g.pool("pool2", x, 3, same=False)
    x = g.prelu("prelu3", g.conv("conv3", x))
    x = g.dense_prelu("prelu4", g.dense("fc4", g.flatten("flat", x)))
    g.dense("boxes", x)
    g.softmax("scores", g.dense("logits", x))
    return g.model("rnet", (24, 24), {"boxes": ["n", 4], "scores": ["n", 2]})


def build_onet(weights: Weights) -> bytes:
    """O-Net on 48×48 patches: outputs `boxes` (n, 4), `landmarks` (n, 10: all x, all y) and `scores` (n, 2)."""
    g = _Graph(weights)
    x = g.prelu("prelu1", g.conv("conv1", "input"))
    x = g.pool("pool1", x, 3, same=True)
    x = g.prelu("prelu2", g.conv("conv2", x))
    x = g.pool("pool2", x, 3, same=False)
    x = g.prelu("prelu3", g.conv("conv3", x))
    x = g.pool("pool3", x, 2, same=True)
    x = g.prelu("prelu4", g.conv("conv4", x))
    x = g.dense_prelu("prelu5", g.dense("fc5", g.flatten("flat", x)))
    g.dense("boxes", x)
    g.dense("landmarks", x)
    g.softmax("scores", g.dense("logits", x))
    return g.model("onet", (48, 48), {"boxes": ["n", 4], "landmarks": ["n", 10], "scores": ["n", 2]})


def quicken(model: bytes) -> bytes:
    """Set the weights of a model that are too small to matter to zero.

    The recognition network carries 190,000 weights under 1e-15, most of them denormal numbers, which a processor
    multiplies a hundred times slower than others: without them a template takes a seventh of the time, and its
    bits are the same. Everything else of the model stays as it is, but for notes of the exporter.
    """
    import onnx
    from onnx import numpy_helper

    graph_model = onnx.load_from_string(model)
    graph = graph_model.graph
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            kept = np.where(np.abs(values) < NEGLIGIBLE, np.float32(0), values)
            tensor.CopyFrom(numpy_helper.from_array(kept.astype("<f4"), tensor.name))
    for node in graph.node:
        node.ClearField("doc_string")
    data: bytes = graph_model.SerializeToString(deterministic=True)
    return data
