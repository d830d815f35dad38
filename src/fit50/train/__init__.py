"""The Train step."""

from fit50.train.loop import train

__all__ = ["train"]
