"""What others call the tensors: a table for each family of files, from its keys to ours.

Ours are torchvision's where torchvision has the part, and timm's for squeeze-and-excitation, ECA and the deep stem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from fit50.spec.blocks import Shortcut
from fit50.spec.errors import CheckpointError


@dataclass(frozen=True)
class Layout:
    """How a family of files names its tensors, and what it means by them that no shape tells.

    Attributes:
        name: for people.
        sign: a pattern of keys that only this family has; none where it must be asked for.
        renames: patterns of keys and what takes their place, each applied in turn.
        unused: a pattern of keys whose tensors the family's own code never uses.
        shortcut: what a block's ``downsample`` is.
        stride_on: where a bottleneck strides.
        ceil: whether the stem's pooling rounds up, without padding.
    """

    name: str
    sign: str | None = None
    renames: tuple[tuple[str, str], ...] = ()
    unused: str | None = None
    shortcut: Shortcut = "projection"
    stride_on: Literal["3x3", "1x1"] = "3x3"
    ceil: bool = False

    def renamed(self, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """The tensors under our keys. Raises CheckpointError where two would have the same."""
        ours: dict[str, Tensor] = {}
        for key, tensor in tensors.items():
            if self.unused and re.search(self.unused, key):
                continue
            name = key
            for pattern, replacement in self.renames:
                name = re.sub(pattern, replacement, name)
            if name in ours:
                raise CheckpointError(f"{source}: expected one tensor for {name}, found two, one of them as {key}")
            ours[name] = tensor
        return ours


TORCHVISION = Layout("torchvision's ResNet layout")
CAFFE = Layout("Caffe's ResNet", stride_on="1x1", ceil=True)
TIMM = Layout(
    "timm's ResNet-D",  # its other ResNets have our keys; here an average comes before the shortcut's convolution
    sign=r"^layer\d+\.\d+\.downsample\.2\.",
    renames=((r"\.downsample\.1\.", ".downsample.0."), (r"\.downsample\.2\.", ".downsample.1.")),
    shortcut="average-projection",
)
HFF_SENET = Layout(
    "the listing of HFF-SEnet",
    sign=r"^hff\d+\.",
    renames=((r"^resnet\.", ""), (r"^hff(\d+)\.", r"layer\1.fusion.")),
    unused=r"^resnet\.fc\.",
)
M_MFFNET = Layout(
    "the listing of M-MFFnet",
    sign=r"^mmff\.",
    renames=((r"^resnet\.", ""), (r"^mmff\.", "fusion.")),
    unused=r"^resnet\.fc\.",
)


def recognised(keys: Iterable[str]) -> Layout:
    """The family that the keys show; torchvision's, which is ours, where they show none other."""
    known = list(keys)
    for layout in (TIMM, HFF_SENET, M_MFFNET):
        assert layout.sign is not None
        if any(re.search(layout.sign, key) for key in known):
            return layout
    return TORCHVISION
