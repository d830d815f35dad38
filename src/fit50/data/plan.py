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
from fit50.data.splits import SPLITS, Said, assign, record, recorded, refuse_gaps, straddling, together
from fit50.spec.errors import DataError
from fit50.spec.inspection import Twin
from fit50.spec.network import Input

Marks = Sequence[object]

# Part of every identity; raised when decoding or fitting gives other pixels than before.
_RULE = "fit50 images 1"
# What is remembered of each file; raised when there is more of it, or other.
_FACTS = "fit50 facts 3"


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
    return f"{_sha256([_FACTS, location, geometry(inputs)])}.json"


def plan(source: Source, facts: Sequence[Facts], inputs: Sequence[Input], kept: Path | None, seed: int) -> Plan:
    """Sets aside what cannot be used and splits the rest; follows the record at ``kept``, or writes it.

    Raises:
        DataError: a class has no usable image, or none in some split; or the record is of other files.
    """
    usable = [index for index, each in enumerate(facts) if not each.fault]
    _refuse_lost_classes(source, facts)
    items, known = [source.items[index] for index in usable], [facts[index] for index in usable]
    alike = _alike(known)
    copies = list(zip(*(each.digests for each in known), strict=True))
    splits = _splits(source.classes, items, known, (*copies, *alike), kept, seed)
    labelled = [(each.sha256, item.label, split) for each, item, split in zip(known, items, splits, strict=True)]
    places = {split: [place for place, each in enumerate(splits) if each == split] for split in SPLITS}
    identity = _sha256([_RULE, geometry(inputs), source.classes, labelled])
    faults = tuple((item.name, each.fault) for item, each in zip(source.items, facts, strict=True) if each.fault)
    audit = _audit(source.classes, items, known, copies, alike, splits, (*faults, *source.others))
    return Plan(np.array(usable, np.int64), places, audit, identity)


def _alike(known: Sequence[Facts]) -> list[Marks]:
    """For each input a mark for each example (N,), the same for those whose images look alike."""
    signatures = zip(*(each.signature.split() for each in known), strict=True)
    return [clusters(column).tolist() for column in signatures]


def _splits(
    classes: Sequence[str],
    items: Sequence[Item],
    known: Sequence[Facts],
    shared: Sequence[Marks],
    kept: Path | None,
    seed: int,
) -> list[str]:
    """Each example's split; those of a mark in ``shared`` stay together, unless that leaves a class too few keys."""
    names, labels = [item.name for item in items], [item.label for item in items]
    contents = [each.sha256 for each in known]
    digests = dict(zip(names, contents, strict=True))
    said = {item.name: Said(classes[item.label], item.split, item.group) for item in items}
    if kept is not None and (before := recorded(kept, digests, said)) is not None:
        splits = [before[name] for name in names]
        refuse_gaps(labels, splits, classes)
        return splits
    given, groups = [item.split for item in items], [item.group for item in items]
    try:
        splits = assign(labels, given, seed, keys=together(contents, groups, *shared), classes=classes)
    except DataError:  # what then lies on both sides is in the audit
        splits = assign(labels, given, seed, keys=together(contents, groups), classes=classes)
    if kept is not None:
        record(kept, dict(zip(names, splits, strict=True)), digests, said)
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
    copies: Sequence[Marks],
    alike: Sequence[Marks],
    splits: Sequence[str],
    set_aside: tuple[tuple[str, str], ...],
) -> Audit:
    counts = {split: dict.fromkeys(classes, 0) for split in SPLITS}
    for item, split in zip(items, splits, strict=True):
        counts[split][classes[item.label]] += 1
    sizes = np.array([each.size for each in known])
    copied = {later for marks in copies for later, _ in straddling(splits, marks)}
    similar = {later: first for marks in alike for later, first in straddling(splits, marks) if later not in copied}
    grouped = {later for later, _ in straddling(splits, [item.group for item in items])}
    return Audit(
        counts=counts,
        sizes=Sizes(*((int(pair[0]), int(pair[1])) for pair in (np.median(sizes, 0), sizes.min(0), sizes.max(0)))),
        set_aside=set_aside,
        duplicates=len(copied),
        near_duplicates=tuple((items[later].name, items[first].name) for later, first in similar.items()),
        leaks=len(grouped - copied - similar.keys()),
        twins=_twins(classes, items, copies, alike, splits),
    )


def _twins(
    classes: Sequence[str],
    items: Sequence[Item],
    copies: Sequence[Marks],
    alike: Sequence[Marks],
    splits: Sequence[str],
) -> tuple[Twin, ...]:
    """Each image with an earlier one that it copies or looks like: best one of another split, best a copy."""
    seen: list[dict[object, int]] = [{} for _ in (*copies, *alike)]
    twins: list[Twin] = []
    for place in sorted(range(len(items)), key=lambda place: SPLITS.index(splits[place])):
        firsts = [first.setdefault(marks[place], place) for first, marks in zip(seen, (*copies, *alike), strict=True)]
        other = max(firsts, key=lambda first: (first != place, splits[first] != splits[place]))
        if other != place:
            one, two = items[other], items[place]
            twins.append(
                Twin(
                    names=(one.name, two.name),
                    splits=(splits[other], splits[place]),
                    classes=(classes[one.label], classes[two.label]),
                    exact=any(marks[other] == marks[place] for marks in copies),
                )
            )
    return tuple(twins)


def geometry(inputs: Sequence[Input]) -> object:
    """What decides the pixels: of one input a list, of several a list of such lists."""
    each = [[input.height, input.width, input.channels, input.resize, input.crop_fraction] for input in inputs]
    return each if len(inputs) > 1 else each[0]


def _sha256(data: object) -> str:
    return hashlib.sha256(json.dumps(data, separators=(",", ":")).encode()).hexdigest()
