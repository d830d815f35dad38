"""torch, the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.contracts.runtime import INT8, RuntimeContract

from fit50.runtimes.base import Bundle, Calibration, Images
from fit50.runtimes.reference import TorchReference
from fit50.spec.errors import RuntimeRefusal
from fit50.weights.checkpoint import Checkpoint


class TestReference(RuntimeContract):
    package, extra, memory = "torch", "train", 1500

    @pytest.fixture(scope="class")
    @classmethod
    def runtime(cls) -> TorchReference:
        return TorchReference()

    def test_int8_is_refused(
        self, runtime: TorchReference, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
    ) -> None:
        with pytest.raises(RuntimeRefusal, match="runs float32 only, found int8"):
            runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle", calibration)
        assert list(tmp_path.iterdir()) == []

    def test_the_threads_are_those_asked_for(self, runtime: TorchReference, bundle: Bundle, images: Images) -> None:
        before = torch.get_num_threads()
        runtime.open(bundle, threads=2).run(images[:1])
        assert torch.get_num_threads() == 2
        torch.set_num_threads(before)
