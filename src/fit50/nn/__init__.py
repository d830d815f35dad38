"""From a Network value to a torch module."""

from fit50.nn.compose import ResNet, compose
from fit50.nn.cost import Cost, cost
from fit50.nn.deployed import Deployed

__all__ = ["Cost", "Deployed", "ResNet", "compose", "cost"]
