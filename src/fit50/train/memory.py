"""How a training on the CPU gets its memory."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names of its parameters, from glibc's malloc.h
_HUGE = 2**30
_GROWN_TRIM, _GROWN_MMAP = 64 * 2**20, 32 * 2**20


@contextmanager
def reused(device: torch.device) -> Iterator[None]:
    """Inside, memory that is freed waits for its next use instead of going back to the system.

    Every step of a training asks for the same large blocks. Taken from the system, each page of them costs a fault,
    and threads wait for each other's; what that costs differs (``benchmarks/step.py``). Only glibc's allocator is told.

    Once told, it no longer adapts its thresholds to what is asked of it. So they are left at the most that it would
    have adapted them to, lest a network that is run afterwards be slower than in a process that never trained.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_THRESHOLD, _HUGE)
    library.mallopt(_TRIM_THRESHOLD, _HUGE)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, _GROWN_MMAP)
        library.mallopt(_TRIM_THRESHOLD, _GROWN_TRIM)
        library.malloc_trim(0)
