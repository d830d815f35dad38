"""What the budget allows, before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fit50.nn.cost import cost
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.runtimes.place import Place
from fit50.search import feasible as module
from fit50.search.feasible import feasible, refuse_fractions
from fit50.search.space import WHOLE, Shape
from fit50.spec.errors import BudgetError, RuntimeRefusal, SpecError
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input, Network, Stem
from fit50.spec.numerics import Precision
from fit50.spec.outcome import Latency, Score
from fit50.spec.presets import EFFORTS, resnet
from fit50.spec.recipe import Quantize
from fit50.spec.request import Budget, Request

EFFORT = EFFORTS["quick"].model_copy(update={"keeps": (0.25, 0.5)})
NOWHERE = Path("nowhere")
ALL = (WHOLE, Shape(None, 0.5), Shape(None, 0.25))
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

        def scores(
            untrained: module._Untrained, precision: Precision, request: Request, *rest: object
        ) -> Mapping[str, Score]:
            keep = min((1, 0.5, 0.25), key=lambda keep: abs(keep - cost(untrained.network).gmacs / whole))
            asked.append((keep, precision))
            return by(keep, precision)

        monkeypatch.setattr(module, "_scores", scores)
        return asked

    return replace


def test_without_a_limit_on_costs_nothing_is_measured(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    asked = measured(lambda keep, kind: {"onnxruntime": score(1)})
    assert feasible(network, request(max_drop=0.5, min_accuracy=99), Place(), 1, NOWHERE, Monitor()) == ALL
    assert asked == []


def test_a_fraction_that_pruning_cannot_reach_is_refused(network: Network) -> None:
    with pytest.raises(SpecError, match=r"keep=0\.001 cannot be reached"):
        refuse_fractions(network, EFFORT.model_copy(update={"keeps": (0.5, 0.001)}))
    refuse_fractions(network, EFFORT)


def test_a_fraction_that_only_rounds_reach(network: Network) -> None:
    """Each may leave a tenth of a width."""
    wide = resnet((1, 1), widths=(256, 256), stem=Stem(kind="low-resolution", out=256))
    wide = wide.model_copy(update={"inputs": network.inputs})
    shape, twice = Shape(None, 0.005), EFFORT.model_copy(update={"rounds": 2})
    with pytest.raises(SpecError, match=r"keep=0\.005 cannot be reached"):
        module._untrained(wide, shape, EFFORT)
    small = module._untrained(wide, shape, twice).network
    assert cost(small).gmacs <= 0.005 * cost(wide).gmacs


def test_int8_by_training_is_measured_only_where_it_will_be_made(network: Network, tmp_path: Path) -> None:
    learned = EFFORT.model_copy(update={"int8": (Quantize(method="qat"),)})
    wish = request(size=1).model_copy(update={"effort": learned, "runtimes": ("executorch",)})
    form = module._untrained(network, WHOLE, learned)
    assert module._scores(form, "int8", wish, Place(), 1, tmp_path, {}) == {}


def test_all_fit_once_the_largest_does(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    asked = measured(lambda keep, kind: {"onnxruntime": score(4 * keep)})
    assert feasible(network, request(latency=4), Place(), 1, NOWHERE, Monitor()) == ALL
    assert asked == [(1, "float32")]


def test_fractions_too_slow_in_every_form_are_dropped(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    asked = measured(lambda keep, kind: {"onnxruntime": score(4 * keep * (0.5 if kind == "int8" else 1))})
    assert feasible(network, request(latency=1.2), Place(), 1, NOWHERE, Monitor()) == ALL[1:]
    forms = ("float32", "bf16", "fp16", "int8")
    assert asked == [*((1, form) for form in forms), *((0.5, form) for form in forms), (0.25, "float32")]


def test_a_precision_that_no_runtime_has_is_not_measured(network: Network) -> None:
    form = module._untrained(network, WHOLE, EFFORT)
    assert module._scores(form, "bf16", request(size=1), Place(), 1, NOWHERE, {}) == {}


def test_what_only_the_export_refuses_is_not_measured(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: object) -> None:
        raise RuntimeRefusal("onnxruntime: not this one")

    monkeypatch.setattr(OnnxRuntime, "export", refused)
    monkeypatch.delattr(Place, "measure")  # which may start something far away
    form, reasons = module._untrained(network, Shape(None, 0.5), EFFORT), {}
    assert module._scores(form, "int8", request(size=1), Place(), 1, tmp_path, reasons) == {}
    assert reasons == {"onnxruntime int8": "onnxruntime: not this one"}
    with pytest.raises(BudgetError, match="not made: onnxruntime: not this one"):
        feasible(network, request(size=1), Place(), 1, tmp_path, Monitor())
    assert list(tmp_path.iterdir()) == []


def test_one_runtime_that_fits_is_enough(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    measured(lambda keep, kind: {"onnxruntime": score(9), "openvino": score(1)})
    assert feasible(network, request(latency=1), Place(), 1, NOWHERE, Monitor()) == ALL


def test_a_budget_that_only_smaller_images_meet_is_met(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, float]] = []

    def scores(untrained: module._Untrained, precision: Precision, *rest: object) -> Mapping[str, Score]:
        made, side = untrained.network, untrained.network.inputs[0].height
        asked.append((side, round(cost(made).gmacs / cost(network.sized(side)).gmacs, 1)))
        return {"onnxruntime": score(1e3 * cost(made).gmacs, mb=cost(made).parameters / 1e5)}

    monkeypatch.setattr(module, "_scores", scores)
    effort = EFFORT.model_copy(update={"sizes": (4, 8), "keeps": (0.5,)})

    def found(**budget: float) -> tuple[Shape, ...]:
        asked.clear()
        wish = request(**budget).model_copy(update={"effort": effort})
        return feasible(network, wish, Place(), 1, NOWHERE, Monitor())

    whole = 1e3 * cost(network).gmacs
    assert found(latency=0.27 * whole) == (Shape(8, 1), Shape(8, 0.5), Shape(4, 1), Shape(4, 0.5))
    assert asked == [*[(16, 1.0)] * 4, *[(16, 0.5)] * 4, (8, 1.0)]
    size = cost(network).parameters / 1e5
    assert found(size=0.8 * size) == (Shape(None, 0.5), Shape(8, 0.5), Shape(4, 0.5))
    with pytest.raises(BudgetError, match=r"4 pixels, 50% of the GMACs, float32, onnxruntime\)(.|\n)*--effort\.sizes"):
        found(latency=1e-4 * whole)


def test_each_cost_is_a_limit(network: Network, measured: Callable[[Measured], list[tuple[float, str]]]) -> None:
    measured(lambda keep, kind: {"onnxruntime": score(1, mb=8 * keep, peak=100 * keep)})
    assert feasible(network, request(size=4), Place(), 1, NOWHERE, Monitor()) == ALL[1:]
    assert feasible(network, request(memory=25), Place(), 1, NOWHERE, Monitor()) == ALL[2:]


def test_where_none_fits_the_nearest_is_named(
    network: Network, measured: Callable[[Measured], list[tuple[float, str]]]
) -> None:
    measured(lambda keep, kind: {"onnxruntime": score(4 * keep * (0.5 if kind == "int8" else 1), mb=8 * keep)})
    with pytest.raises(BudgetError) as error:
        feasible(network, request(latency=0.1, size=1), Place(), 1, NOWHERE, Monitor())
    text = str(error.value)
    assert "latency: asked for 0.1 ms, the least measured is 0.5 ms (25% of the GMACs, int8, onnxruntime)" in text
    assert "size: asked for 1 MB, the least measured is 2 MB (25% of the GMACs, float32, onnxruntime)" in text
    assert "memory" not in text
    assert "nothing was trained" in text
    assert "smaller images" in text
    assert "remove nowhere to measure it again" in text
    with pytest.raises(BudgetError) as error:
        feasible(network, request(size=1), Place(), 1, NOWHERE, Monitor())
    assert "smaller images" not in str(error.value), "which have files of the same size"
    assert "busy" not in str(error.value)


def test_real_files_are_measured_once(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    figures = tmp_path / "figures"
    found = feasible(network, request(latency=1000, size=1000), Place(), 1, figures, Monitor())
    assert found == ALL
    assert list((tmp_path / "tmp").iterdir()) == []

    def never(*given: object, **named: object) -> None:
        raise AssertionError("this was measured before")

    with monkeypatch.context() as patch:
        patch.setattr(Place, "measure", never)
        patch.setattr(module, "compose", never)
        assert feasible(network, request(latency=2000), Place(), 1, figures, Monitor()) == found
        with pytest.raises(AssertionError, match="measured before"):
            feasible(network, request(latency=1000), Place(), 2, figures, Monitor())
    peak = Score(memory=300, latency=Latency(median=1, low=1, high=1, p95=1, n=1), size=1)
    monkeypatch.setattr(Place, "measure", lambda self, bundles, threads, **options: dict.fromkeys(bundles, peak))
    assert feasible(network, request(memory=400), Place(), 1, figures, Monitor()) == found, "memory was not known"
    (kept,) = figures.iterdir()
    assert Score.read(kept) == peak


def test_a_real_file_is_larger_in_float_than_in_int8_allows(network: Network, tmp_path: Path) -> None:
    form = module._untrained(network, Shape(None, 0.5), EFFORT)
    precisions: tuple[Precision, ...] = ("float32", "int8")
    scores = {
        precision: module._scores(form, precision, request(size=1), Place(), 1, tmp_path, {})["onnxruntime"]
        for precision in precisions
    }
    assert scores["int8"].size is not None
    assert scores["float32"].size is not None
    assert 0 < scores["int8"].size < scores["float32"].size
    assert scores["int8"].latency is not None
    assert scores["int8"].memory is None
    assert 0.4 < cost(form.network).gmacs / cost(network).gmacs <= 0.5
