"""The main job where int8 is also made by training through the rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from tests.listener import Listener
from tests.photos import tiny_request, write_photos

from fit50.compress import qat
from fit50.nn.cost import cost
from fit50.optimize import optimize
from fit50.runtimes.base import Bundle
from fit50.runtimes.qat import Rounding
from fit50.search.job import fewer_bits
from fit50.search.start import start_network
from fit50.search.trials import Trained, tried
from fit50.spec.errors import MissingExtraError, RuntimeRefusal
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Candidate, Outcome, Trial
from fit50.spec.recipe import Quantize
from fit50.spec.request import Budget, Request
from fit50.weights.checkpoint import Checkpoint


def request(data: Path) -> Request:
    tiny = tiny_request(data)
    int8 = (Quantize(), Quantize(method="qat", epochs=1, batch=8, lr=0.05))
    effort = tiny.effort.model_copy(update={"techniques": (), "int8": int8})
    return tiny.model_copy(update={"effort": effort, "budget": Budget(max_drop=100), "runtimes": ("onnxruntime",)})


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def heard() -> Listener:
    return Listener()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, out: Path, heard: Listener) -> Iterator[Outcome]:
    """Of a job in which the pruned network cannot be trained so."""
    before = torch.get_num_threads()
    asked = request(write_photos(tmp_path_factory.mktemp("qat") / "photos"))
    whole = cost(start_network(asked)).gmacs
    attempts: list[Checkpoint] = []

    def prepared(checkpoint: Checkpoint, saturates: bool) -> Rounding:
        if cost(checkpoint.network).gmacs < 0.75 * whole:
            attempts.append(checkpoint)
            raise RuntimeRefusal("qat: not this one")
        return Rounding(checkpoint, saturates)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fit50.runtimes.measure.peak_memory", lambda bundle, threads: 123.0)
        patch.setattr(qat, "Rounding", prepared)

        def trials(networks: Mapping[str, Trained], allowed: float) -> tuple[Trial, ...]:
            assert allowed == math.inf, "training through the rounding wins back what int8 would lose"
            return tried(networks, allowed)

        patch.setattr("fit50.optimize.tried", trials)
        yield optimize(asked, out, heard)
        assert len(attempts) == 1, "what was refused is not tried for each runtime"
    torch.set_num_threads(before)


def by_name(outcome: Outcome) -> dict[str, Candidate]:
    return {c.name: c for c in outcome.candidates}


def test_files_of_both_ways_are_measured(outcome: Outcome, out: Path) -> None:
    said = []
    for name in ("baseline onnxruntime int8", "baseline onnxruntime int8 qat"):
        candidate = by_name(outcome)[name]
        assert candidate.precision == "int8"
        assert candidate.score.accuracy is not None and candidate.score.latency is not None
        said.append(Bundle.open(out / str(candidate.bundle)).manifest.provenance["int8"])
    assert ["trained through the rounding" in words for words in said] == [False, True]


def test_what_was_trained_is_kept(outcome: Outcome, out: Path) -> None:
    kept = (out / "steps").glob("*/model.safetensors")
    (run,) = (path.parent for path in kept if Checkpoint.load(path).numerics.kind == "int8")
    events = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([line for line in events if '"event": "epoch"' in line]) == 1


def test_a_network_that_cannot_be_trained_so_is_refused_and_the_job_goes_on(outcome: Outcome) -> None:
    refused = by_name(outcome)["pruned to 50% onnxruntime int8 qat"]
    assert (refused.verdict, refused.reason) == ("refused", "qat: not this one")


def test_the_training_is_a_part_of_its_own(outcome: Outcome, heard: Listener) -> None:
    parts = [line for line in heard.said if line.startswith("[")]
    assert parts[-3:] == ["[3/5] pruned to 50%", "[4/5] int8 by training", "[5/5] export and measure"]


def test_only_where_products_saturate_is_the_training_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fit50.runtimes.base.has_int8_dot_product", lambda flags=("avx512_vnni",): "avx2" not in flags)
    asked = request(tmp_path)
    for flags, expected in ((("avx512_vnni",), False), (("avx2",), True)):
        ptq, learned = (step for step in fewer_bits(asked, flags) if step.to == "int8")
        assert (ptq.saturates, learned.saturates) == (False, expected)
        assert ptq.max_drop == learned.max_drop == 100


@pytest.mark.usefixtures("without_torchao")
def test_a_missing_extra_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"fit50\[qat\]"):
        optimize(request(tmp_path / "nothing"), tmp_path / "runs", Monitor())
    assert not (tmp_path / "runs").exists()
