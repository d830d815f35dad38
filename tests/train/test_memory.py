"""Freed memory is used again while a training runs, and given back afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FAULTS = """
import resource
import torch
from fit50.train.memory import reused

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(16 * 2**20)  # 64 MB, 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

outside = faults()
with reused(torch.device("cpu")):
    faults()
    inside = faults()
print(outside, inside, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_pages_are_asked_for_once() -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, timeout=120, check=True)
    outside, inside, after = map(int, done.stdout.split())
    assert inside < 0.1 * outside
    assert after > 0.5 * outside
