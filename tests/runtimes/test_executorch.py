"""ExecuTorch. Making a program takes seconds, so that the contract is for the slow run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("executorch")

from tests.contracts.networks import DEPTH, KINDS, RGB, network, photographs, stage
from tests.contracts.runtime import INT8, Int8Contract, truth
from tests.runtimes.conftest import trained

from fit50.nn.cost import cost
from fit50.runtimes.base import Bundle, Calibration, Images
from fit50.runtimes.executorch import BATCH, ExecuTorch, quiet
from fit50.runtimes.verify import verify
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.network import Fusion
from fit50.spec.numerics import Half
from fit50.weights.checkpoint import Checkpoint


def texts(folder: Path) -> dict[str, str]:
    """What the file says of itself, read by ExecuTorch alone."""
    with quiet():
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(folder / "model.pte")
    return {name: program.load_method(name).execute([])[0] for name in program.method_names - {"forward"}}


def unjudged(images: tuple[Images, ...]) -> Calibration:
    """With labels that mean nothing, so that the loss of int8 does not count."""
    return Calibration(images, images, np.zeros(len(images[0]), np.int64), max_drop=100)


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


def test_what_xnnpack_does_not_open_is_refused(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quiet():
        from fit50.runtimes import executorch_program

    monkeypatch.setattr(executorch_program, "lowered", lambda *given: b"no program")
    with pytest.raises(RuntimeRefusal, match=r"XNNPACK cannot run this network in float32 .* name the operator; use o"):
        ExecuTorch().export(tiny, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
class TestExecuTorch(Int8Contract):
    package, extra, training_extra, memory = "executorch", "executorch", "executorch", 1500

    @pytest.fixture(scope="class")
    @classmethod
    def runtime(cls) -> ExecuTorch:
        return ExecuTorch()

    def read_texts(self, folder: Path) -> dict[str, str]:
        return texts(folder)

    @pytest.mark.parametrize("kind", KINDS)
    def test_int8_of_every_kind_answers_nearly_as_float(
        self, runtime: ExecuTorch, kinds: dict[str, Checkpoint], tmp_path: Path, kind: str
    ) -> None:
        """All layers in int8; those that two inputs or two poolings share, too."""
        images = tuple(photographs(KINDS[kind]))
        made = runtime.export(replace(kinds[kind], numerics=INT8), tmp_path / "bundle", unjudged(images))
        assert re.fullmatch(r"(\d+) of \1 layers", made.manifest.provenance["int8"])
        expected = truth(kinds[kind], *images)
        difference = runtime.open(made, threads=1).run(*images) - expected
        assert 0 < np.sqrt(np.square(difference).mean()) < 0.75 * expected.std(0).max()

    def test_weights_that_two_inputs_share_are_stored_once(self, runtime: ExecuTorch, tmp_path: Path) -> None:
        wide = trained(network(stage(1), stage(2, inner=(128, 128), out=512), inputs=(RGB, DEPTH), fusion=Fusion()))
        images = tuple(photographs(wide.network))
        made = runtime.export(replace(wide, numerics=INT8), tmp_path / "bundle", unjudged(images))
        assert 1e6 * made.size < 1.5 * cost(wide.network).parameters
