"""The main job for a device that is not this machine: its processor, its figures, its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import openvino as ov
import pytest
import torch
from onnx.numpy_helper import to_array
from tests.photos import tiny_request, write_photos

from fit50 import optimize as module
from fit50.compress.sensitivity import int8_difference
from fit50.data.split import Split
from fit50.optimize import job_folder, optimize
from fit50.runtimes.base import Bundle, Images, Probabilities
from fit50.runtimes.place import Facts, Place
from fit50.spec.machine import environment
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Candidate, Difference, Latency, Outcome, Score, Throughput
from fit50.spec.request import Budget, Device, Request
from fit50.weights.checkpoint import Checkpoint


@dataclass
class Elsewhere(Place):
    """An old processor without VNNI, on which int8 files are fast, and answer the class after the right one's."""

    asked: list[tuple[str, ...]] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        here = environment().model_copy(update={"processor": "old", "isa": ("avx2",), "cores": 3})
        return Facts(environment=here, runtimes=("openvino", "onnxruntime"))

    def measure(  # type: ignore[override]
        self, bundles: Mapping[str, Bundle], threads: int, **options: object
    ) -> dict[str, Score]:
        assert threads == 3
        self.asked.append(tuple(bundles))
        scores = {}
        for name, bundle in bundles.items():
            ms = 1.0 if bundle.manifest.precision == "int8" else 2.0
            latency = Latency(median=ms, low=ms, high=ms, p95=ms, n=1)
            speed = Throughput(median=1, low=1, high=1, batch=1, n=1)
            scores[name] = Score(latency=latency, throughput=speed, size=bundle.size)
        return scores

    def answers(
        self, bundles: Mapping[str, Bundle], chunks: Iterable[tuple[Images, ...]], threads: int
    ) -> Iterator[dict[str, Probabilities]]:
        for found in super().answers(bundles, chunks, threads):
            yield {
                name: np.roll(each, 1, axis=1) if bundles[name].manifest.precision == "int8" else each
                for name, each in found.items()
            }


@pytest.fixture(scope="module")
def place() -> Elsewhere:
    return Elsewhere()


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """One network, both runtimes, and a latency that must be found feasible first."""
    tiny = tiny_request(write_photos(tmp_path_factory.mktemp("elsewhere") / "photos"))
    return tiny.model_copy(
        update={
            "device": Device(name="ssh://pi@camera"),
            "budget": Budget(latency=1.9, max_drop=100),
            "effort": tiny.effort.model_copy(update={"techniques": (), "keeps": ()}),
        }
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def outcome(place: Elsewhere, request_: Request, out: Path) -> Iterator[Outcome]:
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "place_of", lambda device, runtimes: place)
        patch.setattr("fit50.runtimes.base.has_int8_dot_product", lambda flags=("avx512_vnni",): "avx2" not in flags)

        def simulated(checkpoint: Checkpoint, learned: Split, judges: Split, weight_bits: Literal[7, 8]) -> Difference:
            place.bits.append(weight_bits)
            return int8_difference(checkpoint, learned, judges, weight_bits)

        patch.setattr(module, "int8_difference", simulated)
        yield optimize(request_, out, Monitor())
    torch.set_num_threads(before)


def by_form(outcome: Outcome) -> dict[tuple[str, str], Candidate]:
    return {(c.runtime, c.precision): c for c in outcome.candidates}


def test_what_the_processor_lacks_is_not_made(outcome: Outcome) -> None:
    """No half precision, and no torch for a reference."""
    runtimes = ("openvino", "onnxruntime")
    assert set(by_form(outcome)) == {(name, kind) for name in runtimes for kind in ("float32", "int8")}


def test_int8_weights_use_7_bits_in_files_of_their_own(outcome: Outcome, out: Path) -> None:
    folders = {form: out / str(candidate.bundle) for form, candidate in by_form(outcome).items()}
    graph = onnx.load(folders["onnxruntime", "int8"] / "model.onnx").graph
    arrays = [to_array(one) for one in graph.initializer if one.data_type == onnx.TensorProto.INT8 and one.dims]
    nodes = ov.Core().read_model(folders["openvino", "int8"] / "model.xml").get_ops()
    constants = [node for node in nodes if node.get_type_name() == "Constant"]
    others = [node.get_data() for node in constants if node.get_output_element_type(0) == ov.Type.i8]
    for weights in (arrays, others):
        assert 32 < max(int(np.abs(each.astype(int)).max()) for each in weights) <= 64
    assert [folders[name, "int8"].name for name in ("openvino", "onnxruntime")] == ["openvino-7bit", "onnxruntime-7bit"]
    assert folders["openvino", "float32"].name == "openvino"


def test_what_int8_would_cost_is_found_with_the_weights_of_that_processor(outcome: Outcome, place: Elsewhere) -> None:
    assert place.bits == [7] * len(outcome.trials)


def test_figures_and_facts_are_the_devices(outcome: Outcome, place: Elsewhere, request_: Request, out: Path) -> None:
    assert place.asked[0] == ("openvino", "onnxruntime"), "feasibility"
    assert set(place.asked[-1]) == {c.name for c in outcome.candidates}
    assert (outcome.environment.processor, outcome.environment.threads) == ("old", 3)
    best = Bundle.open(job_folder(request_, out) / "best").manifest
    assert best.environment == outcome.environment
    assert best.score.latency is not None and best.score.latency.median == 1


def test_the_choice_is_by_the_accuracy_there(outcome: Outcome, out: Path) -> None:
    chosen = next(c for c in outcome.candidates if c.verdict == "chosen")
    assert chosen.precision == "int8", "only int8 is within the latency"
    assert chosen.score.accuracy is not None
    assert chosen.against_baseline is not None and chosen.against_baseline.points != 0
    right = {form: c.score.accuracy.correct for form, c in by_form(outcome).items() if c.score.accuracy}
    assert right["onnxruntime", "float32"] == right["openvino", "float32"]
    assert right["onnxruntime", "int8"] != right["onnxruntime", "float32"]
    assert "in openvino, validation" in outcome.sentence or "in onnxruntime, validation" in outcome.sentence
