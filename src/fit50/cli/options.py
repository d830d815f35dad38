"""What the verbs share: their options, and how they say their results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter
from cyclopts.validators import Number

from fit50.spec.digest import digest, edit_all, scalar
from fit50.spec.errors import CheckpointError, SpecError
from fit50.spec.monitor import Monitor
from fit50.spec.recipe import Edit, Prune, Recipe
from fit50.spec.request import Budget, Effort
from fit50.spec.training import Train
from fit50.spec.value import Value

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
Threads = Annotated[int | None, Parameter(validator=Number(gte=1), help="By default the number of cores.")]
On = Annotated[
    str,
    Parameter(
        name="--device", help="cpu, which is this machine's, or ssh://user@host[:port][?python=/path/of/python there]."
    ),
]
Seed = Annotated[
    int | None,
    Parameter(validator=Number(gte=0), help="Of the splits; by default the one that the model was trained with."),
]
Pair = Annotated[
    str | None, Parameter(help="A second folder, for a network of two inputs; images are matched by their path.")
]
Weights = Annotated[
    str | None,
    Parameter(
        help="A trained ResNet: a file (.safetensors, .pth), or torchvision:resnet50.IMAGENET1K_V2, "
        "timm:seresnet50.ra2_in1k, hf:owner/repo, caffe:file.pth."
    ),
]


_FIELDS: dict[str, dict[str, type[Value]]] = {
    "optimize": {"budget": Budget, "effort": Effort, "effort.train": Train},
    "train": {"train": Train},
    "prune": {"prune": Prune, "train": Train},
}


def field_hint(verb: str, option: str) -> str:
    """`` Did you mean --train.epochs?`` for an unknown ``--epochs``, where it is a field of what the verb takes."""
    name = option.lstrip("-").replace("-", "_")
    paths = [path for path, kind in _FIELDS.get(verb, {}).items() if name in kind.model_fields]
    return f" Did you mean --{paths[0]}.{name}?" if paths else ""


def emit(facts: object, text: str, as_json: bool) -> None:
    """Prints the result: JSON for machines, or text for people."""
    print(json.dumps(facts, indent=1) if as_json else text)


def edited(value: V, edits: tuple[str, ...]) -> V:
    """The value with every PATH=VALUE put in. Raises SpecError."""
    return edit_all(value, settings(edits).items())


def settings(edits: tuple[str, ...]) -> dict[str, Any]:
    """The values of PATH=VALUE texts by their paths. Raises SpecError."""
    return {path: scalar(data) for path, data in map(_pair, edits)}


def network_edits(edits: tuple[str, ...]) -> tuple[Edit, ...]:
    """PATH=VALUE texts as edits of the network. Raises SpecError."""
    return tuple(Edit(path=path, value=scalar(data)) for path, data in map(_pair, edits))


def _pair(text: str) -> tuple[str, str]:
    path, equals, data = text.partition("=")
    if not equals:
        raise SpecError(f"--set {text}: expected PATH=VALUE, such as train.epochs=30")
    return path, data


def split_seed(given: int | None, provenance: Mapping[str, str] | None) -> int:
    """The seed of the splits: the given one, else the one that the model was trained with, so that none leaks."""
    return int((provenance or {}).get("seed", 0)) if given is None else given


def file_digest(weights: Path | str) -> str:
    """The SHA-256 of the file of weights, fetched if need be. Raises CheckpointError, MissingExtraError."""
    from fit50.runtimes.base import sha256
    from fit50.weights.origin import local_file

    return sha256(local_file(weights))


def refuse_other(output: Path, recipe: Recipe, dataset: str | None = None) -> None:
    """Raises CheckpointError where something would be replaced by what is to be written to a file.

    What this recipe made before (of the data set with this identity, if one is given) may be replaced.
    """
    if output.is_dir():
        raise CheckpointError(f"{output}: expected a file to write, found a folder; choose another --output")
    if not output.exists():
        return
    from fit50.weights.checkpoint import Checkpoint

    with suppress(CheckpointError):
        origin = Checkpoint.load(output).provenance or {}
        if origin.get("recipe") == digest(recipe) and dataset in (None, origin.get("dataset")):
            return
    raise CheckpointError(
        f"{output}: expected a new file, found one that holds something else; choose another --output, or remove it"
    )


def resident(data: str, network: Network, out: Path, seed: int, screen: Monitor, pair: str | None = None) -> Dataset:
    """The images that ``data`` names, fitted to the network's inputs. Raises DataError."""
    from fit50.data.dataset import open_dataset

    return open_dataset(
        data,
        network.inputs,
        cache=out / "cache",
        pair=pair,
        seed=seed,
        progress=lambda done, total: screen.progress("decode", done, total),
    )
