"""Decoded images on disk: written once, opened again without decoding."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np

from fit50.data.decode import Pixels
from fit50.data.facts import Facts, inspect
from fit50.spec.files import write_folder
from fit50.spec.network import Input

Progress = Callable[[int, int], None]
T = TypeVar("T")
Shape = tuple[int, int, int]

_AT_ONCE = 256


def decode_all(
    paths: Sequence[Path], input: Input, rows: BinaryIO, progress: Progress | None = None
) -> dict[Path, Facts]:
    """Decodes each file once, in threads, and appends the usable images to ``rows`` in order.

    Args:
        paths: the files.
        input: what to fit them to: uint8 (height, width, channels) each.
        rows: receives the images' bytes, end to end.
        progress: told how many files of how many are done.
    """
    facts: dict[Path, Facts] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some in _chunks(paths):
            for path, (known, pixels) in zip(some, pool.map(lambda path: inspect(path, input), some), strict=True):
                facts[path] = known
                if pixels is not None:
                    rows.write(pixels.tobytes())
                if progress:
                    progress(len(facts), len(paths))
    return facts


def write_arrays(folder: Path, rows: BinaryIO, shape: Shape, places: Mapping[str, Sequence[int]]) -> None:
    """Puts the images at each split's ``places`` in ``rows`` into ``folder/<split>.npy``, all files or none.

    Raises StorageError.
    """
    rows.flush()
    pixels = np.memmap(rows, np.uint8, "r", shape=(sum(map(len, places.values())), *shape))

    def fill(temporary: Path) -> None:
        for split, chosen in places.items():
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(chosen), *shape)}
            with (temporary / f"{split}.npy").open("wb") as file:
                np.lib.format.write_array_header_2_0(file, header)
                for some in _chunks(chosen):
                    file.write(pixels[some].tobytes())

    write_folder(folder, fill)


def open_arrays(folder: Path, shapes: Mapping[str, tuple[int, ...]], memory_budget: int) -> dict[str, Pixels] | None:
    """What ``write_arrays`` wrote, uint8 (N, H, W, C) by split, or None if it is not there or not whole.

    Arrays of more than ``memory_budget`` bytes in all are memory-mapped, to be read only.
    """
    size = sum(int(np.prod(shape)) for shape in shapes.values())
    mode: Literal["r"] | None = "r" if size > memory_budget else None
    try:
        arrays = {split: np.load(folder / f"{split}.npy", mmap_mode=mode) for split in shapes}
    except (OSError, ValueError, EOFError):
        return None
    whole = all(arrays[split].shape == shape and arrays[split].dtype == np.uint8 for split, shape in shapes.items())
    return arrays if whole else None


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
