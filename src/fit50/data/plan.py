"""What becomes of each file: used in which split, or set aside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fit50.data.audit import Audit, Sizes
from fit50.data.facts import Facts
from fit50.data.sources.folder import FolderSource, Item
from fit50.data.splits import SPLITS, assign, record, recorded, straddling
from fit50.spec.errors import DataError
from fit50.spec.network import Input

# Part of every identity; raised when decoding or fitting gives other pixels than before.
_RULE = "fit50 images 1"


@dataclass(frozen=True)
class Plan:
    """The usable images and their splits.

    Attributes:
        items: the usable images, in the source's order.
        places: for each split, the indices of its images in ``items``.
        audit: the facts for the user.
        identity: SHA-256 over contents, labels, splits and the input's geometry.
    """

    items: tuple[Item, ...]
    places: Mapping[str, Sequence[int]]
    audit: Audit
    identity: str


def index_name(root: Path, input: Input) -> str:
    """The name of the file that keeps the facts of a folder, for one input geometry."""
    return f"{_digest([_RULE, str(root.resolve()), _geometry(input)])}.json"


def plan(source: FolderSource, facts: Mapping[Path, Facts], input: Input, kept: Path | None, seed: int) -> Plan:
    """Sets aside what is no usable image and splits the rest; follows the record at ``kept``, or writes it.

    Raises:
        DataError: a class has no usable image, or none in some split; or the record is of other files.
    """
    items = tuple(item for item in source.items if not facts[item.path].fault)
    _refuse_lost_classes(source, items, facts)
    known = [facts[item.path] for item in items]
    splits = _splits(source, items, [each.sha256 for each in known], kept, seed)
    labelled = [(each.sha256, item.label, split) for each, item, split in zip(known, items, splits, strict=True)]
    places = {split: [i for i, each in enumerate(splits) if each == split] for split in SPLITS}
    identity = _digest([_RULE, _geometry(input), source.classes, labelled])
    return Plan(items, places, _audit(source, items, facts, splits), identity)


def _splits(
    source: FolderSource, items: Sequence[Item], contents: Sequence[str], kept: Path | None, seed: int
) -> list[str]:
    names = [_name(source, item.path) for item in items]
    digests = dict(zip(names, contents, strict=True))
    if kept is not None and (before := recorded(kept, digests)) is not None:
        return [before[name] for name in names]
    labels, given = [item.label for item in items], [item.split for item in items]
    splits = assign(labels, given, seed, contents=contents, classes=source.classes)
    if kept is not None:
        record(kept, dict(zip(names, splits, strict=True)), digests)
    return splits


def _refuse_lost_classes(source: FolderSource, items: Sequence[Item], facts: Mapping[Path, Facts]) -> None:
    left = {item.label for item in items}
    for label, name in enumerate(source.classes):
        if label not in left:
            lost = [item.path for item in source.items if item.label == label]
            first = "\n".join(f"  {path}: {facts[path].fault}" for path in lost[:3])
            raise DataError(
                f"class {name!r}: expected at least one usable image, found none in {len(lost)} files; "
                f"replace them or remove the class. The first:\n{first}"
            )


def _audit(source: FolderSource, items: Sequence[Item], facts: Mapping[Path, Facts], splits: Sequence[str]) -> Audit:
    counts = {split: dict.fromkeys(source.classes, 0) for split in SPLITS}
    for item, split in zip(items, splits, strict=True):
        counts[split][source.classes[item.label]] += 1
    faults = [(_name(source, item.path), fault) for item in source.items if (fault := facts[item.path].fault)]
    others = [(_name(source, path), _other(path)) for path in source.others]
    sizes = np.array([facts[item.path].size for item in items])
    return Audit(
        counts=counts,
        sizes=Sizes(*((int(pair[0]), int(pair[1])) for pair in (np.median(sizes, 0), sizes.min(0), sizes.max(0)))),
        set_aside=(*faults, *others),
        duplicates=straddling(splits, [facts[item.path].sha256 for item in items]),
    )


def _other(path: Path) -> str:
    kind = f"the extension {path.suffix!r}" if path.suffix else "a name without extension"
    return f"expected an image file, found {kind}; convert, rename or remove the file"


def _name(source: FolderSource, path: Path) -> str:
    return path.relative_to(source.root).as_posix()


def _geometry(input: Input) -> list[object]:
    return [input.height, input.width, input.channels, input.resize, input.crop_fraction]


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, separators=(",", ":")).encode()).hexdigest()
