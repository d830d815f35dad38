"""Freed memory is used again while a training runs, and given back afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FAULTS = """
import resource
import torch
from fit50.train.memory import reused

def faults(megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(megabytes * 2**18)  # 256 pages for each megabyte
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

outside = faults(64)
with reused(torch.device("cpu")):
    faults(64)
    inside = faults(64)
after = faults(64)
faults(2)
print(outside, inside, after, faults(2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_pages_are_asked_for_once() -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, timeout=120, check=True)
    outside, inside, after, small = map(int, done.stdout.split())
    assert inside < 0.1 * outside
    assert after > 0.25 * outside, "large blocks are given back, two of four at least"
    assert small < 256, "smaller blocks are used again, as in a process that never trained"
