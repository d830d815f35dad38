"""Weights that others trained, made a checkpoint of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fit50.nn.compose import check, compose, shapes
from fit50.spec.errors import CheckpointError
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.infer import infer
from fit50.weights.keymaps import recognised
from fit50.weights.origin import origin
from fit50.weights.reading import is_ours, state_dict

_CLASSIFIER = "classifier"


def load_weights(weights: Path | str, network: Network | None = None) -> Checkpoint:
    """Loads a checkpoint of fit50's, or a state dict (.safetensors, .pth, .pt, .bin) in a layout that we know.

    Known are those of torchvision's and timm's ResNets and of the source paper's two listings, told by their keys, and
    Caffe's, which must be asked for.

    Args:
        weights: a file, or where others keep one: ``torchvision:resnet50.IMAGENET1K_V2``, ``timm:seresnet50.ra2_in1k``,
            ``hf:owner/repo``, ``hf:owner/repo/file.safetensors``, ``caffe:file.pth`` (see ``origin``).
        network: what the tensors must fit; by default the header's network, or the one that the shapes tell.

    Raises:
        CheckpointError: no such file, not a state dict, a file that wants to run code, or a network that cannot be
            inferred or does not fit; every unmatched key is named.
        MissingExtraError: the place needs a package that is not installed.
    """
    found = origin(weights)
    if is_ours(found.file):
        checkpoint = Checkpoint.load(found.file)
    else:
        tensors = state_dict(found.file)
        layout = found.layout or recognised(tensors)
        tensors = layout.renamed(tensors, str(weights))
        checkpoint = Checkpoint(infer(tensors, str(weights), layout, found.image), tensors)
    if network is not None:
        check(checkpoint.tensors, shapes(network), str(weights))
        checkpoint = checkpoint.with_(network=network)
    return checkpoint


def fit_classes(checkpoint: Checkpoint, classes: tuple[str, ...], seed: int) -> Checkpoint:
    """The checkpoint with a classifier for these classes: its own where the names agree, else drawn anew.

    The provenance then says so (``redrawn`` reads it).
    """
    known = checkpoint.network.head.classes
    same_names = checkpoint.classes == classes
    if same_names or (not checkpoint.classes and known == len(classes)):
        provenance = {key: fact for key, fact in (checkpoint.provenance or {}).items() if key != _CLASSIFIER}
        return replace(checkpoint, classes=classes, provenance=provenance)
    head = checkpoint.network.head.model_copy(update={"classes": len(classes)})
    network = checkpoint.network.model_copy(update={"head": head})
    fresh = compose(network, seed=seed).state_dict()
    tensors = {
        key: fresh[key] if key.startswith(("fc.", "fc_neck.")) else tensor for key, tensor in checkpoint.tensors.items()
    }
    others = "other" if known == len(classes) else str(known)
    reason = f"drawn anew, for the weights tell {others} classes apart and the images show {len(classes)}"
    return Checkpoint(network, tensors, classes, provenance={_CLASSIFIER: reason})


def redrawn(checkpoint: Checkpoint) -> str | None:
    """Why ``fit_classes`` drew the classifier anew; None where it came with the weights."""
    return (checkpoint.provenance or {}).get(_CLASSIFIER)


def knows_classes(checkpoint: Checkpoint) -> bool:
    """Whether the classifier came with the weights, rather than being drawn anew by ``fit_classes``."""
    return redrawn(checkpoint) is None


def refuse_other_classes(checkpoint: Checkpoint, classes: tuple[str, ...], source: str) -> None:
    """Raises CheckpointError unless the checkpoint tells these classes apart; one without names needs as many."""
    count = checkpoint.network.head.classes
    if count != len(classes) or checkpoint.classes not in ((), classes):
        known = ", ".join(checkpoint.classes) or f"{count} classes without names"
        raise CheckpointError(f"{source}: expected the data's classes {', '.join(classes)}, found {known}")
