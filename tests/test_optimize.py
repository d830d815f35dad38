"""The main job from a folder of images to a report, small but whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.photos import tiny_request, write_photos

from fit50.data.dataset import Dataset, open_dataset
from fit50.optimize import job_folder, optimize, start_recipe
from fit50.pipeline import realise
from fit50.pipeline.realise import load
from fit50.pipeline.store import Store
from fit50.runtimes import measure
from fit50.runtimes.base import Bundle
from fit50.runtimes.place import Place
from fit50.runtimes.verify import verify
from fit50.search.job import Job
from fit50.search.objective import choice_rule, sentence
from fit50.search.start import fitting_size, start_network
from fit50.search.verdicts import judge
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Outcome
from fit50.spec.recipe import Load
from fit50.spec.request import Budget, Request
from fit50.spec.training import Train


class Finished:
    """A finished job, and what happened on the way."""

    def __init__(self, out: Path, request: Request) -> None:
        self.out, self.request, self.said, self.splits = out, request, list[str](), list[str]()
        self.folder = job_folder(request, out)

    def run(self) -> Outcome:
        job = self

        class Listener(Monitor):
            def say(self, text: str) -> None:
                job.said.append(text)

        split = Dataset.split

        def noted(dataset: Dataset, name: str) -> object:
            job.splits.append(name)
            return split(dataset, name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Dataset, "split", noted)
            patch.setattr(measure, "peak_memory", lambda bundle, threads: 123.0)  # a process each, tested elsewhere
            return optimize(self.request, self.out, Listener())


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    before = torch.get_num_threads()
    root = tmp_path_factory.mktemp("job")
    photos = write_photos(root / "photos")
    (photos / "red" / "broken.png").write_bytes(b"no image")
    finished = Finished(root / "runs", tiny_request(photos))
    finished.run()
    yield finished
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def outcome(job: Finished) -> Outcome:
    return Outcome.read(job.folder / "outcome.json")


def test_the_job_leaves_its_results(job: Finished) -> None:
    assert {path.name for path in job.folder.iterdir()} == {
        "best",
        "front.svg",
        "outcome.json",
        "report.html",
        "request.yaml",
        "shapes.json",
        "splits.json",
    }
    assert (job.folder / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (job.folder / "front.svg").read_text(encoding="utf-8").startswith("<svg")
    assert Request.read(job.folder / "request.yaml") == job.request
    assert not list(job.out.rglob("*.part"))


def test_every_part_is_numbered_and_what_is_pruned_is_said(job: Finished, outcome: Outcome) -> None:
    (kept,) = (f"{trial.name}, {trial.reason}" for trial in outcome.trials if trial.kept)
    parts = [line for line in job.said if line.startswith(("[", "to be shrunk", "budget"))]
    assert parts == [
        "budget on cpu: no limits",
        "[1/5] baseline",
        "[2/5] control",
        "[3/5] se",
        f"to be shrunk: {kept}",
        "[4/5] pruned to 50%",
        "[5/5] export and measure",
    ]


def test_the_outcome_says_what_was_asked_and_found(job: Finished, outcome: Outcome) -> None:
    assert outcome.request == job.request
    assert outcome.classes == ("blue", "green", "red")
    assert sum(outcome.images.values()) == 60
    assert len(outcome.set_aside) == 1
    assert outcome.set_aside[0].startswith("red/broken.png: ")
    assert outcome.test is not None
    assert outcome.test.n == outcome.images["test"]
    assert outcome.sentence.startswith(f"Deploy {outcome.chosen}: ")
    assert outcome.environment.threads == 1


def test_the_baseline_is_measured_in_every_form(outcome: Outcome) -> None:
    found = {(c.runtime, c.precision) for c in outcome.candidates if c.network == "baseline" and c.verdict != "refused"}
    refused = {(c.runtime, c.precision) for c in outcome.candidates if c.verdict == "refused"}
    every = {(name, kind) for name in ("openvino", "onnxruntime") for kind in ("float32", "int8")}
    assert found | refused >= every | {("torch", "float32")}
    assert {kind for _, kind in refused} <= {"int8"}


def test_every_measured_candidate_has_figures_and_a_verdict(job: Finished, outcome: Outcome) -> None:
    assert {c.network for c in outcome.candidates} >= {"baseline", "pruned to 50%"}
    assert [c.verdict for c in outcome.candidates].count("chosen") == 1
    for candidate in outcome.candidates:
        assert candidate.reason
        if candidate.verdict == "refused":
            continue
        score = candidate.score
        assert score.accuracy is not None
        assert score.latency is not None
        assert score.throughput is not None
        assert score.accuracy.n == outcome.images["val"]
        assert score.size == pytest.approx(Bundle.open(job.out / str(candidate.bundle)).size)
        assert score.memory == 123.0
        assert candidate.against_baseline is not None
    (reference,) = [c for c in outcome.candidates if c.verdict == "reference"]
    assert reference.runtime == "torch"


def test_pruning_halves_the_work(outcome: Outcome) -> None:
    parent = "grown" if any(c.network == "grown" for c in outcome.candidates) else "baseline"
    gmacs = {c.network: c.gmacs for c in outcome.candidates}
    assert gmacs["pruned to 50%"] <= 0.5 * gmacs[parent]


def test_trials_name_what_they_are_compared_with(job: Finished, outcome: Outcome) -> None:
    assert [(trial.name, trial.against) for trial in outcome.trials] == [
        ("baseline", ""),
        ("control", "baseline"),
        ("se", "control"),
    ]
    assert [trial.kept for trial in outcome.trials].count(True) == 1
    for trial in outcome.trials:
        assert (job.out / "steps" / trial.run / "model.safetensors").is_file()


def test_the_best_file_is_the_chosen_one_and_verifies(job: Finished, outcome: Outcome) -> None:
    best = Bundle.open(job.folder / "best")
    (chosen,) = [c for c in outcome.candidates if c.name == outcome.chosen]
    assert best.manifest == Bundle.open(job.out / str(chosen.bundle)).manifest
    assert best.manifest.score == chosen.score
    assert best.manifest.environment == outcome.environment
    assert best.manifest.classes == outcome.classes
    assert verify(best, threads=1).same_answers == 4


def test_the_test_split_is_read_once(job: Finished) -> None:
    assert job.splits.count("test") == 1
    assert job.splits[-1] == "test"


def test_a_second_run_trains_and_exports_nothing(
    job: Finished, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: object, **named: object) -> None:
        raise AssertionError("this was done before")

    monkeypatch.setattr(realise, "train", never)
    monkeypatch.setattr(realise, "prune", never)
    monkeypatch.setattr("fit50.runtimes.graph.write_bundle", never)
    assert job.run() == outcome
    assert job.splits.count("test") == 1, "a finished job is not judged anew"
    for last in ("outcome.json", "best/bundle.json"):  # as a kill near the end leaves it
        (job.folder / last).unlink()
    again = job.run()
    assert again.trials == outcome.trials
    assert [(c.name, c.run, c.score.accuracy) for c in again.candidates] == [
        (c.name, c.run, c.score.accuracy) for c in outcome.candidates
    ]
    verify(Bundle.open(job.folder / "best"), threads=1)


def test_the_choice_follows_the_budget(job: Finished, outcome: Outcome) -> None:
    answers = {}
    for c in outcome.candidates:
        if c.score.accuracy is not None:
            answers[c.name] = np.arange(c.score.accuracy.n) < c.score.accuracy.correct
    floats = [c for c in outcome.candidates if c.score.latency and c.runtime != "torch"]
    fastest = min(floats, key=lambda c: c.score.latency.median if c.score.latency else 0)
    loose = job.request.model_copy(update={"budget": Budget(max_drop=100)})
    judged, chosen = judge(loose, outcome.candidates, answers)
    assert chosen.name == fastest.name
    assert chosen.verdict == "chosen"
    assert "x faster" in sentence(chosen, judged, loose)
    tight = job.request.model_copy(update={"budget": Budget(max_drop=100, size=fastest.score.size)})
    judged, _ = judge(tight, outcome.candidates, answers)
    over = [c for c in judged if c.verdict == "over-budget"]
    assert over
    assert all("size" in c.reason for c in over)


def test_the_rule_is_said_in_words(job: Finished) -> None:
    def rule(**budget: float | None) -> str:
        return choice_rule(job.request.model_copy(update={"budget": Budget(**budget)}))  # type: ignore[arg-type]

    assert rule(max_drop=0.5) == "the fastest within the budget, at most 0.5 points below the best float file"
    assert rule(max_drop=None, min_accuracy=80) == "the fastest within the budget, at least 80 % on validation"
    assert rule(max_drop=None) == (
        "the most accurate within the budget, int8 only where no faster float file is as accurate (within chance, if "
        "it is of the same network)"
    )


def test_the_input_size_suits_the_images(job: Finished) -> None:
    assert [fitting_size((side, 500)) for side in (8, 40, 41, 64, 80, 150, 161, 3000)] == [
        *(32, 32, 64, 64, 64, 128, 224, 224)
    ]
    network = start_network(job.request.model_copy(update={"image_size": None}))
    assert (network.inputs[0].height, network.inputs[0].resize) == (32, "stretch")
    large = start_network(job.request.model_copy(update={"image_size": 224}))
    assert (large.inputs[0].width, large.inputs[0].resize) == (224, "crop")


@pytest.mark.parametrize(
    ("classes", "epochs"), [(None, [9]), (("blue", "green", "red"), []), (("a", "b", "c", "d"), [9])]
)
def test_given_weights_are_the_baseline_where_they_know_the_classes(
    job: Finished, tmp_path: Path, classes: tuple[str, ...] | None, epochs: list[int]
) -> None:
    """The baseline is trained from scratch, taken as it is, or fine-tuned at the lower rate."""
    start = start_network(job.request)
    dataset = open_dataset(job.request.data, start.inputs, cache=tmp_path / "cache")
    effort = job.request.effort
    effort = effort.model_copy(update={"train": effort.train.model_copy(update={"epochs": 9})})
    request = job.request.model_copy(update={"effort": effort, "start": str(tmp_path / "start.safetensors")})
    if classes is None:
        request = request.model_copy(update={"start": None})
    else:
        load(Load(network=start), classes, seed=0).save(Path(str(request.start)))
    made = start_recipe(Job(request, tmp_path, Store(tmp_path / "steps"), dataset, Place(), 1, Monitor()), start)
    trainings = [step for step in made.steps if isinstance(step, Train)]
    assert [step.epochs for step in trainings] == epochs
    assert [step.optimizer for step in trainings] == [
        effort.train.optimizer if classes is None else effort.grow.optimizer for _ in epochs
    ]
    assert isinstance(made.steps[0], Load)
    assert (made.steps[0].sha256 is None) == (classes is None)
