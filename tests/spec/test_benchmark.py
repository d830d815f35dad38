"""Loads."""

from __future__ import annotations

import pytest

from fit50.spec.benchmark import Load
from fit50.spec.errors import SpecError


def test_a_load_says_itself() -> None:
    assert str(Load(threads=1)) == "1 thread, batch 1"
    assert str(Load(threads=4, streams=2, batch=16)) == "4 threads in 2 streams, batch 16"
    assert Load(threads=4, streams=2, batch=16).images == 32


def test_streams_share_threads_evenly() -> None:
    with pytest.raises(SpecError, match="expected threads that 2 streams share evenly, found 3"):
        Load.parse({"threads": 3, "streams": 2})
