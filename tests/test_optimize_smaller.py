"""The main job where smaller images are tried, and fractions are reached in several rounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.listener import Listener
from tests.photos import tiny_request, write_photos

from fit50.cli import main
from fit50.data.dataset import open_dataset
from fit50.optimize import job_folder, optimize
from fit50.pipeline import realise
from fit50.runtimes.base import Bundle
from fit50.runtimes.verify import verify
from fit50.search.start import start_network
from fit50.spec.errors import SpecError
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input
from fit50.spec.outcome import Outcome
from fit50.spec.recipe import Prune, Recipe
from fit50.spec.request import Request
from fit50.weights.checkpoint import Checkpoint

NAMES = ["baseline", "pruned to 50%", "at 12 pixels", "at 12 pixels, pruned to 50%"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    tiny = tiny_request(write_photos(tmp_path_factory.mktemp("smaller") / "photos"))
    effort = tiny.effort.model_copy(update={"techniques": (), "sizes": (12,), "rounds": 2})
    return tiny.model_copy(update={"effort": effort, "runtimes": ("onnxruntime",)})


@pytest.fixture(scope="module")
def heard() -> Listener:
    return Listener()


@pytest.fixture(scope="module")
def outcome(request_: Request, out: Path, heard: Listener) -> Iterator[Outcome]:
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fit50.runtimes.measure.peak_memory", lambda bundle, threads: 123.0)
        yield optimize(request_, out, heard)
    torch.set_num_threads(before)


def test_every_shape_is_a_candidate_with_its_own_cost(outcome: Outcome, heard: Listener) -> None:
    costs = {c.network: (c.parameters, c.gmacs) for c in outcome.candidates}
    assert [name for name in costs if name != "grown"] == NAMES
    (parent, whole), (_, half), (same, small), (_, least) = (costs.get(name, (0, 0)) for name in NAMES)
    assert same == parent
    assert small == pytest.approx(whole * (12 / 16) ** 2, rel=0.01)
    assert 0.35 * whole < half <= 0.5 * whole
    assert 0.35 * small < least <= 0.5 * small
    assert [line.split("] ")[1] for line in heard.said if line.startswith("[")] == [
        "baseline",
        "control",
        *NAMES[1:],
        "export and measure",
    ]


def test_every_candidate_is_judged_on_all_validation_images(outcome: Outcome, out: Path) -> None:
    judged = [c for c in outcome.candidates if c.verdict != "refused"]
    assert {c.network for c in judged} >= set(NAMES)
    for each in judged:
        assert each.score.accuracy is not None
        assert each.score.latency is not None
        assert each.score.accuracy.n == outcome.images["val"]
        assert verify(Bundle.open(out / str(each.bundle)), threads=1).same_answers == 4


def test_a_fraction_is_reached_in_rounds(outcome: Outcome, out: Path) -> None:
    for name in (NAMES[1], NAMES[3]):
        (run,) = {c.run for c in outcome.candidates if c.network == name and c.precision == "float32"}
        recipe = Recipe.read(out / "steps" / run / "recipe.yaml")
        prunings = [step for step in recipe.steps if isinstance(step, Prune)]
        assert [step.keep for step in prunings] == [pytest.approx(0.5**0.5), 0.5]
        assert [step.kind for step in recipe.steps[-4:]] == ["prune", "train"] * 2
        assert (recipe.steps[-5].kind == "resize") == (name == NAMES[3])


def test_the_small_file_classifies_a_photo_of_odd_size(
    outcome: Outcome, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = next(c.bundle for c in outcome.candidates if c.network == NAMES[3] and c.precision == "float32")
    assert [(image.height, image.width) for image in Bundle.open(out / str(bundle)).manifest.network.inputs] == [
        (12, 12)
    ]
    Image.fromarray(np.full((37, 23, 3), 99, np.uint8)).save(tmp_path / "odd.png")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(out / str(bundle)), str(tmp_path / "odd.png"), "--json"])
    assert ended.value.code in (0, None)
    (found,) = json.loads(capsys.readouterr().out)["images"]
    assert {each["name"] for each in found["classes"]} == {"blue", "green", "red"}


def test_the_splits_are_the_same_at_every_size(outcome: Outcome, request_: Request, out: Path) -> None:
    small = open_dataset(request_.data, (Input(height=12, width=12, resize="stretch"),), cache=out / "cache")
    large = open_dataset(request_.data, start_network(request_).inputs, cache=out / "cache")
    record = json.loads((job_folder(request_, out) / "splits.json").read_text(encoding="utf-8"))["splits"]
    for name, split in large.splits.items():
        assert split.names == small.splits[name].names
        assert {record[each] for each in split.names} == {name}
    run = next(c.run for c in outcome.candidates if c.network == NAMES[2] and c.precision == "float32")
    known = Checkpoint.load(out / "steps" / run / "model.safetensors").provenance
    assert known is not None
    assert known["dataset"] == small.identity != large.identity


def test_a_resumed_job_computes_nothing_again(
    outcome: Outcome, request_: Request, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: object, **named: object) -> None:
        raise AssertionError("this was done before")

    for place in ("fit50.runtimes.graph.write_bundle", "fit50.data.cache.inspect", "fit50.optimize.feasible"):
        monkeypatch.setattr(place, never)
    monkeypatch.setattr(realise, "train", never)
    monkeypatch.setattr(realise, "prune", never)
    (job_folder(request_, out) / "outcome.json").unlink()
    again = optimize(request_, out, Monitor())
    assert [(c.name, c.run, c.score.accuracy) for c in again.candidates] == [
        (c.name, c.run, c.score.accuracy) for c in outcome.candidates
    ]


@pytest.mark.parametrize("size", [16, 17])
def test_sizes_that_are_not_smaller_are_refused_before_anything_is_read(
    request_: Request, tmp_path: Path, size: int
) -> None:
    effort = request_.effort.model_copy(update={"sizes": (12, size)})
    with pytest.raises(SpecError, match=rf"effort\.sizes: expected fewer pixels than the network's 16, found {size}"):
        optimize(request_.model_copy(update={"effort": effort, "data": "nowhere"}), tmp_path, Monitor())
    assert list(tmp_path.iterdir()) == []
