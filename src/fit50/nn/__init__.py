"""From a Network value to a torch module."""

from fit50.nn.compose import compose
from fit50.nn.cost import Cost, cost
from fit50.nn.deployed import Deployed
from fit50.nn.resnet import ResNet

__all__ = ["Cost", "Deployed", "ResNet", "compose", "cost"]
