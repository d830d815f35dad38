"""The Prune and Quantize steps."""

from fit50.compress.prune import prune
from fit50.compress.quantize import quantize

__all__ = ["prune", "quantize"]
