"""ONNX Runtime."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.numpy_helper import to_array
from tests.contracts.networks import INPUT, network, photographs, stage
from tests.contracts.runtime import INT8, Int8Contract, truth
from tests.runtimes.conftest import broken, trained

from fit50.runtimes.base import Bundle, Calibration, Images
from fit50.runtimes.onnxruntime import OnnxRuntime, OnnxSession
from fit50.spec.network import Fusion
from fit50.weights.checkpoint import Checkpoint


class TestOnnxRuntime(Int8Contract):
    package, extra, memory = "onnxruntime", "onnxruntime", 300

    @pytest.fixture(scope="class")
    @classmethod
    def runtime(cls) -> OnnxRuntime:
        return OnnxRuntime()

    def read_texts(self, folder: Path) -> dict[str, str]:
        found: dict[str, str] = ort.InferenceSession(folder / "model.onnx").get_modelmeta().custom_metadata_map
        return found

    def test_the_file_tells_no_paths(self, bundle: Bundle) -> None:
        model = bundle.file(".onnx").read_bytes()
        assert b"stack_trace" not in model
        assert b".py" not in model

    def test_layers_that_int8_breaks_are_left_in_float_and_named(
        self, runtime: OnnxRuntime, checkpoint: Checkpoint, images: Images, tmp_path: Path
    ) -> None:
        form, calibration = broken(checkpoint, images, "layer1.0", "layer2.0")
        bundle = runtime.export(replace(form, numerics=INT8), tmp_path / "bundle", calibration)
        text = bundle.manifest.provenance["int8"]
        found = re.fullmatch(
            r"(\d+) of 18 layers; accuracy control left in float, as they cost the most accuracy: (.*) "
            r"\((.*) points lost without it, (.*) with it\)",
            text,
        )
        assert found, text
        left = found[2].split(", ")
        assert set(left) <= {name for name, _ in checkpoint.module().named_modules()}
        assert 9 <= int(found[1]) < 18
        assert float(found[3]) > calibration.max_drop >= float(found[4])
        assert calibration.accuracy(runtime.open(bundle, threads=1).run) >= 100 - calibration.max_drop

    def test_the_threads_are_those_asked_for(self, bundle: Bundle) -> None:
        session = OnnxSession(ort, str(bundle.file(".onnx")), 2)
        assert session._session.get_session_options().intra_op_num_threads == 2

    def test_an_input_may_be_called_as_the_graph_calls_an_inner_value(
        self, runtime: OnnxRuntime, tmp_path: Path
    ) -> None:
        inputs = tuple(INPUT.model_copy(update={"name": name}) for name in ("relu", "conv2d"))
        checkpoint = trained(network(stage(1), inputs=inputs, fusion=Fusion(width=4)))
        session = OnnxSession(ort, str(runtime.export(checkpoint, tmp_path / "bundle").file(".onnx")), 1)
        images = photographs(checkpoint.network)
        assert session._inputs == ["relu", "conv2d"]
        assert np.abs(session.run(*images) - truth(checkpoint, *images)).max() < 1e-4

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
        monkeypatch.setattr("fit50.runtimes.base.has_int8_dot_product", lambda flags=None: sums_exactly)
        bundle = runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle", calibration)
        initializers = onnx.load(bundle.file(".onnx")).graph.initializer
        weights = [to_array(one) for one in initializers if one.data_type == onnx.TensorProto.INT8 and one.dims]
        assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) == largest
