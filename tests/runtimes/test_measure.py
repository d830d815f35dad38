"""How measurements become figures."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from tests.contracts.networks import MISSING

from fit50.runtimes import measure as module
from fit50.runtimes import probe, runtime
from fit50.runtimes.base import Bundle, Images, Probabilities
from fit50.runtimes.measure import fresh_start, latency, measure, median_interval, peak_memory
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.runtimes.verify import sample
from fit50.spec.errors import BundleError, MissingExtraError, RuntimeRefusal, UserError
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Score
from fit50.weights.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return OnnxRuntime().export(checkpoint, tmp_path_factory.mktemp("measure") / "bundle")


@pytest.fixture(scope="module")
def pair(kinds: dict[str, Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return OnnxRuntime().export(kinds[MISSING[-1]], tmp_path_factory.mktemp("measure") / "pair")


def test_the_median_lies_within_its_interval_of_order_statistics() -> None:
    assert median_interval([5.0]) == (5.0, 5.0, 5.0)
    assert median_interval([2.0, 1.0]) == (1.5, 1.0, 2.0)
    assert median_interval([float(i) for i in reversed(range(100))]) == (49.5, 39.0, 60.0)


def test_the_interval_covers_the_true_median_in_95_of_100_samples_and_no_narrower_one_does() -> None:
    def coverage(count: int, low: float) -> float:
        return 1 - 2 * sum(math.comb(count, below) for below in range(int(low) + 1)) / 2**count

    for count in range(6, 300):
        median, low, high = median_interval([float(i) for i in range(count)])
        assert high - median == median - low
        assert coverage(count, low) >= 0.95 > coverage(count, low + 2)


def test_a_latency_is_over_rounds_and_its_percentiles_over_calls() -> None:
    rounds = [[10.0 * turn + call for call in range(11)] for turn in range(10)]
    found = latency(rounds)
    assert (found.median, found.low, found.high, found.n) == (50, 15, 85, 110)
    assert found.p90 is not None and found.p99 is not None
    assert found.median < found.p90 < found.p95 < found.p99 < 100
    assert latency(rounds[:9]).p99 is None, "of 99 calls it would be the slowest"


def test_of_nothing_there_are_no_scores() -> None:
    """As where every file was refused."""
    assert measure({}, 1) == {}


def test_a_slower_file_is_measured_as_slower_and_in_turns(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[tuple[float, int]] = []

    class Sleeper:
        def __init__(self, seconds: float) -> None:
            self._seconds = seconds

        def run(self, images: Images) -> Probabilities:
            turns.append((self._seconds, len(images)))
            time.sleep(self._seconds)
            return np.zeros((len(images), 4), np.float32)

    class Runtime:
        def open(self, bundle: Bundle, threads: int) -> Sleeper:
            return Sleeper(0.001 if bundle.folder.name == "fast" else 0.005)

    monkeypatch.setattr(module, "runtime", lambda name: Runtime())
    monkeypatch.setattr(Bundle, "size", 1.0)
    bundles = {"slow": bundle, "fast": Bundle(Path("fast"), bundle.manifest)}
    monkeypatch.setattr(module, "sample", lambda bundle, count: (np.zeros((count, 2, 2, 3), np.uint8),))
    progress: list[int] = []

    class Listener(Monitor):
        def progress(self, label: str, done: int, total: int) -> None:
            progress.append(done)

    scores = measure(bundles, 1, rounds=2, calls=3, batch=4, memory=False, monitor=Listener())
    slow, fast = scores["slow"], scores["fast"]
    assert slow.latency is not None
    assert slow.throughput is not None
    assert fast.latency is not None
    assert 5 <= slow.latency.median < 50
    assert 1 <= fast.latency.median < slow.latency.median
    assert slow.throughput.median <= 4 / 0.005
    slow_turn = [(0.005, 1)] * 5 + [(0.005, 4)] * 2
    fast_turn = [(0.001, 1)] * 5 + [(0.001, 4)] * 2
    assert turns == slow_turn + fast_turn + fast_turn + slow_turn, "each round starts with another file"
    assert progress == [1, 2]


def test_a_file_that_a_process_cannot_run_is_reported_in_one_line(bundle: Bundle, tmp_path: Path) -> None:
    broken = bundle.copy(tmp_path / "broken")
    broken.file(".onnx").write_bytes(b"junk")
    with pytest.raises(BundleError) as caught:
        peak_memory(broken, threads=1)
    assert str(caught.value).startswith(f"{broken.folder}: ONNX Runtime cannot read the model: ")
    assert "\n" not in str(caught.value)


def test_a_process_that_fails_is_reported_with_what_it_said(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"(?s)a fresh process could not run it:\n.*invalid literal for int"):
        fresh_start(bundle, threads="many")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error", [BundleError("it is broken"), MissingExtraError("running it", "openvino", "openvino")]
)
def test_the_process_says_what_the_user_can_mend_and_no_more(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: UserError
) -> None:
    def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr(probe, "runtime", refuse)
    with pytest.raises(SystemExit) as ended:
        probe.main(str(bundle.folder), "1")
    assert ended.value.code == 2
    assert capsys.readouterr() == (json.dumps({"error": str(error)}) + "\n", "")


def test_samples_are_golden_images_repeated(bundle: Bundle) -> None:
    (images,), _ = bundle.golden()
    assert np.array_equal(sample(bundle, 2), images[None, :2])
    assert np.array_equal(sample(bundle, 9), np.concatenate([images, images, images[:1]])[None])


def test_samples_of_two_inputs_stay_pairs(pair: Bundle) -> None:
    first, second = pair.golden()[0]
    assert np.array_equal(sample(pair, 5)[0], np.concatenate([first, first[:1]]))
    assert np.array_equal(sample(pair, 5)[1], np.concatenate([second, second[:1]]))


def test_a_fresh_process_runs_a_file_of_two_inputs(pair: Bundle) -> None:
    assert 20 < peak_memory(pair, threads=1) < 300
    assert fresh_start(pair, threads=1).milliseconds > 0


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"expected a bundle .* fit50 export makes one"):
        Bundle.open(tmp_path)
    with pytest.raises(BundleError, match="expected a bundle"):
        Bundle.open(tmp_path / "nowhere")


def test_a_broken_manifest_is_named(bundle: Bundle, tmp_path: Path) -> None:
    copy = bundle.copy(tmp_path / "copy")
    (copy.folder / "bundle.json").write_text("{ half", encoding="utf-8")
    with pytest.raises(BundleError, match=r"bundle\.json: expected a readable"):
        Bundle.open(copy.folder)


@pytest.mark.parametrize("field", ["gmacs", "activations"])
def test_a_manifest_whose_network_computes_nothing_is_named(bundle: Bundle, tmp_path: Path, field: str) -> None:
    copy = bundle.copy(tmp_path / "copy")
    manifest = copy.manifest.model_dump(mode="json") | {field: 0}
    (copy.folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BundleError, match=rf"bundle\.json: {field}: Input should be greater than 0"):
        Bundle.open(copy.folder)


def test_a_bundle_of_another_runtime_has_no_such_file(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"expected a \.xml file, found model\.onnx"):
        bundle.file(".xml")


def test_a_score_is_kept_in_the_manifest(bundle: Bundle, tmp_path: Path) -> None:
    from fit50.spec.machine import environment

    copy = bundle.copy(tmp_path / "copy")
    scored = copy.with_score(Score(size=1.5), environment(1))
    assert Bundle.open(copy.folder) == scored
    assert scored.manifest.score.size == 1.5
    assert scored.manifest.model_copy(update={"score": Score(), "environment": None}) == bundle.manifest


def test_a_copy_replaces_what_was_there(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "old").touch()
    copy = bundle.copy(tmp_path / "best")
    assert {f.name: f.read_bytes() for f in copy.folder.iterdir()} == {
        f.name: f.read_bytes() for f in bundle.folder.iterdir()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(RuntimeRefusal, match=r"'openvinno': unknown; did you mean 'openvino'\?"):
        runtime("openvinno")
    assert [runtime(name).name for name in ("openvino", "onnxruntime", "torch")] == [
        "openvino",
        "onnxruntime",
        "torch",
    ]
