"""Opening an ONNX model in onnxruntime so that an idle node stays small and quiet."""

from __future__ import annotations

import os
from typing import Any

# Read by onnxruntime while it loads: no usage events leave the agency.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def open_session(model: bytes, threads: int | None = None) -> Any:
    """Open a model from its bytes on the CPU.

    `threads` bounds the threads inside one call (None: onnxruntime decides). Threads do not spin while they wait, so
    that a node at rest gives its processor back. The arena stays with the session and spares each call a twentieth
    of its time; callers keep it small by small inputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Inputs change their size from call to call: a remembered plan would only hold memory.
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
