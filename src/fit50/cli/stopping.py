"""A SIGTERM, whatever a verb is doing when it comes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fit50.spec.errors import Stopped


class _Terminated(BaseException):
    """Passes every ``except Exception`` on its way, as KeyboardInterrupt does."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Ends what is done inside at the next SIGTERM, by raising Stopped; a training takes the signal first.

    All files are whole or absent, so any moment will do.
    """

    def asked(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, asked)
    try:
        yield
    except _Terminated:
        raise Stopped("stopped by SIGTERM") from None
    finally:
        signal.signal(signal.SIGTERM, before)
