"""The graph that users deploy: photographs in, probabilities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fit50.nn.compose import ResNet
from fit50.spec.network import Input


class Normalize(nn.Module):
    """uint8 images (N, H, W, C) to normalised float images (N, C, H, W)."""

    scale: Tensor
    offset: Tensor

    def __init__(self, image: Input) -> None:
        super().__init__()
        mean, std = torch.tensor(image.mean), torch.tensor(image.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, -1, 1, 1))
        self.register_buffer("offset", (-mean / std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2).float() * self.scale + self.offset


class Deployed(nn.Module):
    """Normalisation, network and softmax in one: uint8 (N, H, W, C) -> probabilities (N, classes)."""

    def __init__(self, module: ResNet, image: Input) -> None:
        super().__init__()
        self.normalize = Normalize(image)
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return self.module(self.normalize(images)).softmax(1)
