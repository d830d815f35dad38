"""OpenVINO."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import nncf
import numpy as np
import openvino as ov
import pytest
from tests.contracts.networks import photographs
from tests.contracts.runtime import INT8, Int8Contract, truth
from tests.runtimes.conftest import broken

from fit50.runtimes import openvino
from fit50.runtimes.base import Bundle, Calibration, Images
from fit50.runtimes.openvino import OpenVino, OpenVinoSession
from fit50.spec.errors import BundleError, RuntimeRefusal, StorageError
from fit50.spec.machine import physical_cores
from fit50.spec.numerics import Half
from fit50.spec.request import Device
from fit50.weights.checkpoint import Checkpoint


class Enough(Exception):
    """Ends an export once the test has seen what it wants."""


class TestOpenVino(Int8Contract):
    package, extra, memory = "openvino", "openvino", 400

    @pytest.fixture(scope="class")
    @classmethod
    def runtime(cls) -> OpenVino:
        return OpenVino()

    def read_texts(self, folder: Path) -> dict[str, str]:
        texts = ov.Core().read_model(folder / "model.xml").get_rt_info("fit50").value
        return dict(texts)

    def test_computes_in_float32_in_the_threads_asked_for(self, bundle: Bundle, images: Images) -> None:
        compiled, asked = [], []

        class Core(ov.Core):
            def compile_model(self, model: Any, device: str, settings: dict[str, str]) -> Any:
                asked.append(settings["INFERENCE_PRECISION_HINT"])
                compiled.append(super().compile_model(model, device, settings))
                return compiled[-1]

        core = Core()
        session = OpenVinoSession(core, core.read_model(bundle.file(".xml")), 2)
        for count in (1, 3, 1):
            session.run(images[:count])
        assert len(compiled) == 2, "one for each batch size"
        assert asked == ["f32", "f32"], "where the processor has bf16, that is the default"
        for model in compiled:
            assert model.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
            assert model.get_property("INFERENCE_NUM_THREADS") == 2
            assert model.get_property("NUM_STREAMS") == 1
            assert model.input(0).partial_shape.is_static

    def test_another_precision_than_asked_for_is_refused(self, bundle: Bundle, images: Images) -> None:
        class Core(ov.Core):
            def compile_model(self, model: Any, device: str, settings: dict[str, str]) -> Any:
                return super().compile_model(model, device, settings | {"INFERENCE_PRECISION_HINT": "f32"})

        core = Core()
        session = OpenVinoSession(core, core.read_model(bundle.file(".xml")), 1, "fp16")
        with pytest.raises(RuntimeRefusal, match="expected to compute in f16, found that it takes f32 for it"):
            session.run(images[:1])

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_golden_answers_are_those_of_the_rounded_weights_on_any_processor(
        self,
        checkpoint: Checkpoint,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        precision: Literal["bf16", "fp16"],
    ) -> None:
        half = replace(checkpoint, numerics=Half(kind=precision))
        monkeypatch.setattr(openvino, "isa", lambda: ())
        bundle = OpenVino(("avx512_bf16", "avx512_fp16")).export(half, tmp_path / "bundle")
        core, (images, golden) = ov.Core(), bundle.golden()
        session = OpenVinoSession(core, core.read_model(bundle.file(".xml")), physical_cores())
        assert np.array_equal(session.run(*images), golden), "in float32, but with the weights of the file"
        assert 1e-6 < np.abs(golden - truth(checkpoint, *images)).max() < 0.01

    def test_bf16_is_refused_on_arm_whatever_the_processor_has(self, checkpoint: Checkpoint) -> None:
        arm = OpenVino(("asimd", "asimdhp", "bf16"))
        refusals = [arm.refusal(checkpoint.network, Device(), each) for each in ("bf16", "fp16", "float32")]
        assert refusals == [
            "openvino: it does not compute in bf16 on the processor (asimd, asimdhp, bf16); use float32",
            None,
            None,
        ]

    def test_half_precision_is_refused_where_the_processor_lacks_it(
        self, runtime: OpenVino, copy: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        half = copy.manifest.model_copy(update={"precision": "bf16"})
        (copy.folder / "bundle.json").write_text(half.model_dump_json(), encoding="utf-8")
        monkeypatch.setattr(openvino, "has_bf16", lambda flags: False)
        with pytest.raises(BundleError, match=r"it does not compute in bf16 on the processor \(.*\); use float32"):
            runtime.open(Bundle.open(copy.folder), threads=1)

    def test_a_write_that_openvino_fails_leaves_nothing(
        self, runtime: OpenVino, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(model: object, path: Path, **named: object) -> None:
            path.write_bytes(b"half")
            raise RuntimeError("basic_ios::clear: iostream error")

        monkeypatch.setattr(ov, "save_model", full)
        with pytest.raises(StorageError, match=r"bundle: OpenVINO cannot write the model .* the disk is full"):
            runtime.export(checkpoint, tmp_path / "bundle")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("sums_exactly", "fix"), [(True, nncf.OverflowFix.DISABLE), (False, nncf.OverflowFix.ENABLE)]
    )
    def test_weights_have_7_bits_where_products_saturate(
        self,
        runtime: OpenVino,
        checkpoint: Checkpoint,
        calibration: Calibration,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        sums_exactly: bool,
        fix: nncf.OverflowFix,
    ) -> None:
        seen = []

        def quantize(*given: object, advanced_parameters: Any, **named: object) -> None:
            seen.append(advanced_parameters.overflow_fix)
            raise Enough

        monkeypatch.setattr("fit50.runtimes.base.has_int8_dot_product", lambda flags=None: sums_exactly)
        monkeypatch.setattr(nncf, "quantize", quantize)
        with pytest.raises(Enough):
            runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle", calibration)
        assert seen == [fix]

    def test_layers_that_int8_breaks_are_left_in_float_and_named(
        self, runtime: OpenVino, checkpoint: Checkpoint, images: Images, tmp_path: Path
    ) -> None:
        form, calibration = broken(checkpoint, images, "layer1.0", "layer2.0", "layer3.0", "layer4.0")
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
        assert int(found[1]) == 18 - len(left)
        assert float(found[3]) > 30 >= float(found[4])
        assert calibration.accuracy(runtime.open(bundle, threads=1).run) >= 70

    def test_layers_that_are_faster_in_float_are_named(
        self, runtime: OpenVino, kinds: dict[str, Checkpoint], tmp_path: Path
    ) -> None:
        checkpoint = kinds["SE, Swish of beta 1.5, wide"]
        images = tuple(photographs(checkpoint.network))
        calibration = Calibration(images, images, np.zeros(len(images[0]), np.int64), max_drop=100)
        bundle = runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle", calibration)
        assert "faster in float: layer1.0.se" in bundle.manifest.provenance["int8"]
