"""What eight bits would cost a network, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from fit50.report.columns import columns
from fit50.report.damage import damage_text
from fit50.spec.damage import Probe, Sensitivity

_LAYERS = 10


def probe_text(probe: Probe) -> str:
    """The layers that suffer most, what all together would cost, and what to do."""
    return "\n".join(_probe(probe))


def _probe(found: Probe) -> Iterator[str]:
    shown, count = found.sensitivities[:_LAYERS], len(found.sensitivities)
    bits = "8 bits" if found.weight_bits == 8 else f"8 bits (weights: {found.weight_bits})"
    yield f"the {len(shown)} most sensitive of {count} places, each rounded to {bits} alone ({found.tried} images)"
    headings = ("layer", "error %", "loss", "inputs: largest", "99.9 %", "outliers", "weights: largest", "99.9 %")
    yield from columns([headings, *map(_row, shown)])
    yield ""
    yield "all of them rounded, as ONNX Runtime does (OpenVINO's files, their biases corrected, may lose less)"
    yield damage_text(found.int8)
    yield ""
    yield f"{found.advice}."


def _row(layer: Sensitivity) -> tuple[str, ...]:
    loss, inputs, weights = layer.loss, layer.inputs, layer.weights
    return (
        layer.name,
        f"{100 * layer.error:.2f}",
        f"{loss.value:+.3f} [{loss.low:+.3f}, {loss.high:+.3f}]",
        f"{inputs.largest:.3g}",
        f"{inputs.usual:.3g}",
        f"{inputs.outliers:.1f}",
        f"{weights.largest:.3g}" if weights else "-",
        f"{weights.usual:.3g}" if weights else "-",
    )
