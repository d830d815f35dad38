"""What is known of each example's images, kept so that unchanged ones need not be decoded again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from fit50.data.decode import MissingImage, Pixels, decode_image, fit_image
from fit50.data.duplicates import signature
from fit50.data.sources.base import Source
from fit50.spec.errors import DataError
from fit50.spec.files import write_text
from fit50.spec.network import Input


@dataclass(frozen=True)
class Facts:
    """An example as it was read.

    Attributes:
        stamp: the source's, which changes whenever an image may have changed.
        digests: SHA-256 of each image's bytes; none where one is missing.
        size: height and width in pixels of the upright image, the first of several, before fitting.
        fault: why it cannot be used; empty if it can.
        signature: what the image looks like, for near-duplicates; of several images, with a space between.
    """

    stamp: tuple[int, ...]
    digests: tuple[str, ...]
    size: tuple[int, int]
    fault: str
    signature: str

    @property
    def sha256(self) -> str:
        """Of the image's bytes; of several images, over their digests."""
        first, *others = self.digests
        return hashlib.sha256(" ".join(self.digests).encode()).hexdigest() if others else first


def inspect(source: Source, index: int, inputs: Sequence[Input]) -> tuple[Facts, tuple[Pixels, ...]]:
    """Reads, decodes and fits an example's images.

    Returns:
        Its facts, and for each input uint8 (input.height, input.width, C), or no images if it has a fault.

    Raises:
        DataError: an image is there and could not be read, so that nothing is known of it.
    """
    name, stamp = source.items[index].name, source.stamp(index)
    try:
        contents = _contents(source, index)
    except MissingImage as error:
        return Facts(stamp, (), (0, 0), str(error).removeprefix(f"{source.location}/{name}: "), ""), ()
    digests, decoded, fitted = _digests(contents), [], []
    for input, content in zip(inputs, contents, strict=True):
        try:
            decoded.append(decode_image(content, name))
            fitted.append(fit_image(decoded[-1], input))
        except DataError as error:
            fault = str(error).removeprefix(f"{name}: ")
            return Facts(stamp, digests, (0, 0), fault if len(inputs) == 1 else f"{input.name}: {fault}", ""), ()
    height, width, _ = decoded[0].shape
    return Facts(stamp, digests, (height, width), "", " ".join(map(signature, decoded))), tuple(fitted)


def remember(index: Path, source: Source, facts: Sequence[Facts]) -> None:
    """Writes the facts of a source's examples down by their names, atomically. Raises StorageError."""
    names = (item.name for item in source.items)
    write_text(index, json.dumps({name: astuple(known) for name, known in zip(names, facts, strict=True)}))


def recall(index: Path, source: Source) -> list[Facts] | None:
    """The facts that ``remember`` wrote, or None where an example is new or has other images now.

    A usable example of the same stamp is trusted; another's images are read and compared by digest. Raises DataError
    where they cannot be read.
    """
    try:
        stored = json.loads(index.read_text(encoding="utf-8"))
        known = {
            name: Facts(tuple(stamp), tuple(digests), tuple(size), fault, signature)
            for name, (stamp, digests, size, fault, signature) in stored.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    facts: list[Facts] = []
    for place, item in enumerate(source.items):
        current = _current(source, place, known[item.name]) if item.name in known else None
        if current is None:
            return None
        facts.append(current)
    if facts != list(known.values()):
        remember(index, source, facts)
    return facts


def _current(source: Source, index: int, known: Facts) -> Facts | None:
    stamp = source.stamp(index)
    if stamp == known.stamp and not known.fault:
        return known
    try:
        digests = _digests(_contents(source, index))
    except MissingImage:
        digests = ()
    return replace(known, stamp=stamp) if digests == known.digests else None


def _contents(source: Source, index: int) -> list[bytes]:
    return [source.read(index, input) for input in range(source.inputs)]


def _digests(contents: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(hashlib.sha256(content).hexdigest() for content in contents)
