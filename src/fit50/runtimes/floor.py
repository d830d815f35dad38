"""The least time that a machine could need: bytes over its measured bandwidth, operations over its measured rate.

The rates are measured in a fresh process (``python -m fit50.runtimes.floor``), where numpy's matrix products can be
held to one thread each.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fit50.runtimes.base import Bundle
from fit50.spec.benchmark import Floor, Load
from fit50.spec.errors import DeviceError
from fit50.spec.numerics import BYTES, Precision

_LIBRARIES = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "BLIS_NUM", "VECLIB_MAXIMUM")  # that numpy may multiply with
_MULTIPLES: dict[Precision, tuple[tuple[str, float], ...]] = {
    "float32": (),
    "bf16": (("amx_bf16", 16), ("avx512_bf16", 2), ("bf16", 4)),
    "fp16": (("amx_fp16", 16), ("avx512_fp16", 2), ("asimdhp", 2)),
    "int8": (
        ("amx_int8", 32),
        ("avx512_vnni", 4),
        ("avx_vnni", 4),
        ("i8mm", 8),
        ("asimddp", 4),
        ("avx512f", 4 / 3),
        ("avx2", 4 / 3),
        ("asimd", 4 / 3),
    ),
}
_SIDE = 384
_PRODUCTS = 8  # that each thread multiplies in one timing
_SPENT = 0.3  # seconds
_LEAST = 1 << 20  # bytes: fewer are moved faster than Python can ask for it
_MOST = 1 << 30  # bytes: more are moved no slower, for no cache holds these
_TIMED = 1 << 27  # bytes that one timing moves at least


@dataclass(frozen=True)
class Rates:
    """What so many threads of a machine do at best.

    Attributes:
        gmacs: billions of multiply-accumulates in a second, in float32.
        bandwidths: GB/s by how many bytes are moved over and over.
    """

    gmacs: float
    bandwidths: dict[int, float]


def multiple(precision: Precision, isa: Iterable[str]) -> float:
    """How many times float32's rate a precision computes at, by the first of its instruction sets that is there.

    An assumption: the multiply-accumulates that an instruction does against float32's in a register of the same width.
    A dot product of 8 bits does four in the place of one, of 16 bits two; Arm's matrix products do twice that. Where
    8-bit dot products take three instructions, they do four thirds. AMX does 1,024 in a cycle in int8 and 512 in 16
    bits, against 32 of AVX-512 in float32.
    """
    known = set(isa)
    return next((times for flag, times in _MULTIPLES[precision] if flag in known), 1)


def traffic(bundle: Bundle, load: Load) -> int:
    """Bytes moved at least: the file for each stream, the activations of its largest layer for each image."""
    manifest = bundle.manifest
    return round(
        load.streams * bundle.size * 1e6 + load.images * (manifest.activations or 0) * BYTES[manifest.precision]
    )


def floor(bundle: Bundle, load: Load, rates: Rates, isa: Iterable[str]) -> Floor | None:
    """The floor of a file; None where it does not say how much it computes."""
    manifest = bundle.manifest
    if manifest.gmacs is None:
        return None
    moved, computed = traffic(bundle, load), load.images * manifest.gmacs
    times = multiple(manifest.precision, isa)
    memory, arithmetic = moved / 1e6 / rates.bandwidths[moved], 1e3 * computed / (rates.gmacs * times)
    return Floor(
        milliseconds=max(memory, arithmetic),
        bound="memory" if memory > arithmetic else "arithmetic",
        megabytes=moved / 1e6,
        bandwidth=rates.bandwidths[moved],
        gmacs=computed,
        rate=rates.gmacs * times,
        multiple=times,
    )


def measured_rates(threads: int, sizes: Sequence[int]) -> Rates:
    """Measures in a fresh process what ``threads`` do at best, moving each number of bytes and multiplying matrices.

    Raises DeviceError where they cannot.
    """
    command = [sys.executable, "-m", "fit50.runtimes.floor", *map(str, (threads, *sizes))]
    alone = os.environ | {f"{library}_THREADS": "1" for library in _LIBRARIES}
    done = subprocess.run(command, env=alone, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise DeviceError(f"expected a machine that can multiply and copy in {threads} threads, found: {reason}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Rates(found["gmacs"], dict(zip(sizes, found["bandwidths"], strict=True)))


def multiply_rate(threads: int, side: int = _SIDE) -> float:
    """GMAC/s of numpy's float32 matrix products, one for each thread at a time, all threads at once."""
    factors = [np.random.default_rng(seed).standard_normal((3, side, side), np.float32) for seed in range(threads)]

    def multiply(matrices: NDArray[np.float32]) -> None:
        left, right, result = matrices
        for _ in range(_PRODUCTS):
            np.matmul(left, right, out=result)

    with ThreadPoolExecutor(threads) as pool:
        seconds = _least_seconds(lambda: list(pool.map(multiply, factors)))
    return threads * _PRODUCTS * side**3 / 1e9 / seconds


def bandwidth(size: int, threads: int, timed: int = _TIMED) -> float:
    """GB/s of copying, all threads at once: half of ``size`` bytes are read, half written, over and over."""
    part = min(max(size, _LEAST), _MOST) // (2 * threads)
    loops = math.ceil(timed / (2 * part * threads))
    pairs = [(np.zeros(part, np.uint8), np.ones(part, np.uint8)) for _ in range(threads)]

    def copy(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        for _ in range(loops):
            np.copyto(*pair)

    with ThreadPoolExecutor(threads) as pool:
        seconds = _least_seconds(lambda: list(pool.map(copy, pairs)))
    return 2 * part * threads * loops / 1e9 / seconds


def _least_seconds(work: Callable[[], object]) -> float:
    """The shortest of at least three repeats, of as many as fit in a while: only a disturbance makes one longer."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < _SPENT:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main(threads: str, *sizes: str) -> None:
    """Prints ``{"gmacs": ..., "bandwidths": [...]}``."""
    found = [bandwidth(int(size), int(threads)) for size in sizes]
    print(json.dumps({"gmacs": multiply_rate(int(threads)), "bandwidths": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
