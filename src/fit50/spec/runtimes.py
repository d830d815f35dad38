"""What the runtimes are called."""

from __future__ import annotations

from typing import Literal

Deployable = Literal["openvino", "onnxruntime", "onnxruntime-cuda", "executorch", "tensorrt"]
RuntimeName = Literal["openvino", "onnxruntime", "onnxruntime-cuda", "executorch", "tensorrt", "torch"]
"""What can be deployed, and ``torch``, the reference."""
