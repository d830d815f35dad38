"""What a person sees while long work is done, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from fit50.spec.monitor import Monitor


class Screen(Monitor):
    """A line that is rewritten on a terminal; elsewhere a line at most every ``seconds``. With a time estimate."""

    def __init__(self, seconds: float = 15.0) -> None:
        self._terminal = sys.stderr.isatty()
        self._pause = 0.2 if self._terminal else seconds
        self._label, self._started, self._shown = "", 0.0, 0.0

    def progress(self, label: str, done: int, total: int) -> None:
        """Shows the share that is done, and about how long the rest will take."""
        now = time.monotonic()
        if label != self._label:
            self._label, self._started, self._shown = label, now, now
        if done >= total:
            self._label = ""
            self._clear()
        elif done and now - self._shown >= self._pause:
            self._shown = now
            left = (now - self._started) / done * (total - done)
            text = f"  {label}: {100 * done // total} %, about {_duration(left)} left"
            print(
                f"\r{text:<70}" if self._terminal else text,
                end="" if self._terminal else "\n",
                file=sys.stderr,
                flush=True,
            )

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        """Nothing: the log keeps it."""

    def _clear(self) -> None:
        if self._terminal:
            print(f"\r{'':<70}\r", end="", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
