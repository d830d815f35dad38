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
from fit50.data.sources.base import Source, passing
from fit50.spec.files import write_folder
from fit50.spec.network import Input

Progress = Callable[[int, int], None]
T = TypeVar("T")

_AT_ONCE = 256


def decode_all(
    source: Source, inputs: Sequence[Input], rows: Sequence[BinaryIO] = (), progress: Progress | None = None
) -> list[Facts]:
    """Decodes each example once, in threads, and appends the images of the usable ones to ``rows`` in order.

    Args:
        source: the examples.
        inputs: what to fit their images to: uint8 (height, width, channels) each.
        rows: one for each input, which receives its images' bytes, end to end; or none, for the facts alone.
        progress: told how many examples of how many are done.
    """
    facts: list[Facts] = []
    near = passing(source, np.arange(len(source.items)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some in _chunks(range(len(source.items))):
            for known, images in pool.map(lambda index: inspect(near, index, inputs), some):
                facts.append(known)
                for file, pixels in zip(rows, images, strict=False):  # either may be empty
                    file.write(pixels.tobytes())
                if progress:
                    progress(len(facts), len(source.items))
    return facts


def write_arrays(
    folder: Path, rows: Sequence[BinaryIO], inputs: Sequence[Input], places: Mapping[str, Sequence[int]]
) -> None:
    """Puts the images at each split's ``places`` in ``rows`` into files of ``folder``, all files or none.

    ``<split>.npy`` is that of an only input; several have ``<split>.<number>.npy`` each. Raises StorageError.
    """
    total = sum(map(len, places.values()))

    def fill(temporary: Path) -> None:
        for number, (file, input) in enumerate(zip(rows, inputs, strict=True)):
            file.flush()
            pixels = np.memmap(file, np.uint8, "r", shape=(total, *shape(input)))
            for split, chosen in places.items():
                header = {"descr": "|u1", "fortran_order": False, "shape": (len(chosen), *shape(input))}
                with (temporary / _name(split, number, inputs)).open("wb") as array:
                    np.lib.format.write_array_header_2_0(array, header)
                    for some in _chunks(chosen):
                        array.write(pixels[some].tobytes())

    write_folder(folder, fill)


def open_arrays(
    folder: Path, inputs: Sequence[Input], counts: Mapping[str, int], memory_budget: int
) -> dict[str, tuple[Pixels, ...]] | None:
    """What ``write_arrays`` wrote, for each input uint8 (N, H, W, C) by split, or None if it is not there or not whole.

    Args:
        folder: where they were written.
        inputs: as they were written for.
        counts: of the examples of each split.
        memory_budget: if all arrays have more bytes, they are memory-mapped, to be read only.
    """
    mode: Literal["r"] | None = "r" if sum(counts.values()) * example_bytes(inputs) > memory_budget else None
    arrays: dict[str, tuple[Pixels, ...]] = {}
    for split, count in counts.items():
        try:
            found = tuple(np.load(folder / _name(split, i, inputs), mmap_mode=mode) for i in range(len(inputs)))
        except (OSError, ValueError, EOFError):
            return None
        expected = [((count, *shape(input)), np.uint8) for input in inputs]
        if [(array.shape, array.dtype) for array in found] != expected:
            return None
        arrays[split] = found
    return arrays


def shape(input: Input) -> tuple[int, int, int]:
    """(H, W, C)."""
    return input.height, input.width, input.channels


def example_bytes(inputs: Sequence[Input]) -> int:
    """The bytes of one example's decoded images."""
    return sum(input.height * input.width * input.channels for input in inputs)


def _name(split: str, number: int, inputs: Sequence[Input]) -> str:
    return f"{split}.npy" if len(inputs) == 1 else f"{split}.{number}.npy"


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
