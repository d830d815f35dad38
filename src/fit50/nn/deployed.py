"""The graph that users deploy: photographs in, probabilities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fit50.nn.resnet import ResNet
from fit50.spec.network import Input


class Normalize(nn.Module):
    """uint8 images (N, H, W, C), red first, to normalised float images (N, C, H, W) in the network's order."""

    scale: Tensor
    offset: Tensor

    def __init__(self, image: Input) -> None:
        super().__init__()
        mean, std = torch.tensor(image.mean), torch.tensor(image.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, -1, 1, 1))
        self.register_buffer("offset", (-mean / std).view(1, -1, 1, 1))
        self.flipped = image.order == "bgr"

    def forward(self, images: Tensor) -> Tensor:
        images = images.float().permute(0, 3, 1, 2)  # floats first: few runtimes move bytes about
        if self.flipped:
            images = images.flip(1)
        return images * self.scale + self.offset


class Deployed(nn.Module):
    """Normalisation, network and softmax in one: uint8 (N, H, W, C) for each input -> probabilities (N, classes).

    Where training hid inputs (modality dropout), an image of zeros counts as missing.
    """

    def __init__(self, module: ResNet) -> None:
        super().__init__()
        network = module.network
        self.normalize = nn.ModuleList(Normalize(image) for image in network.inputs)
        self.missing = network.fusion is not None and network.fusion.modality_dropout > 0
        self.module = module

    def forward(self, *images: Tensor) -> Tensor:
        normalized = [normalize(image) for normalize, image in zip(self.normalize, images, strict=True)]
        present = None
        if self.missing:
            present = torch.stack([image.amax((1, 2, 3)) > 0 for image in images], 1)
        return self.module(*normalized, present=present).softmax(1)
