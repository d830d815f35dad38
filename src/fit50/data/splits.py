"""Which image is learned from, which one decides, and which one is kept for the end."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fit50.spec.errors import DataError
from fit50.spec.files import write_text

SPLITS = ("train", "val", "test")


def assign(
    source_labels: Sequence[int],
    splits: Sequence[str | None],
    seed: int,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    *,
    contents: Sequence[str],
    classes: Sequence[str],
) -> list[str]:
    """Gives every image a split, class by class, out of the ones that have none or are the user's training images.

    A split that the user made is kept; of ``val`` and ``test``, those that are missing are drawn. The draw depends on
    the seed and the contents alone, not on names or their order. Files of the same content stay together, and with
    the user's own split where that has one of them.

    Args:
        source_labels: the class index of each image (N,).
        splits: the user's split of each image (N,), or None.
        seed: decides the draw.
        val_fraction: of each class's images to draw from, at least one.
        test_fraction: likewise.
        contents: a digest of each file's bytes (N,).
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
        fixed = {content for content, split in zip(contents, result, strict=True) if split != "train"}
        drawn = _draw(_groups(source_labels, contents, fixed), missing, seed, classes)
        result = [drawn.get(content, split) for content, split in zip(contents, result, strict=True)]
    _refuse_gaps(source_labels, result, classes)
    return result


def _groups(labels: Sequence[int], contents: Sequence[str], fixed: set[str]) -> dict[int, Counter[str]]:
    """For each class, how many images have each content; a content of several classes counts for the first of them."""
    owner: dict[str, int] = {}
    for label, content in zip(labels, contents, strict=True):
        owner[content] = min(label, owner.get(content, label))
    groups: dict[int, Counter[str]] = defaultdict(Counter)
    for content in contents:
        if content not in fixed:
            groups[owner[content]][content] += 1
    return groups


def _draw(
    groups: Mapping[int, Counter[str]], fractions: Mapping[str, float], seed: int, classes: Sequence[str]
) -> dict[str, str]:
    """The split of each content that leaves train."""
    drawn: dict[str, str] = {}
    for label, sizes in groups.items():
        if len(sizes) <= len(fractions):
            raise DataError(
                f"class {classes[label]!r}: expected at least {len(fractions) + 1} different images to draw "
                f"{' and '.join(sorted(fractions))} from, found {len(sizes)}; add images or remove the class"
            )
        ranked = sorted(sizes, key=lambda content: hashlib.sha256(f"{seed}:{content}".encode()).digest())
        for number, (split, fraction) in enumerate(fractions.items()):
            rest = {content: sizes[content] for content in ranked if content not in drawn}
            others = len(fractions) - number  # the splits, train among them, that still need a content
            drawn |= dict.fromkeys(_chosen(rest, round(fraction * sizes.total()), len(rest) - others), split)
    return drawn


def _chosen(sizes: Mapping[str, int], images: int, most: int) -> list[str]:
    """Contents in order that have about so many images in all, at least one and at most ``most`` contents."""
    chosen: list[str] = []
    for content, size in sizes.items():
        if len(chosen) < most and size <= images:
            chosen.append(content)
            images -= size
    return chosen or [min(sizes, key=lambda content: sizes[content])]


def _refuse_gaps(labels: Sequence[int], splits: Sequence[str], classes: Sequence[str]) -> None:
    present = set(zip(labels, splits, strict=True))
    gaps = [(name, split) for label, name in enumerate(classes) for split in SPLITS if (label, split) not in present]
    if gaps:
        name, split = gaps[0]
        more = f" (and {len(gaps) - 1} more such gaps)" if len(gaps) > 1 else ""
        raise DataError(
            f"class {name!r}: expected at least one image in each of {', '.join(SPLITS)}, "
            f"found none in {split}{more}; add images or remove the class"
        )


def straddling(splits: Sequence[str], contents: Sequence[str]) -> int:
    """How many images of val and test are, byte for byte, also in an earlier split."""
    seen: dict[str, set[str]] = defaultdict(set)
    for split, content in zip(splits, contents, strict=True):
        seen[split].add(content)
    earlier = {"train": set[str](), "val": seen["train"], "test": seen["train"] | seen["val"]}
    return sum(content in earlier[split] for split, content in zip(splits, contents, strict=True))


def record(path: Path, splits: Mapping[str, str], contents: Mapping[str, str]) -> None:
    """Writes down each file's split and digest, both by relative path, atomically. Raises StorageError."""
    write_text(path, json.dumps({"splits": dict(splits), "sha256": dict(contents)}, indent=1, sort_keys=True) + "\n")


def recorded(path: Path, contents: Mapping[str, str]) -> dict[str, str] | None:
    """The splits that ``record`` wrote, or None where there is no record.

    Raises:
        DataError: the record cannot be read, or the files (``contents``: digests by relative path) have changed.
    """
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        splits, known = dict(data["splits"]), dict(data["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected a record of splits, found: {error!r}; delete it to split anew") from None
    if known != dict(contents) or splits.keys() != known.keys() or not set(splits.values()) <= set(SPLITS):
        raise DataError(
            f"{path}: expected the images that were split before, found {_changes(known, contents)}; "
            f"restore them, or delete the record to split anew (earlier results then no longer compare)"
        )
    return splits


def _changes(known: Mapping[str, str], found: Mapping[str, str]) -> str:
    changed = [name for name in known if name in found and known[name] != found[name]]
    kinds = {"changed": changed, "gone": known.keys() - found.keys(), "new": found.keys() - known.keys()}
    parts = [_few(names, kind) for kind, names in kinds.items() if names]
    return "; ".join(parts) or "entries that do not belong together"


def _few(names: Iterable[str], kind: str) -> str:
    first, *rest = sorted(names)
    return f"{len(rest) + 1} {kind} ({first}{', ...' if rest else ''})"
