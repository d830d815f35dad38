"""The user's mistakes: exit code 2, one clear message, no traceback, nothing written where nothing should be."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Fit50
from tests.photos import write_photos

from fit50.pipeline import realise
from fit50.spec.errors import DataError, SpecError
from fit50.spec.network import Network
from fit50.spec.outcome import Latency, Score
from fit50.spec.request import Effort
from fit50.weights import foreign
from fit50.weights.checkpoint import Checkpoint


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for what is made, which is not there yet."""
    return tmp_path / "runs"


@pytest.fixture
def own(photos: Path, tmp_path: Path) -> Path:
    """A copy of the photos, to be broken."""
    return Path(shutil.copytree(photos, tmp_path / "own"))


def refused(fit50: Fit50, *words: str | Path) -> str:
    """The message of a command that ends with exit code 2 and leaves nothing in the folder where it was called."""
    ended = fit50(*words)
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("error:") == 1
    assert list(Path.cwd().iterdir()) == []
    return ended.err


def test_a_field_without_its_value_is_hinted_at(fit50: Fit50, tmp_path: Path) -> None:
    for verb, field in (("optimize", "effort.train.epochs"), ("train", "train.epochs")):
        assert refused(fit50, verb, tmp_path, "--epochs", "2").endswith(f" Did you mean --{field}?\n")


def test_a_missing_folder(fit50: Fit50, tmp_path: Path, out: Path) -> None:
    message = refused(fit50, "optimize", tmp_path / "nowhere", "--out", out)
    assert f"{tmp_path / 'nowhere'}: " in message
    assert not out.exists()


def test_a_folder_without_images(fit50: Fit50, tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "found no images" in refused(fit50, "optimize", tmp_path / "empty", "--out", out)
    assert not out.exists()


def test_one_class(fit50: Fit50, tmp_path: Path, out: Path) -> None:
    data = write_photos(tmp_path / "data", classes=("red",))
    assert "expected at least two class folders, found only 'red'" in refused(fit50, "optimize", data, "--out", out)
    assert not out.exists()


def test_an_empty_class(fit50: Fit50, own: Path, out: Path) -> None:
    (own / "yellow").mkdir()
    assert "expected images of the class 'yellow', found none" in refused(fit50, "optimize", own, "--out", out)
    assert not out.exists()


def test_only_unreadable_files(fit50: Fit50, own: Path, out: Path) -> None:
    for path in own.rglob("*.png"):
        path.write_bytes(b"no image")
    assert "expected images, found 60 files that are none" in refused(fit50, "optimize", own, "--out", out)
    assert not out.exists()


def test_a_class_of_unreadable_files(fit50: Fit50, own: Path, out: Path) -> None:
    for path in (own / "red").iterdir():
        path.write_bytes(b"no image")
    message = refused(fit50, "optimize", own, "--out", out)
    assert "class 'red': expected at least one usable image, found none in 20 files" in message
    assert not (out / "steps").exists()


def test_a_class_of_too_few_images(fit50: Fit50, own: Path, out: Path) -> None:
    for path in sorted((own / "red").iterdir())[2:]:
        path.unlink()
    assert "class 'red': expected at least 3 different images" in refused(fit50, "optimize", own, "--out", out)
    assert not (out / "steps").exists()


def test_a_budget_that_cannot_be_met(fit50: Fit50, config: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object, **named: object) -> None:
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr(realise, "train", never)
    figures = Score(latency=Latency(median=0.25, low=0.2, high=0.3, p95=0.3, n=1), size=1)
    monkeypatch.setattr("fit50.search.feasible._scores", lambda *given: {"openvino": figures})
    ended = fit50("optimize", "--config", config, "--latency", "1us", "--out", out)
    assert ended.code == 2
    assert "latency: asked for 0.001 ms, the least measured is 0.25 ms" in ended.err
    assert "nothing was trained" in ended.err
    assert "Traceback" not in ended.err
    assert {path.name for path in out.iterdir()} == {"cache"}, "a refused job has no folder"
    assert not list(out.rglob("*.safetensors"))


def test_a_fraction_that_the_classes_of_the_data_put_out_of_reach(
    fit50: Fit50, config: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def unreachable(network: Network, effort: Effort) -> None:
        asked.append(network.head.classes)
        if len(asked) == 2:
            raise SpecError("out of reach")

    monkeypatch.setattr("fit50.optimize.refuse_fractions", unreachable)
    ended = fit50("optimize", "--config", config, "--out", out)
    assert (ended.code, ended.err.endswith("error: out of reach\n")) == (2, True)
    assert asked == [2, 3], "before the data are read, and for their classes"
    assert {path.name for path in out.iterdir()} == {"cache"}, "a refused job has no folder"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--efort", "quick"), "--efort"),
        (("--effort", "qick"), "--effort 'qick': unknown; did you mean 'quick'?"),
        (("--latency", "five"), "error: budget.latency: expected a number such as 5ms, found 'five'"),
        (("--latency", "-5ms"), "error: budget.latency: expected a number greater than 0, such as 5ms, found '-5ms'"),
        (("--min-accuracy", "0.9"), "error: budget.min_accuracy: expected percent, found 0.9; did you mean 90?"),
        (("--set", "epocs=3"), "error: unknown field 'epocs'"),
        (("--latency", "5 parsecs"), "expected a number with a unit of us, µs, ms, s, found '5 parsecs'"),
        (("--latency", "0ms"), "latency"),
        (("--size", "5ms"), "expected a number with a unit of kb, mb, gb"),
        (("--threads", "0"), "threads"),
        (("--device", "gpu"), "device.name"),
        (("--network", "resnet51"), "network 'resnet51': unknown; did you mean"),
        (("--start", "nowhere.pth"), "nowhere.pth"),
        (("--set", "budget.latencyy=5"), "unknown field 'latencyy'; did you mean 'latency'?"),
        (("--set", "budget.latency"), "expected PATH=VALUE"),
        (("--set", "effort.train.epochs=many"), "epochs"),
        (("--effort.train.epochs", "{"), "expected a YAML value"),
        (("--set", "network.stages[9].name=x"), "expected [*] or an index below 4"),
        (("--set", "network.stages[*].blocks[*].attention=sse"), "attention"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--max-drop", "-1"), "max_drop"),
        (("--network", "m-mffnet"), "expected an image for each input of the network"),
        (("--network", "resnet101", "--start", "mine.pth"), "expected one of them, found both"),
        (("--set", "runtimes=[]"), "runtimes"),
        (("--set", "network.activation"), "expected PATH=VALUE"),
        (("--effort.train.teacher", "{after: 5}"), "teacher.after"),
        (("--effort.keeps", "[0.0001]"), "prune: keep=0.0001 cannot be reached"),
    ],
)
def test_a_wrong_option(fit50: Fit50, photos: Path, out: Path, words: tuple[str, ...], said: str) -> None:
    assert said in refused(fit50, "optimize", photos, "--out", out, *words)
    assert not out.exists()


def test_no_data(fit50: Fit50) -> None:
    assert "expected a folder of images, or fashion-mini, found none" in refused(fit50, "optimize")


@pytest.mark.parametrize("content", ["{", "effort: 3", "- a list"])
def test_a_broken_configuration(fit50: Fit50, tmp_path: Path, content: str) -> None:
    (tmp_path / "request.yaml").write_text(content, encoding="utf-8")
    assert "request.yaml" in refused(fit50, "optimize", "--config", tmp_path / "request.yaml")


@pytest.mark.parametrize("verb", ["prune", "quantize", "evaluate", "export"])
@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_weights_that_are_none(fit50: Fit50, photos: Path, tmp_path: Path, verb: str, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    data = [] if verb == "export" else [photos]
    assert "weights.safetensors" in refused(fit50, verb, path, *data)


@pytest.mark.parametrize("verb", ["verify", "predict", "benchmark"])
def test_a_bundle_that_is_none(fit50: Fit50, photos: Path, tmp_path: Path, verb: str) -> None:
    images = [photos / "red" / "000.png"] if verb == "predict" else []
    message = refused(fit50, verb, tmp_path / "nowhere", *images)
    assert f"{tmp_path / 'nowhere'}: expected a bundle" in message


def test_a_place_that_cannot_be_written(fit50: Fit50, config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = fit50("optimize", "--config", config, "--out", tmp_path / "file")
    assert ended.code == 2
    assert str(tmp_path / "file") in ended.err
    assert "choose another folder" in ended.err


def test_wrong_fields_of_pruning_and_training(fit50: Fit50, photos: Path, weights: Path) -> None:
    assert "unknown field 'kep'; did you mean 'keep'?" in refused(
        fit50, "prune", weights, photos, "--prune.kep", "0.5", "--dry-run"
    )
    assert "expected a field of prune or train" in refused(fit50, "prune", weights, photos, "--set", "x.y=1")
    assert "keep" in refused(fit50, "prune", weights, photos, "--keep", "1.5")
    assert "epochs" in refused(fit50, "train", photos, "--train.epochs", "0")
    assert "unknown" in refused(fit50, "train", photos, "--network", "resnet51")
    assert "epochs" in refused(fit50, "prune", weights, photos, "--recover", "-1")
    assert "seed" in refused(fit50, "prune", weights, photos, "--seed", "-1")
    assert "seed" in refused(fit50, "train", photos, "--seed", "-1")
    assert "image_size" in refused(fit50, "train", photos, "--image-size", "0")
    assert "samples" in refused(fit50, "quantize", weights, photos, "--samples", "0")
    assert "epochs would change nothing with method ptq" in refused(
        fit50, "quantize", weights, photos, "--quantize.epochs", "2"
    )


def test_what_a_runtime_cannot_do_is_said_before_the_data_is_read(fit50: Fit50, weights: Path, tmp_path: Path) -> None:
    asked = ("quantize", weights, tmp_path / "nowhere", "--output", tmp_path / "made", "--out", tmp_path / "runs")
    assert "int8 is not built yet" in refused(fit50, *asked, "--runtime", "tensorrt")
    assert "int8 by QAT is not built yet" in refused(fit50, *asked, "--runtime", "executorch", "--method", "qat")
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("without_torchao")
def test_what_quantize_lacks_is_said_before_the_data_is_read(
    fit50: Fit50, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("quantize", weights, tmp_path / "nowhere", "--output", tmp_path / "made", "--out", tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setattr("fit50.runtimes.place._installed", lambda name: name != "openvino")
        assert "this machine: expected the runtime openvino" in refused(fit50, *asked)
    assert "fit50[qat]" in refused(fit50, *asked, "--method", "qat")


def test_a_runtime_that_is_missing_is_said_before_the_data_is_read(
    fit50: Fit50, config: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fit50.runtimes.place._installed", lambda name: name != "tensorrt")
    said = refused(fit50, "optimize", "--config", config, "--set", "runtimes=[openvino, tensorrt]", "--out", out)
    assert "this machine: expected the runtime tensorrt" in said
    assert not out.exists()


def test_a_runtime_that_cannot_run_the_network_is_said_before_the_data_is_read(
    fit50: Fit50, config: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fit50.runtimes.openvino.OpenVino.refusal", lambda *given, **named: "openvino: not this one")
    assert "openvino: not this one" in refused(fit50, "optimize", "--config", config, "--out", out)
    assert not out.exists()


def test_options_of_a_training_that_is_left_out(fit50: Fit50, weights: Path, photos: Path) -> None:
    words = ("--recover", "0", "--train.optimizer.lr", "0.1")
    assert "expected no options of the training without one" in refused(fit50, "prune", weights, photos, *words)


def test_rounds_that_cannot_get_there_are_refused_before_the_first(fit50: Fit50, weights: Path, tmp_path: Path) -> None:
    words = ("--keep", "0.001", "--rounds", "3", "--prune.floor", "0.9")
    assert "cannot be reached" in refused(fit50, "prune", weights, tmp_path / "nowhere", *words)


def test_rounds_and_sizes_that_make_no_sense(fit50: Fit50, weights: Path, tmp_path: Path) -> None:
    verb = ("prune", weights, tmp_path / "nowhere")
    for words in (("--most", "1"), ("--depths", "1,1"), ("--keep", "0.5", "--prune.since", "1")):
        assert "expected keep, and no since, for 2 rounds" in refused(fit50, *verb, *words, "--rounds", "2")
    assert "--image-size: expected fewer pixels than the network's 16, found 16" in refused(
        fit50, *verb, "--image-size", "16", "--dry-run"
    )
    for words in (("--rounds", "2"), ("--of", "latency"), ("--prune.importance", "bn")):
        assert "found --image-size alone" in refused(fit50, *verb, "--image-size", "8", *words)
    assert "keep: Input should be greater than 0" in refused(fit50, *verb, "--image-size", "8", "--keep", "0")
    assert "Must be >= 1" in refused(fit50, *verb, "--rounds", "0")
    assert "expected at least the 12 pixels that the recovery trains at, found 8" in refused(
        fit50, *verb, "--image-size", "8", "--train.start_size", "12"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--keep", "0.5", "--prune.runtime", "onnxruntime", "--prune.of", "latency"),
        ("--keep", "0.5", "--prune.of", "latency", "--prune.runtime", "onnxruntime"),
        ("--depths", "1,1", "--prune.multiple", "8", "--prune.keep", "0.5"),
        ("--image-size", "8", "--prune.keep", "0.5"),
    ],
)
def test_options_of_pruning_go_together_in_any_order(fit50: Fit50, weights: Path, words: tuple[str, ...]) -> None:
    assert fit50("prune", weights, "nowhere", *words, "--dry-run").code == 0


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(("depths", "said"), [("9,9", "layer1 has 1 blocks"), ("1,1,1", "expected 2 numbers")])
def test_depths_that_a_network_has_not_are_refused_before_its_images_are_read(
    fit50: Fit50, weights: Path, tmp_path: Path, depths: str, said: str, dry: tuple[str, ...]
) -> None:
    assert said in refused(fit50, "prune", weights, tmp_path / "nowhere", "--depths", depths, *dry)


def test_pruning_reads_its_weights_once_before_the_recipe_does(
    fit50: Fit50, photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, real = [], foreign.load_weights

    def load(path: Path) -> Checkpoint:
        loaded.append(path)
        return real(path)

    def enough(*given: object, **named: object) -> None:
        raise DataError("enough")

    monkeypatch.setattr(foreign, "load_weights", load)
    monkeypatch.setattr(realise, "realise", enough)
    ended = fit50("prune", weights, photos, "--output", tmp_path / "made", "--out", tmp_path / "runs")
    assert ended.err.endswith("error: enough\n")
    assert loaded == [weights]


def test_weights_for_other_classes(fit50: Fit50, own: Path, weights: Path, tmp_path: Path) -> None:
    (own / "red").rename(own / "violet")
    for verb in ("prune", "quantize"):
        said = refused(fit50, verb, weights, own, "--output", tmp_path / "made", "--out", tmp_path / "runs")
        assert "expected the data's classes blue, green, violet, found blue, green, red" in said
    assert not (tmp_path / "made").exists()


def test_weights_whose_splits_were_drawn_from_another_seed(
    fit50: Fit50, config: Path, weights: Path, out: Path, tmp_path: Path
) -> None:
    checkpoint = Checkpoint.load(weights)
    start = tmp_path / "start.safetensors"
    replace(checkpoint, provenance={"seed": "3", "dataset": "another"}).save(start)
    said = refused(fit50, "optimize", "--config", config, "--start", start, "--out", out)
    assert "trained with splits drawn from seed 3, found seed 0" in said
    assert not (out / "steps").exists()


def test_an_output_that_is_a_folder(fit50: Fit50, photos: Path, tmp_path: Path) -> None:
    assert "expected a file to write, found a folder" in refused(fit50, "train", photos, "--output", tmp_path)


@pytest.mark.parametrize(
    "asked",
    [
        ("prune", "--recover", "0", "--prune.multiple", "4", "--keep", "0.5"),
        ("prune", "--recover", "0", "--image-size", "12"),
        ("morph", "--depths", "2,1"),
    ],
)
def test_an_output_that_holds_something_else(
    asked: tuple[str, ...], fit50: Fit50, weights: Path, photos: Path, tmp_path: Path
) -> None:
    """What the same command wrote before may be written again."""
    output = tmp_path / "new.safetensors"
    common = (weights, photos, "--output", output, "--out", tmp_path / "runs")
    verb, *options = asked
    for _ in range(2):
        assert fit50(verb, *common, *options).code == 0
    before = output.read_bytes()
    ended = fit50("prune", *common, "--recover", "0", "--prune.multiple", "4", "--keep", "0.8")
    assert (ended.code, "expected a new file, found one that holds something else" in ended.err) == (2, True)
    assert output.read_bytes() == before
    output.write_bytes(b"precious")
    assert fit50(verb, *common, *options).code == 2
    assert output.read_bytes() == b"precious"


@pytest.mark.parametrize("verb", ["verify", "benchmark", "predict"])
def test_too_few_threads(fit50: Fit50, tmp_path: Path, verb: str) -> None:
    images = (tmp_path / "a.png",) if verb == "predict" else ()
    assert "threads" in refused(fit50, verb, tmp_path, *images, "--threads", "0")
