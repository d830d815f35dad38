"""Whether a file holds what its network costs: no masks, no second copies, no float weights beside the rounded ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from fit50.nn.cost import cost
from fit50.spec.numerics import BYTES
from fit50.weights.checkpoint import Checkpoint

_TEXT = 6144  # bytes of the graph's description for each tensor of the network; those of QAT are the longest


def hold_promise(checkpoint: Checkpoint, parameters: int | None, size: int) -> None:
    """Asserts that a file of a network is not larger than the network's cost says; else the defect is ours.

    Beyond the parameters, a file may hold batch statistics, scales and zero points for each channel, and the
    description of its graph. Int8 files in which some layers are left in float may be as large as float ones. Norms
    of each input's own, when folded, give each input its own weights.

    Args:
        checkpoint: what was exported; ``provenance["int8"]`` says how many layers are in int8.
        parameters: found in the file; None where its format does not tell.
        size: bytes of the file.
    """
    fusion = checkpoint.network.fusion
    copies = len(checkpoint.network.inputs) if fusion and fusion.norm == "per-input" else 1
    promised, spare = copies * cost(checkpoint.network).parameters, copies * _spare(checkpoint.tensors)
    precision = checkpoint.numerics.kind
    assert parameters is None or parameters <= promised + spare, (
        f"expected at most {promised:,} parameters and {spare:,} statistics and scales in the file, "
        f"found {parameters:,}"
    )
    left = precision == "int8" and not re.match(r"(\d+) of \1 layers", (checkpoint.provenance or {}).get("int8", ""))
    allowed = (4 if left else BYTES[precision]) * promised + 4 * spare + copies * _TEXT * len(checkpoint.tensors)
    assert size <= allowed, f"expected at most {allowed:,} bytes in {precision}, found {size:,}"


def _spare(tensors: Mapping[str, Tensor]) -> int:
    """Numbers beside the parameters: a few for each channel, and for each layer."""
    return sum(8 + 2 * (len(each) if each.dim() else 1) for each in tensors.values())
