"""What a compression step did to a model, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from fit50.report.columns import columns
from fit50.report.markup import shorten
from fit50.spec.damage import Damage, LayerError
from fit50.spec.evaluation import Estimate
from fit50.spec.outcome import Difference

_CLASSES = 10
_FLIPS = 5
_NAME = 40


def damage_text(damage: Damage, split: str = "validation") -> str:
    """The accuracies, the flips, the calibration, the most hurt classes and every block that can be compared."""
    return "\n".join(_damage(damage, split))


def _damage(found: Damage, split: str) -> Iterator[str]:
    compared = found.comparison
    yield f"{split} accuracy {compared.old} before"
    yield f"{split} accuracy {compared.new} after"
    yield f"difference {compared.difference}"
    yield f"calibration error {_percent(found.old_calibration)} before, {_percent(found.new_calibration)} after"
    yield f"flips: {compared.lost} right to wrong, {compared.won} wrong to right, {compared.changed} otherwise"
    flips = compared.flips[:_FLIPS]
    if flips:
        yield f"\nthe {len(flips)} most telling of {len(compared.flips)} images that are answered differently"
        yield from columns([(f"  {flip.name}", flip.label, f"{flip.old} -> {flip.new}") for flip in flips], left=3)
    shown = found.classes[:_CLASSES]
    yield "" if len(shown) == len(found.classes) else f"\nthe {len(shown)} most hurt of {len(found.classes)} classes"
    rows = [
        (
            shorten(each.name, _NAME),
            str(each.old.n),
            f"{each.old.percent:.1f}",
            f"{each.new.percent:.1f}",
            _points(each.difference),
        )
        for each in shown
    ]
    yield from columns([("class", "images", "before %", "after %", "points"), *rows])
    if found.layers:
        yield ""
        yield from columns([("block's output", "channels", "relative error", "dB"), *map(_layer, found.layers)])
    if found.not_compared:
        yield f"not compared, as which channels were left cannot be told: {', '.join(found.not_compared)}"


def _layer(layer: LayerError) -> tuple[str, ...]:
    error = "-" if layer.error is None else f"{layer.error:.3f}"
    decibels = "-" if layer.decibels is None else f"{layer.decibels:.1f}"
    return layer.name, str(layer.channels), error, decibels


def _points(difference: Difference) -> str:
    return f"{difference.points:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]"


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.1f} % [{estimate.low:.1f}, {estimate.high:.1f}]"
