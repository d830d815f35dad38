"""Which image is learned from, which one decides, and which one is kept for the end."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fit50.spec.errors import DataError
from fit50.spec.files import write_text

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def assign(
    source_labels: Sequence[int],
    splits: Sequence[str | None],
    seed: int,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    *,
    keys: Sequence[str],
    classes: Sequence[str],
) -> list[str]:
    """Gives every image a split, class by class, out of the ones that have none or are the user's training images.

    A split that the user made is kept; of ``val`` and ``test``, those that are missing are drawn. The draw depends on
    the seed and the keys alone, not on names or their order. Images of the same key stay together, and with the user's
    own split where that has one of them.

    Args:
        source_labels: the class index of each image (N,).
        splits: the user's split of each image (N,), or None.
        seed: decides the draw.
        val_fraction: of each class's images to draw from, at least one.
        test_fraction: likewise.
        keys: of each image (N,), as ``together`` gives them.
        classes: the names, for errors.

    Returns:
        ``train``, ``val`` or ``test`` for each image (N,).

    Raises:
        DataError: a class would have no image in some split.
    """
    result = [split or "train" for split in splits]
    fractions = {"test": test_fraction, "val": val_fraction}
    missing = {split: fraction for split, fraction in fractions.items() if split not in result}
    if not all(fraction > 0 for fraction in missing.values()) or sum(missing.values()) >= 1:
        raise DataError(f"splits: expected fractions above 0 that sum to less than 1, found {missing}")
    if missing:
        fixed = {key for key, split in zip(keys, result, strict=True) if split != "train"}
        drawn = _draw(_counted(source_labels, keys, fixed), missing, seed, classes)
        result = [drawn.get(key, split) for key, split in zip(keys, result, strict=True)]
    refuse_gaps(source_labels, result, classes)
    return result


def together(contents: Sequence[str], *others: Sequence[object]) -> list[str]:
    """A key for each image (N,), the same for images that must not be parted.

    Args:
        contents: a digest of each image's bytes (N,); the least of those that stay together is their key.
        others: of each image (N,), whatever keeps it with those that have the same: a group, or a cluster of
            near-duplicates; None if nothing does.
    """
    parents = list(range(len(contents)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    for marks in (contents, *others):
        first: dict[object, int] = {}
        for place, mark in enumerate(marks):
            if mark is not None:
                parents[root(place)] = root(first.setdefault(mark, place))
    least: dict[int, str] = {}
    for place, content in enumerate(contents):
        least[root(place)] = min(content, least.get(root(place), content))
    return [least[root(place)] for place in range(len(contents))]


def _counted(labels: Sequence[int], keys: Sequence[str], fixed: set[str]) -> dict[int, Counter[str]]:
    """For each class, how many images have each key."""
    counted: dict[int, Counter[str]] = defaultdict(Counter)
    for label, key in zip(labels, keys, strict=True):
        if key not in fixed:
            counted[label][key] += 1
    return counted


def _draw(
    counted: Mapping[int, Counter[str]], fractions: Mapping[str, float], seed: int, classes: Sequence[str]
) -> dict[str, str]:
    """The split of each key that leaves train, and a key of each class that stays.

    Classes of few keys draw first; what they drew counts for the other classes that have the key.
    """
    drawn: dict[str, str] = {}
    for label, sizes in sorted(counted.items(), key=lambda pair: (len(pair[1]), pair[0])):
        if len(sizes) <= len(fractions):
            raise DataError(
                f"class {classes[label]!r}: expected at least {len(fractions) + 1} different images, or groups of "
                f"images that belong together, to draw {' and '.join(sorted(fractions))} from, found {len(sizes)}; "
                f"add images or remove the class"
            )
        ranked = sorted(sizes, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
        for number, (split, fraction) in enumerate({**fractions, "train": 0}.items()):
            rest = {key: sizes[key] for key in ranked if key not in drawn}
            others = len(fractions) - number  # the splits that come after
            has = sum(size for key, size in sizes.items() if drawn.get(key) == split)
            chosen = _chosen(rest, round(fraction * sizes.total()) - has, len(rest) - others)
            if not chosen and not has and rest:
                chosen = [min(rest, key=lambda key: rest[key])]
            drawn |= dict.fromkeys(chosen, split)
    return drawn


def _chosen(sizes: Mapping[str, int], images: int, most: int) -> list[str]:
    """Keys in order that have at most so many images in all, and are at most ``most`` keys."""
    chosen: list[str] = []
    for key, size in sizes.items():
        if len(chosen) < most and size <= images:
            chosen.append(key)
            images -= size
    return chosen


def refuse_gaps(labels: Sequence[int], splits: Sequence[str], classes: Sequence[str]) -> None:
    """Raises DataError where a class has no image in some split."""
    present = set(zip(labels, splits, strict=True))
    gaps = [(name, split) for label, name in enumerate(classes) for split in SPLITS if (label, split) not in present]
    if gaps:
        name, split = gaps[0]
        more = f" (and {len(gaps) - 1} more such gaps)" if len(gaps) > 1 else ""
        raise DataError(
            f"class {name!r}: expected at least one image in each of {', '.join(SPLITS)}, "
            f"found none in {split}{more}; add images or remove the class"
        )


def straddling(splits: Sequence[str], keys: Sequence[object]) -> list[tuple[int, int]]:
    """Which images of val and test share a key with one of an earlier split, each with the first such; None is no key.

    Args:
        splits: of each image (N,).
        keys: of each image (N,).

    Returns:
        Pairs of indices: the later split's image, and the earlier split's.
    """
    pairs: list[tuple[int, int]] = []
    first: dict[object, int] = {}
    for split in SPLITS:
        members = [place for place, key in enumerate(keys) if key is not None and splits[place] == split]
        pairs += [(place, first[keys[place]]) for place in members if keys[place] in first]
        for place in members:
            first.setdefault(keys[place], place)
    return pairs


class Said(NamedTuple):
    """What the user says of an example: its class's name, and a split and a group or None."""

    label: str
    split: str | None
    group: str | None


def record(path: Path, splits: Mapping[str, str], contents: Mapping[str, str], said: Mapping[str, Said]) -> None:
    """Writes down each example's split, digest and what the user says of it, by name. Raises StorageError."""
    data = {"splits": dict(splits), "sha256": dict(contents), "said": dict(said)}
    write_text(path, json.dumps(data, indent=1, sort_keys=True) + "\n")


def recorded(path: Path, contents: Mapping[str, str], said: Mapping[str, Said]) -> dict[str, str] | None:
    """The splits that ``record`` wrote, or None where there is no record.

    Args:
        path: the record; one of an earlier version, which does not hold what the user said, is taken as it is.
        contents: the digests, by name.
        said: what the user says, by name.

    Raises:
        DataError: the record cannot be read, or the files or what the user says of them have changed.
    """
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        splits, known = dict(data["splits"]), dict(data["sha256"])
        before = {name: Said(*each) for name, each in data.get("said", {}).items()} or said
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected a record of splits, found: {error!r}; delete it to split anew") from None
    whole = splits.keys() == known.keys() == before.keys() and set(splits.values()) <= set(SPLITS)
    if known != dict(contents) or before != said or not whole:
        raise DataError(
            f"{path}: expected the images that were split before, found {_changes(known, contents, before, said)}; "
            f"restore them, or delete the record to split anew (earlier results then no longer compare)"
        )
    return splits


def _changes(
    known: Mapping[str, str], found: Mapping[str, str], before: Mapping[str, Said], said: Mapping[str, Said]
) -> str:
    changed = [name for name in known if name in found and known[name] != found[name]]
    kinds: dict[str, Iterable[str]] = {
        "changed": changed,
        "gone": known.keys() - found.keys(),
        "new": found.keys() - known.keys(),
    }
    for place, field in enumerate(Said._fields):
        other = [name for name in before if name in said and before[name][place] != said[name][place]]
        kinds[f"of another {field}"] = other
    parts = [_few(names, kind) for kind, names in kinds.items() if names]
    return "; ".join(parts) or "entries that do not belong together"


def _few(names: Iterable[str], kind: str) -> str:
    first, *rest = sorted(names)
    return f"{len(rest) + 1} {kind} ({first}{', ...' if rest else ''})"
