"""The verb that looks at a data set before any work is done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from fit50.cli.judging import dataset_for, opened
from fit50.cli.options import Json, Pair, Seed, Threads, emit, resident, split_seed
from fit50.cli.screen import Screen
from fit50.spec.advice import advise
from fit50.spec.errors import DataError, SpecError
from fit50.spec.network import Network
from fit50.spec.presets import network as preset


def inspect(
    data: str,
    *,
    pair: Pair = None,
    model: Annotated[
        Path | None, Parameter(help="A bundle or a weights file, which names labels of val and test that look wrong.")
    ] = None,
    image_size: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="Pixels; by default what suits the images.")
    ] = None,
    page: Annotated[Path | None, Parameter(help="An HTML file to write, with pictures.")] = None,
    threads: Threads = None,
    seed: Seed = None,
    out: Path = Path("runs"),
    as_json: Json = False,
) -> None:
    """What is in a data set, what is wrong with it, and what that advises.

    Example: fit50 inspect photos/ --page inspection.html

    Example: fit50 inspect photos/ --model model.safetensors --json
    """
    if model is not None and image_size is not None:
        raise SpecError("--model and --image-size: expected one of them, found both; the model says its own size")
    if page is not None and page.is_dir():
        raise SpecError(f"{page}: expected a file to write, found a folder; choose another --page")
    from fit50.data.inspecting import inspect_images
    from fit50.data.opening import open_source
    from fit50.data.thumbnails import thumbnails
    from fit50.evaluate.labels import check_labels
    from fit50.nn.cost import cost
    from fit50.report.inspection import inspection_text
    from fit50.report.inspection_page import inspection_html, pictured
    from fit50.spec.files import write_text

    screen = Screen()
    source = open_source(data, cache=out / "cache", pair=pair)
    labels = None
    if model is None:
        name, drawn = "resnet50" if source.inputs == 1 else "m-mffnet", seed or 0
        network = _fitting(name, len(source.classes), data, pair, image_size, out / "cache")
        dataset = resident(data, network, out, drawn, screen, pair)
    else:
        judged = opened(model, threads)
        name, network, drawn = str(model), judged.network, split_seed(seed, judged.provenance)
        dataset = dataset_for(judged, data, pair, out, drawn, screen)
        known = judged.knows(dataset)
        if not known and "dataset" in judged.provenance:
            raise DataError(
                f"{model}: expected a model trained with these images and splits, found one trained with others, which "
                "may have learned from the images it would judge; leave out --seed, or --model"
            )
        labels = check_labels(judged.answer, dataset, name, known)
    found = inspect_images(
        data if pair is None else f"{data} + {pair}",
        source,
        dataset,
        network.inputs,
        name,
        cost(network).gmacs,
        drawn,
        lambda done, total: screen.progress("read", done, total),
    ).model_copy(update={"labels": labels})
    advice = advise(found)
    text = inspection_text(found, advice)
    if page is not None:
        write_text(page, inspection_html(found, advice, thumbnails(source, pictured(found))))
        text += f"\n\nPage:  {page}"
    facts = {**found.model_dump(), "imbalance": found.imbalance, "advice": [each.model_dump() for each in advice]}
    emit(facts, text, as_json)


def _fitting(name: str, classes: int, data: str, pair: str | None, image_size: int | None, cache: Path) -> Network:
    """The named network at the size that was asked for, or that suits the images."""
    from fit50.data.dataset import peek
    from fit50.search.start import fitting_size

    return preset(name, classes=classes).sized(image_size or fitting_size(peek(data, pair, cache=cache).sizes))
