"""The verbs. Each imports what it needs when it runs: ``--help`` answers at once, and a device needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, Parameter

from fit50.cli.screen import Screen
from fit50.spec.digest import edit, scalar
from fit50.spec.errors import BundleError, SpecError
from fit50.spec.machine import physical_cores
from fit50.spec.outcome import Outcome
from fit50.spec.presets import EFFORTS, NETWORKS
from fit50.spec.presets import network as preset
from fit50.spec.recipe import Edit, Load, Prune, Quantize, Recipe, Teacher, Train
from fit50.spec.request import Request
from fit50.spec.value import Value, suggestion

if TYPE_CHECKING:
    from fit50.data.dataset import Dataset
    from fit50.spec.network import Network

V = TypeVar("V", bound=Value)
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object on standard output.")]
DryRun = Annotated[bool, Parameter(name="--dry-run", negative="", help="Say what would be done, and do nothing.")]
Set = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative="", help="PATH=VALUE: any field of the spec; --train.epochs 30 says the same."),
]
Seed = Annotated[int | None, Parameter(help="Of the splits; by default the one that the model was trained with.")]
RuntimeName = Literal["openvino", "onnxruntime", "torch"]
Deployable = Literal["openvino", "onnxruntime"]

app = App(
    name="fit50",
    help="Fits a ResNet-50 to your images and your device: a budget in, a measured and deployable file out.",
    help_format="plaintext",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # main says how to go on
)


def _emit(facts: object, text: str, as_json: bool) -> None:
    """Prints the result: JSON for machines, or text for people."""
    print(json.dumps(facts, indent=1) if as_json else text)


def _edited(value: V, edits: tuple[str, ...]) -> V:
    """The value with every PATH=VALUE put in. Raises SpecError."""
    for text in edits:
        path, equals, data = text.partition("=")
        if not equals:
            raise SpecError(f"--set {text}: expected PATH=VALUE, such as train.epochs=30")
        value = edit(value, path, scalar(data))
    return value


def _seed(given: int | None, provenance: Mapping[str, str] | None) -> int:
    """The seed of the splits: the given one, else the one that the model was trained with, so that none leaks."""
    return int((provenance or {}).get("seed", 0)) if given is None else given


def _digest(path: Path) -> str:
    from fit50.runtimes.base import sha256
    from fit50.spec.errors import CheckpointError

    if not path.is_file():
        raise CheckpointError(f"{path}: expected a weights file (.safetensors, .pth, .pt), found none")
    return sha256(path)


def _dataset(data: str, network: Network, out: Path, seed: int, screen: Screen) -> Dataset:
    from fit50.data.dataset import open_dataset

    return open_dataset(
        data, network.inputs[0], cache=out / "cache", seed=seed, progress=lambda d, n: screen.progress("decode", d, n)
    )


@app.command
def optimize(
    data: Annotated[str | None, Parameter(help="A folder of images, or fashion-mini, which comes with fit50.")] = None,
    *,
    device: str = "cpu",
    latency: Annotated[str | None, Parameter(help="Largest median time for one image, such as 5ms.")] = None,
    size: Annotated[str | None, Parameter(help="Largest file, such as 10MB.")] = None,
    memory: Annotated[str | None, Parameter(help="Largest peak memory of a process, such as 300MB.")] = None,
    max_drop: Annotated[float | None, Parameter(help="Points of accuracy that may be lost (default 1).")] = None,
    min_accuracy: Annotated[float | None, Parameter(help="Least validation accuracy in percent.")] = None,
    start: Annotated[Path | None, Parameter(help="A trained ResNet: .safetensors, .pth or .pt.")] = None,
    network: Annotated[str | None, Parameter(help="A network of the zoo to train (default resnet50).")] = None,
    image_size: Annotated[int | None, Parameter(help="Pixels; by default what suits the images.")] = None,
    effort: Annotated[str, Parameter(help="How much is tried: demo, quick or full.")] = "quick",
    threads: Annotated[int | None, Parameter(help="By default the number of cores.")] = None,
    seed: int | None = None,
    out: Annotated[Path, Parameter(help="The folder for everything that is made.")] = Path("runs"),
    config: Annotated[Path | None, Parameter(help="A request as YAML; options come on top of it.")] = None,
    set_: Set = (),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Fit a ResNet-50 to images, a device and a budget; the main job.

    Example: fit50 optimize photos/ --latency 5ms --max-drop 1.0
    """
    request = _request(
        config,
        effort,
        {
            "data": data,
            "device.name": device,
            "budget.latency": latency,
            "budget.size": size,
            "budget.memory": memory,
            "budget.max_drop": max_drop,
            "budget.min_accuracy": min_accuracy,
            "start": str(start) if start else None,
            "network": network,
            "image_size": image_size,
            "device.threads": threads,
            "seed": seed,
        },
        set_,
    )
    from fit50.optimize import job_folder, optimize, start_network
    from fit50.report.text import front_table

    if dry_run:
        chosen = start_network(request)
        image = chosen.inputs[0]
        _emit(
            request.canonical(),
            f"would train {len(request.effort.techniques) + 2} networks at {image.height}x{image.width}, prune to "
            f"{', '.join(f'{keep:.0%}' for keep in request.effort.keeps)}, export and measure each in "
            f"{', '.join(request.runtimes)}, float32 and int8, below {job_folder(request, out)}:\n\n{request.yaml()}",
            as_json,
        )
        return
    outcome = optimize(request, out, Screen())
    folder = job_folder(request, out)
    text = (
        f"{front_table(outcome)}\n\nTest accuracy of the chosen file: {outcome.test}\n"
        f"Report:  {folder / 'report.html'}\nDeploy:  {folder / 'best'}\n"
        f"Check:   fit50 verify {folder / 'best'}"
    )
    _emit(outcome.model_dump(mode="json") | {"folder": str(folder)}, text, as_json)


def _request(config: Path | None, effort: str, options: dict[str, object], edits: tuple[str, ...]) -> Request:
    """The request that a YAML file, the options and the edits say, in this order."""
    if effort not in EFFORTS:
        raise SpecError(f"--effort {effort!r}: unknown{suggestion(effort, EFFORTS)}")
    if config is not None:
        request = Request.read(config)
    elif options["data"] is None:
        raise SpecError("optimize: expected a folder of images, or fashion-mini, found none; see fit50 optimize --help")
    else:
        request = Request(data=str(options["data"]), effort=EFFORTS[effort])
    for path, value in options.items():
        if value is not None:
            request = edit(request, path, value)
    inner = [text for text in edits if text.startswith("network.")]
    pairs = [text.partition("=") for text in inner]
    changes = tuple(Edit(path=path, value=scalar(data)) for path, _, data in pairs)
    request = request.model_copy(update={"edits": request.edits + changes})
    return _edited(request, tuple(text for text in edits if text not in inner))


@app.command
def train(
    data: str,
    *,
    network: str = "resnet50",
    start: Annotated[Path | None, Parameter(help="Weights to start from, instead of a network.")] = None,
    teacher: Annotated[Path | None, Parameter(help="Weights of a trained network to distil from.")] = None,
    image_size: int | None = None,
    seed: int = 0,
    output: Annotated[Path, Parameter(help="The file to write.")] = Path("model.safetensors"),
    out: Path = Path("runs"),
    set_: Set = (),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a network on images.

    Example: fit50 train photos/ --network se-resnet50 --train.epochs 30 --output model.safetensors
    """
    edits = {text: text.removeprefix("train.") for text in set_ if text.startswith("train.")}
    step = _edited(EFFORTS["quick"].train, tuple(edits.values()))
    if teacher is not None:
        step = step.model_copy(update={"teacher": Teacher(weights=str(teacher), sha256=_digest(teacher))})
    from fit50.optimize import start_network

    changes = [text.partition("=") for text in set_ if text not in edits]
    request = Request(
        data=data,
        network=network,
        start=str(start) if start else None,
        edits=tuple(Edit(path=path, value=scalar(value)) for path, _, value in changes),
        effort=EFFORTS["quick"],
    )
    request = edit(edit(request, "image_size", image_size), "seed", seed)
    loaded = Load(network=start_network(request), weights=request.start, sha256=_digest(start) if start else None)
    _make(Recipe(steps=(loaded, step), seed=request.seed), data, output, out, dry_run, as_json)


@app.command
def prune(
    model: Path,
    data: str,
    *,
    keep: Annotated[float, Parameter(help="The fraction of multiply-accumulates to keep.")] = 0.5,
    recover: Annotated[int, Parameter(help="Epochs of training afterwards, taught by the model itself.")] = 15,
    seed: Seed = None,
    output: Path = Path("pruned.safetensors"),
    out: Path = Path("runs"),
    set_: Set = (),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove channels from a trained network, then train it to recover.

    Example: fit50 prune model.safetensors photos/ --keep 0.35 --prune.importance bn --recover 15
    """
    known = {
        "prune": tuple(text.removeprefix("prune.") for text in set_ if text.startswith("prune.")),
        "train": tuple(text.removeprefix("train.") for text in set_ if text.startswith("train.")),
    }
    for text in set_:
        if not text.startswith(("prune.", "train.")):
            raise SpecError(f"--set {text}: expected a field of prune or train, such as prune.importance=bn")
    steps: list[Prune | Train] = [_edited(Prune.parse({"keep": keep}, "prune"), known["prune"])]
    if recover:
        trained = EFFORTS["quick"].recover.model_copy(update={"teacher": Teacher(after=1)})
        steps.append(_edited(edit(trained, "epochs", recover), known["train"]))
    loaded = Load(weights=str(model), sha256=_digest(model))
    from fit50.weights.foreign import load_weights

    drawn = _seed(seed, load_weights(model).provenance)
    recipe = Recipe.parse({"steps": (loaded, *steps), "seed": drawn}, "prune")
    _make(recipe, data, output, out, dry_run, as_json)


def _make(recipe: Recipe, data: str, output: Path, out: Path, dry_run: bool, as_json: bool) -> None:
    """Realises a recipe and writes its checkpoint to ``output``."""
    if dry_run:
        _emit(recipe.canonical(), recipe.yaml(), as_json)
        return
    from fit50.evaluate.intervals import accuracy
    from fit50.nn.cost import cost
    from fit50.optimize import module_answers
    from fit50.pipeline.realise import realise
    from fit50.pipeline.store import Store
    from fit50.weights.foreign import load_weights

    screen = Screen()
    first = recipe.steps[0]
    assert isinstance(first, Load)
    network = first.network or load_weights(Path(str(first.weights))).network
    dataset = _dataset(data, network, out, recipe.seed, screen)
    screen.say(dataset.audit.summary())
    checkpoint = realise(recipe, dataset, Store(out / "steps"), screen)
    checkpoint.save(output)
    found = accuracy(module_answers(checkpoint, dataset.split("val")))
    counted = cost(checkpoint.network)
    text = f"{output}: {counted.parameters:,} parameters, {counted.gmacs:.3g} GMACs, validation accuracy {found}"
    facts = {"file": str(output), "parameters": counted.parameters, "gmacs": counted.gmacs}
    _emit(facts | {"validation": found.model_dump()}, text, as_json)


@app.command
def quantize(
    model: Path,
    data: str,
    *,
    runtime: Deployable = "openvino",
    max_drop: Annotated[float, Parameter(help="Points of validation accuracy that int8 may lose.")] = 1.0,
    samples: Annotated[int, Parameter(help="Training images for the ranges of the activations.")] = 300,
    seed: Seed = None,
    output: Annotated[Path, Parameter(help="The bundle's folder.")] = Path("int8"),
    out: Path = Path("runs"),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make an int8 bundle of a trained network, within a loss of accuracy.

    Example: fit50 quantize model.safetensors photos/ --runtime openvino --max-drop 0.5 --output int8/
    """
    step = Quantize.parse({"samples": samples, "max_drop": max_drop}, "quantize")
    if dry_run:
        _emit(step.canonical(), f"would quantise {model} for {runtime} into {output}:\n{step.yaml()}", as_json)
        return
    from fit50.compress.quantize import calibration
    from fit50.compress.quantize import quantize as quantized
    from fit50.runtimes import runtime as runtime_named
    from fit50.weights.foreign import load_weights

    _refuse_existing(output)
    checkpoint = load_weights(model)
    drawn = _seed(seed, checkpoint.provenance)
    dataset = _dataset(data, checkpoint.network, out, drawn, Screen())
    form = quantized(checkpoint, step, dataset)
    bundle = runtime_named(runtime).export(form, output, calibration(form, dataset, seed=drawn))
    _emit({"bundle": str(output), "size_mb": bundle.size}, f"{output}: {bundle.size:.2f} MB, int8, {runtime}", as_json)


@app.command
def export(
    model: Path,
    *,
    runtime: RuntimeName = "openvino",
    output: Annotated[Path, Parameter(help="The bundle's folder.")] = Path("bundle"),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make a float32 bundle of a trained network.

    Example: fit50 export model.safetensors --runtime onnxruntime --output bundle/
    """
    if dry_run:
        _emit({"bundle": str(output)}, f"would export {model} for {runtime} into {output}", as_json)
        return
    from fit50.runtimes import runtime as runtime_named
    from fit50.weights.foreign import load_weights

    _refuse_existing(output)
    bundle = runtime_named(runtime).export(load_weights(model), output)
    _emit(
        {"bundle": str(output), "size_mb": bundle.size}, f"{output}: {bundle.size:.2f} MB, float32, {runtime}", as_json
    )


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise BundleError(
            f"{output}: expected a new folder, found one that exists; choose another --output or remove it"
        )


@app.command
def benchmark(
    bundles: Annotated[tuple[Path, ...], Parameter(help="One or more bundles, measured in turns.", negative="")],
    *,
    threads: int | None = None,
    rounds: Annotated[int, Parameter(help="Turns of each bundle, of ten timed calls.")] = 12,
    as_json: Json = False,
) -> None:
    """Measure bundles on this machine: latency, throughput, size, peak memory.

    Example: fit50 benchmark runs/photos-1a2b3c4d/best other/bundle --threads 2
    """
    from fit50.runtimes.base import Bundle
    from fit50.runtimes.measure import measure
    from fit50.spec.machine import environment

    if rounds < 1:
        raise SpecError(f"--rounds: expected at least 1, found {rounds}")
    used = threads or physical_cores()
    scores = measure({str(path): Bundle.open(path) for path in bundles}, used, rounds=rounds, monitor=Screen())
    device = environment(used)
    lines = [f"{device.processor}, {used} threads ({', '.join(device.isa)})"]
    for name, score in scores.items():
        assert score.throughput is not None
        lines.append(
            f"{name}: {score.latency}; {score.throughput.median:.0f} images/s in batches of {score.throughput.batch}; "
            f"{score.size:.2f} MB; peak memory {score.memory:.0f} MB"
        )
    facts = {"environment": device.model_dump(), "scores": {name: score.model_dump() for name, score in scores.items()}}
    _emit(facts, "\n".join(lines), as_json)


@app.command
def evaluate(
    model: Annotated[Path, Parameter(help="A bundle or a weights file.")],
    data: str,
    *,
    split: Literal["train", "val", "test"] = "val",
    threads: int | None = None,
    seed: Seed = None,
    out: Path = Path("runs"),
    as_json: Json = False,
) -> None:
    """Accuracy on a split, with its 95 % interval.

    Example: fit50 evaluate runs/photos-1a2b3c4d/best photos/ --split val
    """
    from fit50.evaluate.intervals import accuracy
    from fit50.optimize import file_answers, module_answers
    from fit50.runtimes.base import Bundle
    from fit50.spec.errors import DataError
    from fit50.weights.foreign import load_weights

    source: Any = Bundle.open(model) if model.is_dir() else load_weights(model)
    made = source.manifest if model.is_dir() else source
    classes, network = made.classes, made.network
    dataset = _dataset(data, network, out, _seed(seed, made.provenance), Screen())
    if len(dataset.classes) != network.head.classes or (classes and tuple(classes) != dataset.classes):
        raise DataError(
            f"{data}: expected the model's classes {', '.join(classes)}, found {', '.join(dataset.classes)}"
        )
    images = dataset.split(split)
    answers = (
        file_answers(source, images, threads or physical_cores()) if model.is_dir() else module_answers(source, images)
    )
    found = accuracy(answers)
    trained_on = (made.provenance or {}).get("dataset")
    same = trained_on == dataset.identity
    note = (
        "" if same or trained_on is None else "\n(these are not the images and splits that the model was trained with)"
    )
    facts = {"split": split, **found.model_dump(), "trained_with_these_splits": same}
    _emit(facts, f"{split} accuracy {found}{note}", as_json)


@app.command
def predict(
    bundle: Path,
    images: Annotated[tuple[Path, ...], Parameter(help="One or more image files.", negative="")],
    *,
    top: Annotated[int, Parameter(help="How many classes to name.")] = 3,
    threads: int | None = None,
    as_json: Json = False,
) -> None:
    """Classify images with a bundle.

    Example: fit50 predict runs/photos-1a2b3c4d/best photo.jpg
    """
    from fit50.data.decode import fit_image, read_image
    from fit50.runtimes import runtime as runtime_named
    from fit50.runtimes.base import Bundle

    opened = Bundle.open(bundle)
    session = runtime_named(opened.manifest.runtime).open(opened, threads or physical_cores())
    facts, lines = [], []
    for path in images:
        (scores,) = session.run(fit_image(read_image(path), opened.manifest.input)[None])
        best = [(opened.manifest.classes[i], float(scores[i])) for i in scores.argsort()[::-1][: max(top, 1)]]
        facts.append({"image": str(path), "classes": [{"name": name, "probability": p} for name, p in best]})
        lines.append(f"{path}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in best))
    _emit({"images": facts}, "\n".join(lines), as_json)


@app.command
def verify(bundle: Path, *, threads: int | None = None, as_json: Json = False) -> None:
    """Check a bundle: its files' digests, and that it answers here as it did where it was made.

    Example: fit50 verify runs/photos-1a2b3c4d/best
    """
    from fit50.runtimes.base import Bundle
    from fit50.runtimes.verify import verify as verified

    found = verified(Bundle.open(bundle), threads or physical_cores())
    text = (
        f"{bundle}: files unchanged; {found.same_answers} of {found.images} golden answers the same; largest "
        f"difference of a probability {found.largest_difference:.2g} (allowed {found.tolerance:.2g})"
    )
    _emit({"bundle": str(bundle), **vars(found)}, text, as_json)


@app.command
def zoo(*, as_json: Json = False) -> None:
    """List the named networks, with what they cost at 224x224 and 1000 classes.

    Example: fit50 zoo
    """
    from fit50.nn.cost import cost
    from fit50.spec.errors import NotBuiltError

    facts: list[dict[str, object]] = []
    lines = [f"{'network':<22}{'parameters':>12}{'GMACs':>8}{'top-1':>7}  (ImageNet top-1 as published)"]
    for name, known in NETWORKS.items():
        paper = (known.make.__doc__ or "").strip().splitlines()[0]
        row: dict[str, object] = {"network": name, "published_top1": known.top1, "paper": paper}
        top1 = f"{known.top1:.1f}" if known.top1 else "-"
        try:
            counted = cost(preset(name))
            row |= {"parameters": counted.parameters, "gmacs": counted.gmacs}
            lines.append(f"{name:<22}{counted.parameters:>12,}{counted.gmacs:>8.3f}{top1:>7}  {paper}")
        except NotBuiltError as error:
            row |= {"not_built": str(error)}
            lines.append(f"{name:<22}{'not built yet':>20}{top1:>7}  {error}")
        facts.append(row)
    _emit({"networks": facts}, "\n".join(lines), as_json)


@app.command
def report(folder: Annotated[Path, Parameter(help="The folder of a finished job.")], *, as_json: Json = False) -> None:
    """Write report.html and front.svg of a finished job anew, and print its front.

    Example: fit50 report runs/photos-1a2b3c4d
    """
    from fit50.report.figures import front_svg
    from fit50.report.html import report_html
    from fit50.report.text import front_table
    from fit50.spec.files import write_text

    outcome = Outcome.read(folder / "outcome.json")
    write_text(folder / "front.svg", front_svg(outcome))
    write_text(folder / "report.html", report_html(outcome))
    _emit(outcome.model_dump(mode="json"), f"{front_table(outcome)}\n\nReport:  {folder / 'report.html'}", as_json)
