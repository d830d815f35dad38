"""What is known of each image file, kept so that an unchanged file need not be decoded again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from fit50.data.decode import Pixels, decode_image, fit_image, read_bytes
from fit50.spec.errors import DataError
from fit50.spec.files import write_text
from fit50.spec.network import Input


@dataclass(frozen=True)
class Facts:
    """A file as it was read.

    Attributes:
        stamp: size in bytes and time of change in nanoseconds.
        sha256: of the bytes; empty where they could not be read.
        size: height and width of the upright image in pixels, before fitting.
        fault: why it is no usable image; empty if it is one.
    """

    stamp: tuple[int, int]
    sha256: str
    size: tuple[int, int]
    fault: str


def inspect(path: Path, input: Input) -> tuple[Facts, Pixels | None]:
    """Reads, decodes and fits one image: its facts, and uint8 (input.height, input.width, C) if it has no fault."""
    stamp, sha256 = _stamp(path), ""
    try:
        data = read_bytes(path)
        sha256 = hashlib.sha256(data).hexdigest()
        pixels = decode_image(data, str(path))
        height, width, _ = pixels.shape
        return Facts(stamp, sha256, (height, width), ""), fit_image(pixels, input)
    except DataError as error:
        return Facts(stamp, sha256, (0, 0), str(error).removeprefix(f"{path}: ")), None


def remember(index: Path, facts: Mapping[Path, Facts]) -> None:
    """Writes the facts down, atomically. Raises StorageError."""
    write_text(index, json.dumps({str(path): astuple(known) for path, known in facts.items()}))


def recall(index: Path, paths: Sequence[Path]) -> dict[Path, Facts] | None:
    """The facts that ``remember`` wrote, or None where a file is new or has other content now.

    A file of the same size and time is trusted; another's content is read and compared by digest.
    """
    try:
        stored = json.loads(index.read_text(encoding="utf-8"))
        known = {
            Path(path): Facts(tuple(stamp), sha, tuple(size), fault)
            for path, (stamp, sha, size, fault) in stored.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    facts: dict[Path, Facts] = {}
    for path in paths:
        current = _current(path, known[path]) if path in known else None
        if current is None:
            return None
        facts[path] = current
    if facts != known:
        remember(index, facts)
    return facts


def _current(path: Path, known: Facts) -> Facts | None:
    stamp = _stamp(path)
    if stamp == known.stamp and not known.fault:
        return known
    try:
        sha256 = hashlib.sha256(read_bytes(path)).hexdigest()
    except DataError:
        sha256 = ""
    return replace(known, stamp=stamp) if sha256 == known.sha256 else None


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
