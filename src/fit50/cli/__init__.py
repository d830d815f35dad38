"""The command line: ``fit50 VERB``."""

from fit50.cli.main import main

__all__ = ["main"]
