"""Physical, structured pruning: a smaller network, not a masked one."""

from __future__ import annotations

from dataclasses import replace

from fit50.compress.cut import cut
from fit50.compress.depth import shallower
from fit50.compress.groups import groups
from fit50.compress.importance import importance
from fit50.compress.target import Target
from fit50.data.dataset import Dataset
from fit50.nn.cost import cost
from fit50.spec.errors import DataError
from fit50.spec.monitor import Monitor
from fit50.spec.recipe import Prune
from fit50.train.statistics import recalibrated
from fit50.weights.checkpoint import Checkpoint


def prune(
    checkpoint: Checkpoint,
    step: Prune,
    dataset: Dataset,
    *,
    seed: int,
    monitor: Monitor | None = None,
    whole: Checkpoint | None = None,
) -> Checkpoint:
    """Removes the blocks that ``step.depths`` leaves no room for, then the least important channels.

    Channels leave until the network, or its file, costs what ``step`` allows; each width is a multiple of
    ``step.multiple`` (or the old width, where that is smaller) and at least ``step.floor`` of the old one. The batch
    statistics are estimated anew from training images. ``step.keep`` is a fraction of ``whole``, by default of the
    checkpoint.

    Raises SpecError for depths that the network does not have, and where the multiple and the floor leave more than was
    asked for; DataError for a single image; RuntimeRefusal where the file that shall be measured cannot be made.
    """
    images = dataset.split("train").take(step.samples, seed)
    if len(images) < 2:
        raise DataError(f"prune: expected at least 2 training images (batch statistics need them), found {len(images)}")
    pruned, before = checkpoint, cost(checkpoint.network)
    if step.depths is not None:
        pruned = recalibrated(shallower(pruned, step.depths, step.importance, images), images)
    measured: dict[str, str] = {}
    if step.keep is not None or step.most is not None:
        found = groups(pruned.network)
        scores = importance(step.importance, pruned, found, images)
        target = Target(step, whole or checkpoint, pruned, found, scores, images, monitor or Monitor())
        widths, measured = target.widths()
        pruned = recalibrated(cut(pruned, scores, widths), images)
    after = cost(pruned.network)
    report = {
        "gmacs": f"{before.gmacs:.4g} to {after.gmacs:.4g}",
        "parameters": f"{before.parameters} to {after.parameters}",
        **measured,
    }
    return replace(pruned, provenance={**(checkpoint.provenance or {}), **report})
