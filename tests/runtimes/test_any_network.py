"""Whatever can be said runs in every runtime."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, given, settings
from tests.contracts.networks import photographs
from tests.contracts.runtime import truth
from tests.networks import networks
from tests.runtimes.conftest import CLASSES, trained

from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.runtimes.openvino import OpenVino
from fit50.spec.network import Classifier, Network


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks())
def test_any_network_agrees_with_torch(network: Network) -> None:
    network = network.model_copy(update={"head": Classifier(classes=len(CLASSES))})
    checkpoint, images = trained(network), photographs(network)
    expected = truth(checkpoint, *images)
    for runtime in (OnnxRuntime(), OpenVino()):
        with TemporaryDirectory() as folder:
            bundle = runtime.export(checkpoint, Path(folder) / "bundle")
            assert np.abs(runtime.open(bundle, threads=1).run(*images) - expected).max() < 1e-4
