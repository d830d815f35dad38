"""Every verb on a tiny network."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.cli.conftest import Fit50
from tests.report.conftest import make_candidate, make_outcome

from fit50.compress.quantize import calibration
from fit50.data.dataset import Dataset
from fit50.data.decode import fit_image, read_image
from fit50.nn.compose import compose
from fit50.nn.cost import cost
from fit50.optimize import job_folder
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Calibration
from fit50.spec.errors import DataError
from fit50.spec.outcome import Outcome
from fit50.spec.presets import NETWORKS, resnet
from fit50.spec.request import Request
from fit50.weights.checkpoint import Checkpoint


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def facts(text: str) -> dict[str, Any]:
    """The one JSON object that was printed."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_zoo(fit50: Fit50) -> None:
    networks = facts(fit50("zoo", "--no-latency", "--json").out)["networks"]
    assert [each["network"] for each in networks] == list(NETWORKS)
    (resnet50,) = [each for each in networks if each["network"] == "resnet50"]
    assert resnet50["parameters"] == 25_557_032
    assert "25,557,032" in fit50("zoo", "--no-latency").out


def test_zoo_measures(fit50: Fit50) -> None:
    found = facts(fit50("zoo", "resnet18", "--json").out)
    (resnet18,) = found["networks"]
    assert resnet18["latency"]["median"] > 0
    assert resnet18["latency"]["n"] == 15
    assert "resnet18" in fit50("zoo", "resnet18", "--runtime", "onnxruntime").out
    ended = fit50("zoo", "resnet49")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean" in ended.err


def test_verify(fit50: Fit50, bundle: Path) -> None:
    assert facts(fit50("verify", bundle, "--json").out)["same_answers"] == 4
    ended = fit50("verify", bundle)
    assert ended.code == 0
    assert "files unchanged; 4 of 4 golden answers the same" in ended.out


def test_verify_of_a_changed_file(fit50: Fit50, bundle: Path, tmp_path: Path) -> None:
    copy = Bundle.open(bundle).copy(tmp_path / "copy")
    with copy.file(".onnx").open("ab") as file:
        file.write(b"x")
    ended = fit50("verify", copy.folder)
    assert ended.code == 2
    assert "the file was changed" in ended.err
    assert ended.out == ""


def test_predict(fit50: Fit50, bundle: Path, photos: Path) -> None:
    first, second = photos / "red" / "000.png", photos / "blue" / "000.png"
    answers = facts(fit50("predict", bundle, first, second, "--top", "2", "--json").out)["images"]
    assert [each["image"] for each in answers] == [str(first), str(second)]
    for each in answers:
        chances = [found["probability"] for found in each["classes"]]
        assert len(chances) == 2
        assert chances == sorted(chances, reverse=True)
    everything = facts(fit50("predict", bundle, first, "--json").out)["images"][0]["classes"]
    assert sum(found["probability"] for found in everything) == pytest.approx(1, abs=1e-5)
    assert fit50("predict", bundle, first).out.startswith(f"{first}: {everything[0]['name']} ")


def test_predict_of_pairs(fit50: Fit50, pairs: Path, photos: Path) -> None:
    first, second = photos / "red" / "000.png", photos / "blue" / "000.png"
    answers = facts(fit50("predict", pairs, first, second, second, first, "--json").out)["images"]
    assert [each["images"] for each in answers] == [[str(first), str(second)], [str(second), str(first)]]
    assert answers[0]["classes"] != answers[1]["classes"]
    opened = Bundle.open(pairs)
    rgb, thermal = (
        fit_image(read_image(path), image)[None]
        for path, image in zip((first, second), opened.manifest.network.inputs, strict=True)
    )
    (expected,) = runtime("torch").open(opened, threads=1).run(rgb, thermal)
    found = {each["name"]: each["probability"] for each in answers[0]["classes"]}
    assert [found[name] for name in opened.manifest.classes] == pytest.approx(expected.tolist(), abs=1e-6)
    assert fit50("predict", pairs, first, second).out.startswith(f"{first} {second}: ")


def test_predict_of_half_a_pair(fit50: Fit50, pairs: Path, photos: Path) -> None:
    image = photos / "red" / "000.png"
    ended = fit50("predict", pairs, image, image, image)
    assert ended.code == 2
    assert "expected images in groups of 2 (rgb thermal), found 3; give one for each input" in ended.err
    assert ended.out == ""


def test_predict_of_a_pair_with_one_missing(fit50: Fit50, pairs: Path, photos: Path, tmp_path: Path) -> None:
    image, black = photos / "red" / "000.png", tmp_path / "black.png"
    Image.new("RGB", (16, 16)).save(black)
    ended = fit50("predict", pairs, image, "none", "none", image, "--json")
    if not Bundle.open(pairs).manifest.network.fusion.modality_dropout:
        assert ended.code == 2
        assert "thermal: expected an image, found none; the network never trained without one" in ended.err
        return
    found = facts(ended.out)["images"]
    zeros = facts(fit50("predict", pairs, image, black, black, image, "--json").out)["images"]
    assert [each["images"] for each in found] == [[str(image), "none"], ["none", str(image)]]
    assert [each["classes"] for each in found] == [each["classes"] for each in zeros]
    ended = fit50("predict", pairs, "none", "none")
    assert ended.code == 2
    assert "expected an image for at least one of rgb thermal, found none for each" in ended.err


def test_of_one_input_no_image_may_be_missing(fit50: Fit50, bundle: Path) -> None:
    ended = fit50("predict", bundle, "none")
    assert ended.code == 2
    assert "none: expected a readable file" in ended.err
    assert fit50("predict", bundle).code == 2


@pytest.mark.parametrize("content", [None, b"no image"])
def test_predict_of_what_is_no_image(fit50: Fit50, bundle: Path, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "photo.jpg").write_bytes(content)
    ended = fit50("predict", bundle, tmp_path / "photo.jpg")
    assert ended.code == 2
    assert "photo.jpg" in ended.err
    assert "Traceback" not in ended.err


def test_predict_of_a_folder(fit50: Fit50, bundle: Path, photos: Path) -> None:
    ended = fit50("predict", bundle, photos / "red")
    assert ended.code == 2
    assert ended.err == (
        f"error: {photos}/red: expected image files, found a folder; name the files in it, such as {photos}/red/*.jpg\n"
    )


def test_evaluate_a_bundle_and_its_weights(fit50: Fit50, bundle: Path, weights: Path, photos: Path) -> None:
    of_file = facts(fit50("evaluate", bundle, photos, "--json").out)
    of_module = facts(fit50("evaluate", weights, photos, "--json").out)
    assert of_file == of_module
    assert (of_file["split"], of_file["n"]) == ("val", 9)
    assert fit50("evaluate", bundle, photos, "--split", "test").out.startswith("test accuracy ")


def test_evaluate_on_other_classes(fit50: Fit50, bundle: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "other")
    (tmp_path / "other" / "red").rename(tmp_path / "other" / "yellow")
    ended = fit50("evaluate", bundle, tmp_path / "other")
    assert ended.code == 2
    assert "expected the model's classes blue, green, red, found blue, green, yellow" in ended.err


def test_export(fit50: Fit50, weights: Path, tmp_path: Path) -> None:
    found = facts(fit50("export", weights, "--runtime", "torch", "--output", tmp_path / "made", "--json").out)
    made = Bundle.open(tmp_path / "made")
    assert found == {"bundle": str(tmp_path / "made"), "size_mb": made.size}
    assert (made.manifest.runtime, made.manifest.classes) == ("torch", ("blue", "green", "red"))


def test_prune_to_depths(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    known = Checkpoint.load(weights)
    deep = resnet((3, 1), widths=(8, 8)).model_copy(update={"inputs": known.network.inputs, "head": known.network.head})
    Checkpoint(deep, compose(deep).state_dict(), known.classes).save(tmp_path / "deep.safetensors")
    output = tmp_path / "pruned.safetensors"
    ended = fit50(
        *("prune", tmp_path / "deep.safetensors", photos, "--depths", "2,1", "--recover", "0"),
        *("--output", output, "--out", tmp_path / "runs", "--json"),
    )
    assert ended.code == 0, ended.err
    after = Checkpoint.load(output).network
    assert [len(stage.blocks) for stage in after.stages] == [2, 1]
    assert after.stages[0].blocks == deep.stages[0].blocks[:2], "no channels leave unasked"


def test_prune_to_so_many_parameters(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    output, most = tmp_path / "pruned.safetensors", 0.8 * cost(Checkpoint.load(weights).network).parameters / 1e6
    ended = fit50(
        *("prune", weights, photos, "--of", "parameters", "--most", most, "--recover", "0", "--prune.multiple", "2"),
        *("--output", output, "--out", tmp_path / "runs", "--json"),
    )
    assert ended.code == 0, ended.err
    found = facts(ended.out)
    assert 0.6 * most < found["parameters"] / 1e6 <= most
    assert found["damage"]["comparison"]["old"] == facts(fit50("evaluate", weights, photos, "--json").out)["accuracy"]
    assert "prune, before recovery: validation accuracy" in ended.err


def test_prune_in_rounds_and_to_smaller_images(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "pruned.safetensors", Checkpoint.load(weights).network
    asked = ("prune", weights, photos, "--image-size", "12", "--keep", "0.5", "--rounds", "2", "--recover", "1")
    ended = fit50(*asked, "--train.batch", "8", "--output", output, "--out", tmp_path / "runs", "--json")
    assert ended.code == 0, ended.err
    found, after = facts(ended.out), Checkpoint.load(output).network
    assert after.inputs[0].height == 12
    assert 0.35 < found["gmacs"] / cost(whole.sized(12)).gmacs <= 0.5
    compared = found["damage"]["comparison"]
    for which, model in (("old", weights), ("new", output)):
        judged = fit50("evaluate", model, photos, "--json")
        assert compared[which] == facts(judged.out)["accuracy"], "each by its own images"
    assert facts(judged.out)["trained_with_these_splits"]
    made = tmp_path / "int8"
    common = ("--max-drop", "100", "--samples", "8", "--out", tmp_path / "runs")
    assert fit50("quantize", output, photos, "--runtime", "onnxruntime", *common, "--output", made).code == 0
    assert fit50("verify", made).code == 0
    assert fit50("predict", made, photos / "red" / "000.png").code == 0


def test_smaller_images_alone(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "smaller.safetensors"
    ended = fit50("prune", weights, photos, "--image-size", "8", "--recover", "0", "--output", output)
    assert ended.code == 0, ended.err
    before, after = Checkpoint.load(weights), Checkpoint.load(output)
    assert after.network == before.network.sized(8)
    assert all(torch.equal(tensor, after.tensors[key]) for key, tensor in before.tensors.items())


def test_half_precision_where_no_runtime_has_it_is_refused(fit50: Fit50, weights: Path, tmp_path: Path) -> None:
    made = ("--output", tmp_path / "made")
    ended = fit50("export", weights, "--runtime", "onnxruntime", "--precision", "bf16", *made)
    assert ended.code == 2
    assert "computes in float32 and int8 only, found bf16; use openvino" in ended.err
    assert not (tmp_path / "made").exists()


def test_quantize(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    ended = fit50(
        *("quantize", weights, photos, "--runtime", "onnxruntime", "--max-drop", "100"),
        *("--samples", "8", "--output", tmp_path / "int8", "--json"),
    )
    assert ended.code == 0, ended.err
    made = Bundle.open(tmp_path / "int8")
    found = facts(ended.out)
    assert found["size_mb"] == made.size
    assert made.manifest.precision == "int8"
    compared = found["damage"]["comparison"]
    for which, model in (("old", weights), ("new", tmp_path / "int8")):
        assert compared[which] == facts(fit50("evaluate", model, photos, "--json").out)["accuracy"]
    points = compared["new"]["correct"] - compared["old"]["correct"]
    assert compared["difference"]["points"] == pytest.approx(100 * points / compared["old"]["n"])
    assert compared["difference"]["low"] < compared["difference"]["points"] < compared["difference"]["high"]


def test_files_trained_through_the_rounding_are_judged_by_the_images_that_the_network_was(
    fit50: Fit50, weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stream, some are drawn."""
    seeds = []

    def judged(dataset: Dataset, max_drop: float, seed: int) -> Calibration:
        seeds.append(seed)
        if len(seeds) == 2:
            raise DataError("enough")
        return given(dataset, max_drop, seed)

    module = sys.modules[calibration.__module__]
    given = module._judges
    monkeypatch.setattr(module, "_judges", judged)
    monkeypatch.setattr(module, "trained_to_round", lambda checkpoint, *given, **named: checkpoint)
    asked = ("quantize", weights, photos, "--method", "qat", "--seed", "5", "--out", tmp_path / "runs")
    assert fit50(*asked, "--output", tmp_path / "int8").err.endswith("error: enough\n")
    assert seeds[0] == seeds[1]


@pytest.mark.slow
def test_quantize_by_training(fit50: Fit50, weights: Path, photos: Path, tmp_path: Path) -> None:
    asked = ("quantize", weights, photos, "--runtime", "onnxruntime", "--method", "qat", "--quantize.epochs", "1")
    common = ("--max-drop", "100", "--out", tmp_path / "runs")
    ended = fit50(*asked, *common, "--quantize.batch", "4", "--output", tmp_path / "int8")
    assert ended.code == 0, ended.err
    made = Bundle.open(tmp_path / "int8")
    assert made.manifest.precision == "int8"
    assert "trained through the rounding" in made.manifest.provenance["int8"]
    again = fit50(*asked, *common, "--quantize.batch", "4", "--output", tmp_path / "again")
    assert again.code == 0 and "train 1 epochs" not in again.err, "what was learned is kept"


def test_training_through_the_rounding_knows_the_processor(
    fit50: Fit50, weights: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for exact, method in ((True, "qat"), (False, "qat"), (False, "ptq")):
        monkeypatch.setattr("fit50.runtimes.base.has_int8_dot_product", lambda flags=None, exact=exact: exact)
        found.append(facts(fit50("quantize", weights, photos, "--method", method, "--dry-run", "--json").out))
    assert [each.get("saturates", False) for each in found] == [False, True, False]
    ended = fit50("quantize", weights, photos, "--method", "qat", "--quantize.saturates", "true")
    assert ended.code == 2
    assert "expected no saturates, which this machine's processor decides" in ended.err


@pytest.mark.parametrize("verb", ["export", "quantize"])
def test_an_output_that_exists_is_left_alone(
    fit50: Fit50, weights: Path, photos: Path, tmp_path: Path, verb: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    data = [photos] if verb == "quantize" else []
    ended = fit50(verb, weights, *data, "--output", tmp_path / "mine")
    assert ended.code == 2
    assert f"{tmp_path / 'mine'}: expected a new folder, found one that exists" in ended.err
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "letter.txt"]


def test_train_then_prune(fit50: Fit50, config: Path, photos: Path, weights: Path, tmp_path: Path) -> None:
    ended = fit50(
        *("train", photos, "--start", weights, "--image-size", "16", "--train.epochs", "1", "--train.batch=8"),
        *("--output", tmp_path / "model.safetensors", "--json"),
    )
    assert ended.code == 0, ended.err
    trained = Checkpoint.load(tmp_path / "model.safetensors")
    assert trained.classes == ("blue", "green", "red")
    found = facts(ended.out)
    assert found["file"] == str(tmp_path / "model.safetensors")
    assert found["validation"]["n"] == 9
    pruned = fit50(
        *("prune", tmp_path / "model.safetensors", photos, "--keep", "0.6", "--recover", "1"),
        *("--prune.importance", "bn", "--train.batch", "8", "--output", tmp_path / "pruned.safetensors", "--json"),
    )
    assert pruned.code == 0, pruned.err
    assert facts(pruned.out)["gmacs"] <= 0.6 * found["gmacs"]
    assert Checkpoint.load(tmp_path / "pruned.safetensors").network != trained.network


@pytest.mark.parametrize("verb", ["optimize", "train", "prune", "quantize", "export"])
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_dry_run_does_nothing(
    fit50: Fit50, photos: Path, weights: Path, config: Path, tmp_path: Path, verb: str, flags: tuple[str, ...]
) -> None:
    words = {
        "optimize": ["--config", config],
        "train": [photos],
        "prune": [weights, photos],
        "quantize": [weights, photos],
        "export": [weights],
    }[verb]
    ended = fit50(verb, *words, "--dry-run", *flags)
    assert ended.code == 0, ended.err
    assert ended.out
    if flags:
        facts(ended.out)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_would_be_done(fit50: Fit50, config: Path, weights: Path, tmp_path: Path) -> None:
    words = ("optimize", "--config", config, "--max-drop", "1.5", "--latency", "5", "--dry-run")
    said = fit50(*words).out
    assert "budget   latency at most 5 ms, at most 1.5 points of accuracy below the best float file, on cpu\n" in said
    assert "baseline resnet50 from scratch, 1 epochs, at 16x16 pixels\n" in said
    assert "grow     se, and a control that only trains on; 1 epochs each\n" in said
    assert "prune    the most accurate of these to 50 % of its GMACs; 1 epochs each\n" in said
    assert "openvino, onnxruntime: float32, int8, and half precision where the device has it\n" in said
    smaller = fit50(*words, "--effort.rounds", "3", "--effort.sizes", "[8, 12]").out
    assert "to 50 % of its GMACs in 3 rounds; 1 epochs a round\n" in smaller
    assert "resize   the most accurate of these to 12, 8 pixels, whole and pruned; 1 epochs a round\n" in smaller
    own = fit50("optimize", "--config", config, "--start", weights, "--set", "edits=[]", "--dry-run").out
    assert f"baseline {weights} as it is, not trained, at 16x16 pixels\n" in own
    known = Checkpoint.load(weights)
    Checkpoint(known.network, known.tensors, ("a", "b", "c")).save(tmp_path / "other.safetensors")
    other = fit50("optimize", "--config", config, "--start", "other.safetensors", "--set", "edits=[]", "--dry-run").out
    assert "its classifier drawn anew, for the weights tell other classes apart" in other
    assert "; fine-tuned, 1 epochs, at 16x16 pixels\n" in other


@pytest.fixture
def outcome() -> Outcome:
    return make_outcome(
        make_candidate("torch float32", verdict="reference", ms=9.0, runtime="torch"),
        make_candidate("openvino float32", verdict="chosen"),
    )


def test_optimize_prints_the_outcome(
    fit50: Fit50, config: Path, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []
    monkeypatch.setattr("fit50.optimize.optimize", lambda request, out, monitor: asked.append(request) or outcome)
    ended = fit50("optimize", "--config", config, "--latency", "2s", "--json")
    assert ended.code == 0, ended.err
    found = facts(ended.out)
    folder = job_folder(asked[0], Path("runs"))
    assert found.pop("folder") == str(folder)
    assert Outcome.parse(found) == outcome
    text = fit50("optimize", "--config", config, "--latency", "2s").out
    assert "openvino float32" in text
    assert f"fit50 verify {folder / 'best'}" in text


def test_options_go_on_top_of_the_file_and_edits_on_top_of_options(fit50: Fit50, config: Path, photos: Path) -> None:
    found = facts(
        fit50(
            *("optimize", "elsewhere", "--config", config, "--dry-run", "--json", "--image-size", "32"),
            *("--latency", "500us", "--size", "2MB", "--memory", "1GB", "--max-drop", "2", "--min-accuracy", "50"),
            *("--threads", "3", "--seed", "7", "--budget.latency", "4ms", "--effort.train.epochs=2"),
            *("--set", "network.stages[0].blocks[0].attention=se"),
        ).out
    )
    # the data of the options is not there; its size is asked for, so that nothing is opened
    assert found["data"] == "elsewhere"
    assert found["image_size"] == 32
    assert found["budget"] == {"latency": 4.0, "size": 2.0, "memory": 1000.0, "max_drop": 2.0, "min_accuracy": 50.0}
    assert found["device"] == {"threads": 3}
    assert found["seed"] == 7
    assert found["effort"]["train"]["epochs"] == 2
    assert found["edits"][-1] == {"path": "network.stages[0].blocks[0].attention", "value": "se"}


def test_report(fit50: Fit50, outcome: Outcome, tmp_path: Path) -> None:
    (tmp_path / "outcome.json").write_text(outcome.model_dump_json(), encoding="utf-8")
    assert Outcome.parse(facts(fit50("report", tmp_path, "--json").out)) == outcome
    assert {path.name for path in tmp_path.iterdir()} == {"outcome.json", "front.svg", "report.html"}
    assert "openvino float32" in fit50("report", tmp_path).out
    ended = fit50("report", tmp_path / "nowhere")
    assert ended.code == 2
    assert "outcome.json" in ended.err
    assert not (tmp_path / "nowhere").exists()
