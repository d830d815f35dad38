"""What becomes of each example: used in which split, or set aside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fit50.data.audit import Audit, Sizes
from fit50.data.duplicates import clusters
from fit50.data.facts import Facts
from fit50.data.sources.base import Item, Source
from fit50.data.splits import SPLITS, assign, record, recorded, straddling, together
from fit50.spec.errors import DataError
from fit50.spec.inspection import Twin
from fit50.spec.network import Input

# Part of every identity; raised when decoding or fitting gives other pixels than before.
_RULE = "fit50 images 1"
# What is remembered of each file; raised when there is more of it, or other.
_FACTS = "fit50 facts 2"


@dataclass(frozen=True)
class Plan:
    """The usable examples and their splits.

    Attributes:
        usable: indices into the source's items, ascending (N,).
        places: for each split, indices into ``usable``, ascending.
        audit: the facts for the user.
        identity: SHA-256 over contents, labels, splits and the inputs' geometry.
    """

    usable: NDArray[np.int64]
    places: Mapping[str, Sequence[int]]
    audit: Audit
    identity: str


def index_name(location: str, inputs: Sequence[Input]) -> str:
    """The name of the file that keeps the facts of a source, for the geometry of the inputs."""
    return f"{_sha256([_FACTS, location, _geometry(inputs)])}.json"


def plan(source: Source, facts: Sequence[Facts], inputs: Sequence[Input], kept: Path | None, seed: int) -> Plan:
    """Sets aside what cannot be used and splits the rest; follows the record at ``kept``, or writes it.

    Raises:
        DataError: a class has no usable image, or none in some split; or the record is of other files.
    """
    usable = [index for index, each in enumerate(facts) if not each.fault]
    _refuse_lost_classes(source, facts)
    items, known = [source.items[index] for index in usable], [facts[index] for index in usable]
    alike = _alike(known)
    splits = _splits(source.classes, items, known, alike, kept, seed)
    labelled = [(each.sha256, item.label, split) for each, item, split in zip(known, items, splits, strict=True)]
    places = {split: [place for place, each in enumerate(splits) if each == split] for split in SPLITS}
    identity = _sha256([_RULE, _geometry(inputs), source.classes, labelled])
    faults = tuple((item.name, each.fault) for item, each in zip(source.items, facts, strict=True) if each.fault)
    audit = _audit(source.classes, items, known, alike, splits, (*faults, *source.others))
    return Plan(np.array(usable, np.int64), places, audit, identity)


def _alike(known: Sequence[Facts]) -> list[tuple[int, ...]]:
    """A mark for each example, the same for those of which every image looks like the other's."""
    signatures = zip(*(each.signature.split() for each in known), strict=True)  # for each input (N,)
    return list(zip(*(clusters(column).tolist() for column in signatures), strict=True))


def _splits(
    classes: Sequence[str],
    items: Sequence[Item],
    known: Sequence[Facts],
    alike: Sequence[object],
    kept: Path | None,
    seed: int,
) -> list[str]:
    names, contents = [item.name for item in items], [each.sha256 for each in known]
    digests = dict(zip(names, contents, strict=True))
    if kept is not None and (before := recorded(kept, digests)) is not None:
        return [before[name] for name in names]
    keys = together(contents, [item.group for item in items], alike)
    splits = assign([item.label for item in items], [item.split for item in items], seed, keys=keys, classes=classes)
    if kept is not None:
        record(kept, dict(zip(names, splits, strict=True)), digests)
    return splits


def _refuse_lost_classes(source: Source, facts: Sequence[Facts]) -> None:
    left = {item.label for item, each in zip(source.items, facts, strict=True) if not each.fault}
    for label, name in enumerate(source.classes):
        if label in left:
            continue
        lost = [(item.name, each.fault) for item, each in zip(source.items, facts, strict=True) if item.label == label]
        first = "\n".join(f"  {item}: {fault}" for item, fault in (lost or source.others)[:3])
        raise DataError(
            f"class {name!r}: expected at least one usable image, found none in {len(lost)} files; "
            f"replace them or remove the class. The first that are set aside:\n{first}"
        )


def _audit(
    classes: Sequence[str],
    items: Sequence[Item],
    known: Sequence[Facts],
    alike: Sequence[object],
    splits: Sequence[str],
    set_aside: tuple[tuple[str, str], ...],
) -> Audit:
    counts = {split: dict.fromkeys(classes, 0) for split in SPLITS}
    for item, split in zip(items, splits, strict=True):
        counts[split][classes[item.label]] += 1
    sizes = np.array([each.size for each in known])
    copies = straddling(splits, [each.sha256 for each in known])
    copied = {later for later, _ in copies}
    return Audit(
        counts=counts,
        sizes=Sizes(*((int(pair[0]), int(pair[1])) for pair in (np.median(sizes, 0), sizes.min(0), sizes.max(0)))),
        set_aside=set_aside,
        duplicates=len(copies),
        near_duplicates=tuple(
            (items[later].name, items[earlier].name)
            for later, earlier in straddling(splits, alike)
            if later not in copied
        ),
        leaks=len(straddling(splits, [item.group for item in items])),
        twins=_twins(classes, items, known, alike, splits),
    )


def _twins(
    classes: Sequence[str],
    items: Sequence[Item],
    known: Sequence[Facts],
    alike: Sequence[object],
    splits: Sequence[str],
) -> tuple[Twin, ...]:
    """Each image with an earlier one that it copies or looks like: best one of another split, best a copy."""
    copied: dict[str, int] = {}
    seen: dict[object, int] = {}
    twins: list[Twin] = []
    for place in sorted(range(len(items)), key=lambda place: SPLITS.index(splits[place])):
        copy, similar = copied.setdefault(known[place].sha256, place), seen.setdefault(alike[place], place)
        other = max(copy, similar, key=lambda first: (first != place, splits[first] != splits[place]))
        if other != place:
            one, two = items[other], items[place]
            twins.append(
                Twin(
                    names=(one.name, two.name),
                    splits=(splits[other], splits[place]),
                    classes=(classes[one.label], classes[two.label]),
                    exact=known[other].sha256 == known[place].sha256,
                )
            )
    return tuple(twins)


def _geometry(inputs: Sequence[Input]) -> object:
    """What decides the pixels: of one input a list, of several a list of such lists."""
    each = [[input.height, input.width, input.channels, input.resize, input.crop_fraction] for input in inputs]
    return each if len(inputs) > 1 else each[0]


def _sha256(data: object) -> str:
    return hashlib.sha256(json.dumps(data, separators=(",", ":")).encode()).hexdigest()
