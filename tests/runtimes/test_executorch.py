"""ExecuTorch. Making a program takes seconds, so that the contract is for the slow run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("executorch")

from tests.contracts.networks import KINDS, MISSING, network, photographs, stage
from tests.contracts.runtime import INT8, Int8Contract, truth
from tests.runtimes.conftest import trained

from fit50.runtimes.base import Bundle, Calibration, Runtime
from fit50.runtimes.executorch import BATCH, ExecuTorch, quiet
from fit50.runtimes.verify import verify
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.numerics import Half
from fit50.weights.checkpoint import Checkpoint


def texts(folder: Path) -> dict[str, str]:
    """What the file says of itself, read by ExecuTorch alone."""
    with quiet():
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(folder / "model.pte")
    return {name: program.load_method(name).execute([])[0] for name in program.method_names - {"forward"}}


@pytest.fixture(scope="module")
def tiny() -> Checkpoint:
    """Of one stage."""
    return trained(network(stage(1)))


@pytest.fixture(scope="module")
def made(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return ExecuTorch().export(tiny, tmp_path_factory.mktemp("tiny") / "bundle")


def test_answers_agree_with_torch_beyond_the_batch_of_the_file(tiny: Checkpoint, made: Bundle) -> None:
    (images,) = photographs(tiny.network, 2 * BATCH + 1)
    session = ExecuTorch().open(made, threads=1)
    for count in (1, BATCH, len(images)):
        assert np.abs(session.run(images[:count]) - truth(tiny, images[:count])).max() < 1e-4


def test_sessions_of_other_threads_take_turns(tiny: Checkpoint, made: Bundle) -> None:
    (images,) = photographs(tiny.network, 3)
    one, two = (ExecuTorch().open(made, threads=threads) for threads in (1, 2))
    for session, threads in ((one, 1), (two, 2), (one, 1)):
        assert np.abs(session.run(images) - truth(tiny, images)).max() < 1e-4
        assert one._library._threadpool_get_thread_count() == threads


def test_the_file_says_what_it_is_and_verifies(made: Bundle) -> None:
    assert texts(made.folder)["classes"] == '["cat", "dog", "owl", "yak"]'
    assert verify(made, threads=1).same_answers == 4


def test_half_precision_is_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(RuntimeRefusal, match="executorch: XNNPACK computes in float32 and int8 only here, found bf16"):
        ExecuTorch().export(replace(tiny, numerics=Half()), tmp_path / "bundle")


@pytest.mark.slow
class TestExecuTorch(Int8Contract):
    package, extra, training_extra, memory = "executorch", "executorch", "executorch", 1500

    @pytest.fixture(scope="class")
    @classmethod
    def runtime(cls) -> ExecuTorch:
        return ExecuTorch()

    def read_texts(self, folder: Path) -> dict[str, str]:
        return texts(folder)

    def test_int8_for_two_inputs(self, runtime: Runtime, kinds: dict[str, Checkpoint], tmp_path: Path) -> None:
        """XNNPACK does not open every network in int8, as is found when the file is made."""
        checkpoint, images = kinds[MISSING[-1]], tuple(photographs(KINDS[MISSING[-1]]))
        calibration = Calibration(images, images, np.zeros(len(images[0]), np.int64), max_drop=100)
        with pytest.raises(
            RuntimeRefusal, match=r"executorch: XNNPACK cannot run this network in int8 .* use openvino"
        ):
            runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle", calibration)
        assert list(tmp_path.iterdir()) == []
