"""Findings of an inspection for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from fit50.report.markup import shorten
from fit50.spec.advice import PAPER
from fit50.spec.inspection import Advice, Inspection, Labels, Twin

COLUMNS = 110
_CLASSES = 10
_NAMES = 3
_NAME = 44


def inspection_text(found: Inspection, advice: Sequence[Advice]) -> str:
    """What matters, in lines of about 110 columns; of many classes the rarest, of many files the first."""
    return "\n".join([*_aligned([*_facts(found)]), "", *_classes(found), "", *_advice(advice)])


def twin_counts(twins: Sequence[Twin]) -> str:
    """How many there are of each kind, such as ``3 exact across splits, 1 near within a split``."""
    kinds = {
        f"{kind} {where}": sum(twin.exact == exact and twin.leaks == leaks for twin in twins)
        for leaks, where in ((True, "across splits"), (False, "within a split"))
        for exact, kind in ((True, "exact"), (False, "near"))
    }
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count) or "none"


def twin_words(twin: Twin) -> str:
    """Which image is which one's duplicate, and where their classes or splits differ."""
    splits = f"{twin.splits[1]} and {twin.splits[0]}" if twin.leaks else twin.splits[0]
    classes = f"; {twin.classes[1]} and {twin.classes[0]}" if twin.disputed else ""
    relation = "=" if twin.exact else "like"
    return f"{shorten(twin.names[1], _NAME)} {relation} {shorten(twin.names[0], _NAME)} ({splits}{classes})"


def channel_words(mean: Sequence[float], std: Sequence[float]) -> str:
    """``mean 0.485 0.456 0.406, std 0.229 0.224 0.225``."""
    means, stds = (" ".join(f"{value:.3f}" for value in values) for values in (mean, std))
    return f"mean {means}, std {stds}"


def kinds(counts: Mapping[str, int]) -> str:
    """``JPEG 12, PNG 3``."""
    return ", ".join(f"{kind} {count:,}" for kind, count in counts.items())


def labels_words(labels: Labels) -> str:
    """How many suspects of how many images, and how far the one who suspects them can be trusted."""
    doubt = "" if labels.known else "; it is not known whether it learned from them"
    return (
        f"{len(labels.suspects):,} of {labels.n:,} of val and test suspected by {labels.model}, which agrees with "
        f"{labels.agreement:.1f} % of them{doubt}"
    )


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    splits = ", ".join(f"{split} {count:,}" for split, count in found.totals.items())
    train = found.counts["train"]
    yield "data", found.data
    yield "images", f"{sum(found.totals.values()):,} of {len(train)} classes: {splits}"
    most, least = train[found.commonest], train[found.rarest]
    ends = f"{found.commonest} {most:,}, {found.rarest} {least:,}" if most > least else f"{most:,} each"
    yield "balance", f"{found.imbalance:.1f} to 1 (train: {ends})"
    median, smallest, largest = (f"{h:,} x {w:,}" for h, w in (found.median, found.smallest, found.largest))
    yield "height x width", f"median {median}, from {smallest} to {largest}"
    for each in found.inputs:
        yield each.name, f"{kinds(each.formats)}; {kinds(each.modes)}{'; no colour' if each.grey else ''}"
        yield "", f"at {each.height} x {each.width}: {channel_words(each.mean, each.std)}"
    yield "cost", f"{found.gmacs:.3g} GMACs ({found.network})"
    yield "set aside", f"{len(found.set_aside):,}"
    yield from _first([f"{name}: {reason}" for name, reason in found.set_aside])
    yield "duplicates", twin_counts(found.twins)
    yield from _first([twin_words(twin) for twin in sorted(found.twins, key=_urgency)])
    if found.shared_groups:
        yield "groups", f"{found.shared_groups:,} images of val and test are of a group of an earlier split"
    if found.labels:
        suspects = found.labels.suspects
        yield "labels", labels_words(found.labels)
        yield from _first(
            [f"{shorten(each.name, _NAME)} ({each.split}): {each.given}, rather {each.suggested}" for each in suspects]
        )


def _urgency(twin: Twin) -> tuple[bool, bool]:
    return not twin.leaks, not twin.disputed


def _first(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from (("", f"  {text}") for text in texts[:_NAMES])
    if len(texts) > _NAMES:
        yield "", f"  and {len(texts) - _NAMES:,} more"


def _aligned(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    return (f"{name.ljust(width)}  {text}".rstrip() for name, text in rows)


def _classes(found: Inspection) -> Iterator[str]:
    train = found.counts["train"]
    shown = sorted(train, key=lambda name: train[name])[:_CLASSES]
    heading = "class" if len(shown) == len(train) else f"rarest {len(shown)} classes"
    rows = [(heading, *found.counts)]
    rows += [(shorten(name, _NAME), *(f"{counts[name]:,}" for counts in found.counts.values())) for name in shown]
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *figures in rows:
        cells = (figure.rjust(width) for figure, width in zip(figures, others, strict=True))
        yield "  ".join([name.ljust(first), *cells])


def _advice(advice: Sequence[Advice]) -> Iterator[str]:
    if not advice:
        yield "Nothing here asks for advice."
    for number, each in enumerate(advice, 1):
        head = f"{number:2}. "
        for text, indent in ((each.advice, head), (f"because: {each.evidence}", ""), (_origin(each), "")):
            yield from wrap(
                text,
                COLUMNS,
                initial_indent=indent or 4 * " ",
                subsequent_indent=4 * " ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    if any(each.source.startswith(PAPER.partition(",")[0]) for each in advice):
        yield f"\n{PAPER}"


def _origin(advice: Advice) -> str:
    """What it is called and who says so; what they say is on the page."""
    return f"{advice.technique} ({advice.source.partition(':')[0]})"
