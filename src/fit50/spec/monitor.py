"""How long work tells what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class Monitor:
    """Listens to nothing. Subclasses show progress or keep a log."""

    def progress(self, label: str, done: int, total: int) -> None:
        """``done`` of ``total`` equal parts of the work called ``label`` are finished."""

    def say(self, text: str) -> None:
        """A line for a person."""

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        """A line for a machine: one event with its facts, plain data all."""


@dataclass
class Parts:
    """Numbers the parts of a job aloud, such as ``[3/8] se``."""

    monitor: Monitor
    total: int
    begun: int = 0

    def begin(self, name: str) -> None:
        """Says that the next part begins."""
        self.begun += 1
        self.monitor.say(f"[{self.begun}/{self.total}] {name}")
