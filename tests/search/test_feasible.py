"""What the budget allows, before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fit50.nn.cost import cost
from fit50.search import feasible as module
from fit50.search.feasible import feasible
from fit50.spec.errors import BudgetError, SpecError
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network, Stem
from fit50.spec.numerics import Numerics
from fit50.spec.outcome import Latency, Score
from fit50.spec.presets import EFFORTS, resnet
from fit50.spec.request import Budget, Request
from fit50.weights.checkpoint import Checkpoint

EFFORT = EFFORTS["quick"].model_copy(update={"keeps": (0.25, 0.5)})
Measured = Callable[[float, str], Mapping[str, Score]]


@pytest.fixture
def network() -> Network:
    image = Input(height=16, width=16, resize="stretch")
    made = resnet((1, 1), widths=(64, 64), stem=Stem(kind="low-resolution", out=64))
    return made.model_copy(update={"inputs": (image,), "head": made.head.model_copy(update={"classes": 3})})


def request(**budget: float | None) -> Request:
    return Request(data="photos", effort=EFFORT, budget=Budget(**budget), runtimes=("onnxruntime",))  # type: ignore[arg-type]


def score(ms: float, mb: float = 1.0, peak: float | None = None) -> Score:
    return Score(latency=Latency(median=ms, low=ms, high=ms, p95=ms, n=1), size=mb, memory=peak)


@pytest.fixture
def measured(network: Network, monkeypatch: pytest.MonkeyPatch) -> Callable[[Measured], list[tuple[float, str]]]:
    """Replaces the measurement by a function of the fraction of GMACs and the precision; notes what is asked."""
    whole = cost(network).gmacs

    def replace(by: Measured) -> list[tuple[float, str]]:
        asked: list[tuple[float, str]] = []

        def scores(checkpoint: Checkpoint, numerics: Numerics, request: Request, threads: int) -> Mapping[str, Score]:
            keep = min((1, 0.5, 0.25), key=lambda keep: abs(keep - cost(checkpoint.network).gmacs / whole))
            asked.append((keep, numerics.kind))
            return by(keep, numerics.kind)

        monkeypatch.setattr(module, "_scores", scores)
        return asked

    return replace


def test_without_a_limit_on_costs_nothing_is_measured(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    asked = measured(lambda keep, kind: {"onnxruntime": score(1)})
    assert feasible(network, request(max_drop=0.5, min_accuracy=99), 1, Monitor()) == (1.0, 0.5, 0.25)
    assert asked == []


def test_a_fraction_that_pruning_cannot_reach_is_refused_at_once(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    asked = measured(lambda keep, kind: {"onnxruntime": score(1)})
    wish = request(max_drop=1)
    wish = wish.model_copy(update={"effort": EFFORT.model_copy(update={"keeps": (0.5, 0.001)})})
    with pytest.raises(SpecError, match=r"keep=0\.001 cannot be reached"):
        feasible(network, wish, 1, Monitor())
    assert asked == []


def test_all_fit_once_the_largest_does(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    asked = measured(lambda keep, kind: {"onnxruntime": score(4 * keep)})
    assert feasible(network, request(latency=4), 1, Monitor()) == (1.0, 0.5, 0.25)
    assert asked == [(1, "float32")]


def test_fractions_too_slow_in_every_form_are_dropped(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    asked = measured(lambda keep, kind: {"onnxruntime": score(4 * keep * (0.5 if kind == "int8" else 1))})
    assert feasible(network, request(latency=1.2), 1, Monitor()) == (0.5, 0.25)
    forms = ("float32", "bf16", "fp16", "int8")
    assert asked == [*((1, form) for form in forms), *((0.5, form) for form in forms), (0.25, "float32")]


def test_a_precision_that_no_runtime_has_is_not_measured(network: Network) -> None:
    form = module._untrained(network, 1)
    assert module._scores(form, module.Half(kind="bf16"), request(size=1), 1) == {}


def test_one_runtime_that_fits_is_enough(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    measured(lambda keep, kind: {"onnxruntime": score(9), "openvino": score(1)})
    assert feasible(network, request(latency=1), 1, Monitor()) == (1.0, 0.5, 0.25)


def test_each_cost_is_a_limit(network: Network, measured: Callable[[Measured], list[tuple[float, str]]]) -> None:
    measured(lambda keep, kind: {"onnxruntime": score(1, mb=8 * keep, peak=100 * keep)})
    assert feasible(network, request(size=4), 1, Monitor()) == (0.5, 0.25)
    assert feasible(network, request(memory=25), 1, Monitor()) == (0.25,)


def test_where_none_fits_the_nearest_is_named(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    measured(lambda keep, kind: {"onnxruntime": score(4 * keep * (0.5 if kind == "int8" else 1), mb=8 * keep)})
    with pytest.raises(BudgetError) as error:
        feasible(network, request(latency=0.1, size=1), 1, Monitor())
    text = str(error.value)
    assert "latency: asked for 0.1 ms, the least measured is 0.5 ms (25% of the GMACs, int8, onnxruntime)" in text
    assert "size: asked for 1 MB, the least measured is 2 MB (25% of the GMACs, float32, onnxruntime)" in text
    assert "memory" not in text
    assert "nothing was trained" in text


def test_real_files_are_measured_and_leave_nothing(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = feasible(network, request(latency=1000, size=1000), 1, Monitor())
    assert found == (1.0, 0.5, 0.25)
    assert list(tmp_path.iterdir()) == []


def test_a_real_file_is_larger_in_float_than_in_int8_allows(network: Network) -> None:
    form = module._untrained(network, 0.5)
    scores = {
        numerics.kind: module._scores(form, numerics, request(size=1), 1)["onnxruntime"]
        for numerics in (module.Float32(), module._INT8)
    }
    assert scores["int8"].size is not None
    assert scores["float32"].size is not None
    assert 0 < scores["int8"].size < scores["float32"].size
    assert scores["int8"].latency is not None
    assert scores["int8"].memory is None
    assert 0.4 < cost(form.network).gmacs / cost(network).gmacs <= 0.5
