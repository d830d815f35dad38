"""Where deployed files run. This floor's light side needs numpy, pydantic and one runtime: no torch."""

from __future__ import annotations

from typing import get_args

from fit50.runtimes.base import Runtime, RuntimeName
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.runtimes.openvino import OpenVino
from fit50.runtimes.reference import TorchReference
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.value import suggestion


def runtime(name: str) -> Runtime:
    """The runtime of that name: ``openvino``, ``onnxruntime``, or ``torch``, the reference. Raises RuntimeRefusal."""
    match name:
        case "openvino":
            return OpenVino()
        case "onnxruntime":
            return OnnxRuntime()
        case "torch":
            return TorchReference()
        case _:
            raise RuntimeRefusal(f"runtime {name!r}: unknown{suggestion(name, get_args(RuntimeName))}")
