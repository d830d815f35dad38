"""A request to stop that waits for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from fit50.spec.errors import Stopped

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Request:
    """Whether somebody asked, and by which signal."""

    signal: int | None = None

    def end(self) -> None:
        """Ends what was asked to stop, once its state is kept. Raises KeyboardInterrupt or Stopped."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise Stopped(f"stopped by {signal.Signals(self.signal or signal.SIGTERM).name}")


@contextmanager
def stop_requests() -> Iterator[Request]:
    """Turns the first SIGTERM or Ctrl-C into a request; a second one acts at once.

    Outside the main thread, where Python takes no signals, there are none.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def asked(number: int, frame: FrameType | None) -> None:
        request.signal = number
        restore()

    for number in _SIGNALS:
        signal.signal(number, asked)
    try:
        yield request
    finally:
        restore()
