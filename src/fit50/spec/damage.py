"""What a compression step did to a model, and what eight bits would do to it: plain values."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from fit50.spec.evaluation import Comparison, Estimate
from fit50.spec.outcome import Accuracy, Difference
from fit50.spec.value import Value

_MOST_HURT = 3


class ClassChange(Value):
    """One class before and after, by its own images; ``difference`` is after minus before, on the same images."""

    name: str
    old: Accuracy
    new: Accuracy
    difference: Difference


class LayerError(Value):
    """How far a block's output lies from what it was.

    Attributes:
        name: the block's, before the step.
        channels: how many of its channels are compared: those that are left.
        error: the square root of the squared error over the squared signal, summed over images; None where the signal
            is zero throughout.
    """

    name: str
    channels: PositiveInt
    error: NonNegativeFloat | None

    @property
    def decibels(self) -> float | None:
        """The signal-to-noise ratio in dB; None where there is no noise, or no signal."""
        return -20 * math.log10(self.error) if self.error else None


class Damage(Value):
    """A model before and after a compression step, on the same images.

    Attributes:
        comparison: the accuracies with their difference, and which images are answered differently, the most telling
            first: right to wrong, both answers given with confidence.
        old_calibration: the expected calibration error before, in percent.
        new_calibration: the same after.
        classes: those that have images, the most hurt first. Each interval is for its class alone: of twenty classes
            that lost nothing, one may look as if it had.
        layers: in their order; none where the answers are all that is known of a model.
        not_compared: blocks whose outputs have no counterpart that is known, or none.
    """

    comparison: Comparison
    old_calibration: Estimate
    new_calibration: Estimate
    classes: tuple[ClassChange, ...]
    layers: tuple[LayerError, ...] = ()
    not_compared: tuple[str, ...] = ()

    def __str__(self) -> str:
        old, new = self.comparison.old, self.comparison.new
        hurt = [each for each in self.classes if each.difference.points < 0][:_MOST_HURT]
        text = f"{old.percent:.1f} to {new.percent:.1f} % ({self.comparison.difference})"
        names = ", ".join(f"{each.name} {each.difference.points:+.1f}" for each in hurt)
        return f"{text}; most hurt: {names}" if names else text


class Spread(Value):
    """How numbers that share a scale spread, in absolute value.

    Attributes:
        largest: of all.
        usual: what 99.9 % of them are below.
        outliers: the largest channel's maximum over the median channel's (of those that are not zero).
    """

    largest: NonNegativeFloat
    usual: NonNegativeFloat
    outliers: NonNegativeFloat


class Sensitivity(Value):
    """What eight bits at one place alone do to a network's answers.

    Attributes:
        name: of a convolution or a linear layer, whose weights and inputs are rounded; or of a block with ``.add``
            behind it, where the two that it adds are.
        weights: their ranges, by output channel; None where nothing but activations is rounded.
        inputs: the activations' ranges, by channel.
        error: of the logits, less each image's mean, as in ``LayerError``.
        loss: by how much the negative log-likelihood grows, in nats (paired).
    """

    name: str
    weights: Spread | None
    inputs: Spread
    error: NonNegativeFloat
    loss: Estimate


class Probe(Value):
    """What eight bits would cost a network, as simulated.

    Attributes:
        calibrated: training images that the ranges are from.
        tried: validation images that each layer by itself was tried on.
        sensitivities: the most harmful first.
        int8: all layers rounded, against float.
        allowed: points that may be lost.
        spared: the fewest of the most harmful layers, of those numbers that were tried, which left in float bring the
            loss within what is allowed; none where it is already, or where no number does.
        with_spared: the difference to float then.
        weight_bits: of the weights; 7 where a processor's 8-bit products saturate.
    """

    calibrated: PositiveInt
    tried: PositiveInt
    sensitivities: tuple[Sensitivity, ...]
    int8: Damage
    allowed: NonNegativeFloat
    spared: tuple[str, ...] = ()
    with_spared: Difference | None = None
    weight_bits: Literal[7, 8] = 8

    @property
    def lost(self) -> Difference:
        """Points of int8's accuracy minus float's."""
        return self.int8.comparison.difference

    @property
    def advice(self) -> str:
        """What to do, in a sentence."""
        cost = f"int8 will probably change the accuracy by {self.lost}"
        if self.lost.points >= -self.allowed:
            return f"{cost}: no more than the {self.allowed:g} that may be lost"
        if self.with_spared is None:
            return f"{cost}; no few layers are to blame: use --method qat, or stay in float"
        return (
            f"{cost}; leave {', '.join(self.spared)} with all inputs in float ({self.with_spared}), or use --method qat"
        )
