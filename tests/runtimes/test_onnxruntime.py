"""ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.numpy_helper import to_array
from tests.contracts.runtime import INT8, Int8Contract

from fit50.runtimes.base import Bundle, Calibration
from fit50.runtimes.onnxruntime import OnnxRuntime, OnnxSession
from fit50.weights.checkpoint import Checkpoint


class TestOnnxRuntime(Int8Contract):
    package, extra, memory = "onnxruntime", "onnxruntime", 300

    @pytest.fixture(scope="class")
    @classmethod
    def runtime(cls) -> OnnxRuntime:
        return OnnxRuntime()

    def test_the_threads_are_those_asked_for(self, bundle: Bundle) -> None:
        session = OnnxSession(ort, str(bundle.file(".onnx")), 2)
        assert session._session.get_session_options().intra_op_num_threads == 2

    @pytest.mark.parametrize(("sums_exactly", "largest"), [(True, 127), (False, 64)])
    def test_weights_have_7_bits_where_products_saturate(
        self,
        runtime: OnnxRuntime,
        checkpoint: Checkpoint,
        calibration: Calibration,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        sums_exactly: bool,
        largest: int,
    ) -> None:
        monkeypatch.setattr("fit50.runtimes.onnxruntime.has_int8_dot_product", lambda: sums_exactly)
        bundle = runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle", calibration)
        initializers = onnx.load(bundle.file(".onnx")).graph.initializer
        weights = [to_array(one) for one in initializers if one.data_type == onnx.TensorProto.INT8 and one.dims]
        assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) == largest
