"""What eight bits would cost a network, found out before any file is made and before any training.

An untrained network cannot be probed: what does not quantise are weights and activations, which a training makes, and
the same architecture loses nothing under one recipe and everything under another. A candidate can be, once a trained
parent is morphed to it.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from fit50.compress.correspondence import Pair, block_errors, blocks
from fit50.compress.damage import damage
from fit50.compress.rounding import Layer, Ranges, observed, places, rounded, weight_spread
from fit50.data.split import Split
from fit50.evaluate.intervals import bootstrap, difference, percentile
from fit50.evaluate.metrics import correct, probabilities
from fit50.nn.deployed import Deployed
from fit50.spec.damage import Damage, Probe, Sensitivity
from fit50.spec.evaluation import Estimate
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Difference
from fit50.weights.checkpoint import Checkpoint

_BATCH = 32
_SPARED = (1, 2, 4, 8)
_TINY = float(np.finfo(np.float32).tiny)

Logits = NDArray[np.float64]


def probe(
    checkpoint: Checkpoint,
    calibration: Split,
    images: Split,
    classes: tuple[str, ...],
    *,
    allowed: float = 1.0,
    tried: int = 100,
    weight_bits: Literal[7, 8] = 8,
    monitor: Monitor | None = None,
) -> Probe:
    """Rounds every layer by itself, then all together, in torch (``rounding``).

    ONNX Runtime's int8 files lose about what is found here. OpenVINO's, whose biases nncf corrects, lose as little
    where int8 does no harm, and as much or less where it does.

    Args:
        checkpoint: trained.
        calibration: training images that the activations' ranges are taken from.
        images: validation images that all layers together are judged by.
        classes: their names.
        allowed: points of accuracy that may be lost.
        tried: of ``images``, how many each layer by itself is tried on.
        weight_bits: that an int8 file's weights use on its device.
        monitor: told how far it is.
    """
    monitor = monitor or Monitor()
    float32, int8 = (Deployed(checkpoint.module()).eval() for _ in range(2))
    ranges = observed(int8, places(int8.module), (pixels for pixels, _ in calibration.batches(_BATCH)))
    names = tuple(dict.fromkeys(place.name for place in ranges))
    few = images.take(tried, 0)
    plain, found = _logits(float32, few), []
    for index, name in enumerate(names):
        monitor.progress("probe", index, len(names))
        with rounded(ranges, {name}, weight_bits):
            found.append(_sensitivity(name, ranges, plain, _logits(int8, few), few.labels))
    monitor.progress("probe", len(names), len(names))
    found.sort(key=lambda each: -each.error)
    together = _together(float32, int8, ranges, images, classes, weight_bits)
    too_much = together.comparison.difference.points < -allowed
    worst = [each.name for each in found]
    spared, left = _sparing(float32, int8, ranges, worst, images, allowed, weight_bits) if too_much else ((), None)
    return Probe(
        calibrated=len(calibration),
        tried=len(few),
        weight_bits=weight_bits,
        sensitivities=tuple(found),
        int8=together,
        allowed=allowed,
        spared=spared,
        with_spared=left,
    )


def int8_difference(
    checkpoint: Checkpoint, calibration: Split, images: Split, weight_bits: Literal[7, 8]
) -> Difference:
    """Points of accuracy that eight bits everywhere change, as ``probe`` has them, without its layers.

    Args:
        checkpoint: trained.
        calibration: training images that the activations' ranges are taken from.
        images: validation images to judge by.
        weight_bits: that an int8 file's weights use on its device.
    """
    network = Deployed(checkpoint.module()).eval()
    ranges = observed(network, places(network.module), (pixels for pixels, _ in calibration.batches(_BATCH)))
    was = correct(network, images, batch=_BATCH)
    with rounded(ranges, {place.name for place in ranges}, weight_bits):
        return difference(correct(network, images, batch=_BATCH), was)


def _logits(answer: Deployed, images: Split) -> Logits:
    """Each image's logits less their mean (N, classes)."""
    scores = probabilities(lambda *pixels: answer(*pixels).clamp_min(_TINY).log(), images, batch=_BATCH)
    centred: Logits = scores.astype(float) - scores.mean(1, keepdims=True, dtype=float)
    return centred


def _sensitivity(name: str, ranges: Ranges, plain: Logits, found: Logits, labels: NDArray[np.int64]) -> Sensitivity:
    own = [place for place in ranges if place.name == name]
    layer = own[0].module
    return Sensitivity(
        name=name,
        weights=weight_spread(layer) if isinstance(layer, Layer) else None,
        inputs=reduce(or_, (seen for place in own for seen in ranges[place])).spread(),
        error=float(np.sqrt(np.square(found - plain).sum() / np.square(plain).sum())),
        loss=_mean(_losses(found, labels) - _losses(plain, labels)),
    )


def _losses(logits: Logits, labels: NDArray[np.int64]) -> Logits:
    """The negative log-likelihood of each image (N,)."""
    own: Logits = np.take_along_axis(logits, labels[:, None], 1)[:, 0]
    return logsumexp(logits, 1) - own


def _mean(values: Logits) -> Estimate:
    n = len(values)
    value, drawn = bootstrap(lambda weights: weights @ values[:, None] / n, n, seed=0)
    return percentile(value[0], drawn[:, 0])


def _together(
    float32: Deployed, int8: Deployed, ranges: Ranges, images: Split, classes: tuple[str, ...], weight_bits: int
) -> Damage:
    """All of it in eight bits against float, block by block as well."""
    pairs = tuple(Pair(name, name) for name in blocks(float32.module.network))
    with (
        rounded(ranges, {place.name for place in ranges}, weight_bits),
        block_errors(float32.module, int8.module, pairs) as errors,
    ):
        found = damage(float32, int8, images, classes)
    return found.model_copy(update={"layers": tuple(each.found() for each in errors)})


def _sparing(
    float32: Deployed,
    int8: Deployed,
    ranges: Ranges,
    worst: list[str],
    images: Split,
    allowed: float,
    weight_bits: int,
) -> tuple[tuple[str, ...], Difference | None]:
    """The fewest of the worst layers to be left in float for the loss to be allowed, and the difference then."""
    was = correct(float32, images, batch=_BATCH)
    for count in (count for count in _SPARED if count < len(worst)):
        with rounded(ranges, set(worst[count:]), weight_bits):
            left = difference(correct(int8, images, batch=_BATCH), was)
        if left.points >= -allowed:
            return tuple(worst[:count]), left
    return (), None
