"""A monitor for tests."""

from __future__ import annotations

from fit50.spec.monitor import Monitor


class Listener(Monitor):
    """Notes what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """Noted."""
        self.said.append(text)
