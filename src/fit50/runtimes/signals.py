"""Keeping Python's signals alive beside OpenVINO."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """Linux's ``stack_t``."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def same_signal_stack() -> Iterator[None]:
    """Leaves the thread with the alternate signal stack that it had.

    Each model that OpenVINO compiles gives the thread a stack of its own, and when it goes, the stack that was there
    before. Of two models, that is the first one's; where that went first, the next signal, a Ctrl-C as well, runs on
    memory that is no longer there, and ends the process (seen with OpenVINO 2026.4.1). If what was there before is
    always the thread's own stack, any order will do.
    """
    if sys.platform != "linux":
        yield
        return
    library, kept = ctypes.CDLL(None), _Stack()
    library.sigaltstack(None, ctypes.byref(kept))
    try:
        yield
    finally:
        gc.collect()
        library.sigaltstack(ctypes.byref(kept), None)
