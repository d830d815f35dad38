"""Verbs that judge models by a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from cyclopts import Parameter
from cyclopts.validators import Number

from fit50.cli.options import Json, Pair, Seed, Threads, emit, resident, split_seed
from fit50.cli.screen import Screen
from fit50.spec.evaluation import Corruption
from fit50.spec.machine import physical_cores

if TYPE_CHECKING:
    from fit50.data.dataset import Dataset
    from fit50.evaluate.metrics import Answer
    from fit50.spec.network import Network

Model = Annotated[Path, Parameter(help="A bundle or a weights file.")]
SplitName = Literal["train", "val", "test"]
_CORRUPTIONS_HELP = "Accuracy on corrupted images too: the corruptions named here, or all; takes five passes for each."
_BATCH = 50


def evaluate(
    model: Model,
    data: str,
    *,
    pair: Pair = None,
    split: SplitName = "val",
    topk: Annotated[int, Parameter(validator=Number(gte=1), help="Classes that may hold the right one.")] = 5,
    corruptions: Annotated[
        tuple[Corruption, ...] | None, Parameter(consume_multiple=True, negative="", help=_CORRUPTIONS_HELP)
    ] = None,
    threads: Threads = None,
    seed: Seed = None,
    out: Path = Path("runs"),
    as_json: Json = False,
) -> None:
    """Accuracy, calibration and confusions on a split, each class by itself, all with 95 % intervals.

    Example: fit50 evaluate runs/photos-1a2b3c4d/best photos/ --split val

    Example: fit50 evaluate model.safetensors photos/ --split test --corruptions jpeg fog
    """
    from fit50.evaluate.metrics import correct, probabilities
    from fit50.evaluate.robustness import missing_inputs, robustness
    from fit50.evaluate.scores import evaluation
    from fit50.report.evaluation import evaluation_text

    screen = Screen()
    judged = opened(model, threads)
    dataset = dataset_for(judged, data, pair, out, split_seed(seed, judged.provenance), screen)
    images = dataset.split(split)
    found = probabilities(judged.answer, images, batch=_BATCH)
    scores = evaluation(found, images.labels, dataset.classes, topk)
    clean = found.argmax(1) == images.labels
    fusion = judged.network.fusion
    if fusion is not None and fusion.modality_dropout:
        names = [image.name for image in judged.network.inputs]
        without = missing_inputs(lambda view: correct(judged.answer, view, batch=_BATCH), images, clean, names)
        scores = scores.model_copy(update={"without": without})
    if corruptions is not None:
        asked = corruptions or get_args(Corruption)
        robust = robustness(lambda view: correct(judged.answer, view, batch=_BATCH), images, clean, asked, screen)
        scores = scores.model_copy(update={"robustness": robust})
    facts = {"split": split, **scores.model_dump(), "trained_with_these_splits": judged.knows(dataset)}
    emit(facts, evaluation_text(scores, split) + _note(judged, dataset, "the model"), as_json)


def compare(
    old: Model,
    new: Model,
    data: str,
    *,
    pair: Pair = None,
    split: SplitName = "val",
    flips: Annotated[
        Path | None, Parameter(help="A new folder for the images that are answered differently, with a table.")
    ] = None,
    threads: Threads = None,
    seed: Seed = None,
    out: Path = Path("runs"),
    as_json: Json = False,
) -> None:
    """Two models on the same images: accuracies, their difference, and which images would change their answer.

    Example: fit50 compare model.safetensors runs/photos-1a2b3c4d/best photos/ --flips flips/
    """
    from fit50.evaluate.comparison import compare as compared
    from fit50.evaluate.flips import write_flips
    from fit50.evaluate.metrics import probabilities
    from fit50.report.evaluation import comparison_text
    from fit50.spec.errors import DataError

    screen, models = Screen(), (opened(old, threads), opened(new, threads))
    drawn = split_seed(seed, models[0].provenance)
    datasets = [dataset_for(judged, data, pair, out, drawn, screen) for judged in models]
    first, second = (dataset.split(split) for dataset in datasets)
    if first.names != second.names:
        some = ", ".join(sorted({*first.names} ^ {*second.names})[:3])
        raise DataError(f"{data}: expected images that both models can take, found others, such as {some}; remove them")
    was, now = (
        probabilities(judged.answer, images, batch=_BATCH).argmax(1)
        for judged, images in zip(models, (first, second), strict=True)
    )
    found = compared(was, now, first.labels, datasets[0].classes, first.names)
    if flips is not None:
        write_flips(flips, found.flips, first)
    notes = [_note(judged, dataset, str(judged.path)) for judged, dataset in zip(models, datasets, strict=True)]
    known = [judged.knows(dataset) for judged, dataset in zip(models, datasets, strict=True)]
    facts = {"split": split, **found.model_dump(), "trained_with_these_splits": known}
    emit(facts, comparison_text(found, split) + "".join(notes), as_json)


@dataclass(frozen=True)
class Judged:
    """An opened model: what it is, where it comes from, and how it answers."""

    path: Path
    network: Network
    classes: tuple[str, ...]
    provenance: dict[str, str]
    answer: Answer

    def knows(self, dataset: Dataset) -> bool:
        """Whether it was trained with these images and splits."""
        return self.provenance.get("dataset") == dataset.identity


def opened(path: Path, threads: int | None) -> Judged:
    """Opens a bundle or a weights file. Raises BundleError, CheckpointError."""
    from fit50.pipeline.answers import file_answer, module_answer
    from fit50.runtimes.base import Bundle
    from fit50.weights.foreign import load_weights

    made: Any
    if path.is_dir():
        bundle = Bundle.open(path)
        made, answer = bundle.manifest, file_answer(bundle, threads or physical_cores())
    else:
        made = load_weights(path)
        answer = module_answer(made)
    return Judged(path, made.network, tuple(made.classes), dict(made.provenance or {}), answer)


def dataset_for(judged: Judged, data: str, pair: str | None, out: Path, seed: int, screen: Screen) -> Dataset:
    """The data as the model's inputs want it. Raises DataError where it shows other classes than the model knows."""
    from fit50.spec.errors import DataError

    dataset = resident(data, judged.network, out, seed, screen, pair)
    count = judged.network.head.classes
    if len(dataset.classes) != count or judged.classes not in ((), dataset.classes):
        known = ", ".join(judged.classes) or f"{count} without names"
        raise DataError(f"{data}: expected the model's classes {known}, found {', '.join(dataset.classes)}")
    return dataset


def _note(judged: Judged, dataset: Dataset, name: str) -> str:
    """A line that says so where the model was trained with other images, as far as is known."""
    if "dataset" not in judged.provenance or judged.knows(dataset):
        return ""
    return f"\n(these are not the images and splits that {name} was trained with)"
