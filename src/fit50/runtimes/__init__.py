"""Where deployed files run. This floor's light side needs numpy, pydantic and one runtime: no torch."""

from __future__ import annotations

from typing import get_args

from fit50.runtimes.base import Runtime
from fit50.runtimes.executorch import ExecuTorch
from fit50.runtimes.onnxruntime import OnnxCuda, OnnxRuntime
from fit50.runtimes.openvino import OpenVino
from fit50.runtimes.reference import TorchReference
from fit50.runtimes.tensorrt import TensorRt
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.runtimes import RuntimeName
from fit50.spec.value import suggestion


def runtime(name: str, flags: tuple[str, ...] | None = None) -> Runtime:
    """The runtime of that name, which is a ``RuntimeName``. Raises RuntimeRefusal.

    ``flags`` are the instruction sets of the processor that files are made for; by default this one's.
    """
    match name:
        case "openvino":
            return OpenVino(flags)
        case "onnxruntime":
            return OnnxRuntime(flags)
        case "onnxruntime-cuda":
            return OnnxCuda()
        case "executorch":
            return ExecuTorch()
        case "tensorrt":
            return TensorRt()
        case "torch":
            return TorchReference()
        case _:
            raise RuntimeRefusal(f"runtime {name!r}: unknown{suggestion(name, get_args(RuntimeName))}")
