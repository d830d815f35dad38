"""From a checkpoint to an ONNX graph, and to a bundle's folder: the half of exporting that needs torch."""

from __future__ import annotations

import logging
import math
import warnings
from ast import literal_eval
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.numpy_helper import to_array

from fit50.nn.cost import cost, largest_layer
from fit50.nn.deployed import Deployed
from fit50.nn.resnet import ResNet
from fit50.runtimes.base import Bundle, Images, Manifest, Probabilities, input_names, sha256
from fit50.runtimes.card import metadata, model_card
from fit50.runtimes.promise import hold_promise
from fit50.spec.digest import digest
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.files import write_folder
from fit50.spec.network import Input
from fit50.spec.numerics import Precision
from fit50.spec.runtimes import RuntimeName
from fit50.weights.checkpoint import Checkpoint

_TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "bf16": 0.05, "fp16": 0.01, "int8": 0.15}
"""How far a probability may lie from the golden one on another device."""


class Weights:
    """A checkpoint that equals any other with the same network and the same tensors, whatever its numerics."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def __hash__(self) -> int:
        return hash(digest(self.checkpoint.network))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Weights):
            return NotImplemented
        mine, theirs = self.checkpoint.tensors, other.checkpoint.tensors
        alike = self.checkpoint.network == other.checkpoint.network and mine.keys() == theirs.keys()
        return alike and all(torch.equal(mine[key], theirs[key]) for key in mine)


def onnx_graph(checkpoint: Checkpoint) -> bytes:
    """The deployed graph (uint8 images in, probabilities out, any batch) as a serialised ONNX model in float32.

    The last one is kept, since several runtimes and precisions start from the same weights.
    """
    return _graph(Weights(checkpoint))


@lru_cache(maxsize=1)
def _graph(weights: Weights) -> bytes:
    return deployed_graph(weights.checkpoint.module())


def deployed_graph(network: ResNet) -> bytes:
    """A module's deployed graph, as ``onnx_graph``'s, in the module's own numbers."""
    inputs = network.network.inputs
    module = Deployed(network).eval()
    names, batch = input_names(network.network), torch.export.Dim("batch")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own deprecations
        program = torch.onnx.export(
            module,
            tuple(torch.zeros(2, each.height, each.width, each.channels, dtype=torch.uint8) for each in inputs),
            dynamo=True,
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            input_names=list(names),
            output_names=["probabilities"],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    for value in (value for node in program.model.graph for value in node.outputs):
        if value.name in names:  # which a file may use once
            value.name = f"{value.name}.inner"
    model: onnx.ModelProto = program.model_proto
    serialised: bytes = model.SerializeToString()
    return serialised


def layer_names(graph: bytes) -> dict[str, str]:
    """The network's own names of an ONNX graph's nodes, such as ``layer1.0.bn1`` where a convolution's norm is folded
    into it.
    """
    scopes = "pkg.torch.onnx.name_scopes"
    found = {
        node.name: literal_eval(each.value)
        for node in onnx.load_from_string(graph).graph.node
        for each in node.metadata_props
        if each.key == scopes
    }
    return {name: path[-2].removeprefix("module.") for name, path in found.items() if len(path) > 2}


def golden_images(image: Input, count: int = 4, seed: int = 0) -> Images:
    """A few images (N, H, W, C) to try a file with: smooth random blobs, the same on every machine."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 4, 4, image.channels), dtype=np.uint8)
    rows = np.arange(image.height) * 4 // image.height
    columns = np.arange(image.width) * 4 // image.width
    return coarse[:, rows[:, None], columns[None, :]]


def class_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The classes' names, or else their numbers."""
    return checkpoint.classes or tuple(str(index) for index in range(checkpoint.network.head.classes))


def said(checkpoint: Checkpoint) -> dict[str, str]:
    """What the model file of a checkpoint says of itself."""
    return metadata(checkpoint.network, class_names(checkpoint), dict(checkpoint.provenance or {}))


def onnx_file(graph: bytes, checkpoint: Checkpoint) -> bytes:
    """An ONNX graph as it is deployed: with metadata, each constant once, and without the exporter's notes, which hold
    paths of this machine.
    """
    model = onnx.load_from_string(graph)
    _merge_constants(model.graph)
    for each in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    onnx.helper.set_model_props(model, said(checkpoint))
    serialised: bytes = model.SerializeToString()
    return serialised


def _merge_constants(graph: onnx.GraphProto) -> None:
    """Keeps one of equal constants: folding norms gives each input its own copy of the weights that inputs share."""
    kept: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    names = {
        each.name: kept.setdefault((each.data_type, tuple(each.dims), to_array(each).tobytes()), each.name)
        for each in graph.initializer
    }
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    once = [each for each in graph.initializer if names[each.name] == each.name]
    del graph.initializer[:]
    graph.initializer.extend(once)


def onnx_parameters(path: Path) -> int:
    """How many numbers an ONNX file holds as constants."""
    return sum(math.prod(each.dims) for each in onnx.load(path).graph.initializer)


def write_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    name: RuntimeName,
    save: Callable[[Path], object],
    run: Callable[..., Probabilities],
    parameters: Callable[[Path], int] | None = None,
) -> Bundle:
    """Writes a bundle as a whole: the model by ``save``, golden answers by ``run`` after that, manifest and card.

    ``parameters`` counts them in the folder with the model, where its format tells.

    Raises:
        RuntimeRefusal: a file in float32 does not answer as the network does.
        StorageError: the bundle cannot be written.
    """
    images = [golden_images(image, seed=seed) for seed, image in enumerate(checkpoint.network.inputs)]

    def fill(target: Path) -> None:
        save(target)
        probabilities = run(*images)
        if checkpoint.numerics.kind == "float32":
            _refuse_other_answers(checkpoint, images, probabilities, name)
        files = sorted(target.iterdir())
        found = parameters(target) if parameters else None
        hold_promise(checkpoint, found, sum(file.stat().st_size for file in files))
        manifest = Manifest(
            runtime=name,
            precision=checkpoint.numerics.kind,
            files={file.name: sha256(file) for file in files},
            classes=class_names(checkpoint),
            network=checkpoint.network,
            provenance=dict(checkpoint.provenance or {}),
            tolerance=_TOLERANCES[checkpoint.numerics.kind],
            gmacs=cost(checkpoint.network).gmacs,
            activations=largest_layer(checkpoint.network),
            parameters=found,
        )
        np.savez_compressed(target / "golden.npz", *images, probabilities=probabilities)
        (target / "bundle.json").write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        (target / "README.md").write_text(model_card(manifest), encoding="utf-8")

    write_folder(folder, fill)
    return Bundle.open(folder)


def _refuse_other_answers(
    checkpoint: Checkpoint, images: list[Images], probabilities: Probabilities, name: RuntimeName
) -> None:
    with torch.inference_mode():
        expected = Deployed(checkpoint.module()).eval()(*map(torch.from_numpy, images)).numpy()
    largest, allowed = float(np.abs(probabilities - expected).max()), _TOLERANCES["float32"]
    if not largest <= allowed:  # so that NaN differs too
        raise RuntimeRefusal(
            f"{name}: expected the network's own answers from its float32 file, found probabilities that differ by up "
            f"to {largest:.2g} (allowed {allowed:g}); use another runtime"
        )
