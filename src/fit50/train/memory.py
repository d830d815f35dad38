"""How a training on the CPU gets its memory."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names of its parameters, from glibc's malloc.h
_DEFAULT = 128 * 1024
_HUGE = 2**30


@contextmanager
def reused(device: torch.device) -> Iterator[None]:
    """Inside, memory that is freed waits for its next use instead of going back to the system.

    Every step of a training asks for the same large blocks. Taken from the system, each page of them costs a fault,
    and threads wait for each other's; what that costs differs (``benchmarks/step.py``). Only glibc's allocator is told.
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
        library.mallopt(_MMAP_THRESHOLD, _DEFAULT)
        library.mallopt(_TRIM_THRESHOLD, _DEFAULT)
        library.malloc_trim(0)
