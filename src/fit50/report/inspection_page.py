"""Findings of an inspection as one page that needs nothing from the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fit50.report.cells import words
from fit50.report.inspection import channel_words, kinds, labels_words, twin_counts, twin_words
from fit50.report.markup import element, text
from fit50.report.page import page, paragraph, section
from fit50.report.tables import pairs, table
from fit50.spec.advice import PAPER
from fit50.spec.inspection import Advice, InputFacts, Inspection, Twin

SHOWN = 24
"""Pairs of duplicates, and suspects, that have pictures; those of the first that lie in two splits come first."""


def pictured(found: Inspection) -> set[str]:
    """The examples of which ``inspection_html`` shows pictures."""
    suspects = found.labels.suspects[:SHOWN] if found.labels else ()
    return {name for twin in _twins(found) for name in twin.names} | {each.name for each in suspects}


def inspection_html(found: Inspection, advice: Sequence[Advice], pictures: Mapping[str, str]) -> str:
    """The page: the advice, the images, the classes, duplicates, suspected label errors and what is set aside.

    Args:
        found: the findings.
        advice: what they advise.
        pictures: data URIs by the examples' names, as ``pictured`` asks for them.
    """
    sections = (
        section("advice", "Advice", *_advice(advice)),
        section("images", "The images", pairs(_images(found))),
        section("classes", "The classes", _classes(found)),
        section("duplicates", "Duplicates", _twins_shown(found, pictures)),
        section("labels", "Suspected label errors", _suspects(found, pictures)),
        section("set-aside", "Set aside", _set_aside(found)),
    )
    return page("fit50 inspect", f"fit50 inspect: {found.data}", found.data, list(sections), style="inspection.css")


def _advice(advice: Sequence[Advice]) -> tuple[str, ...]:
    if not advice:
        return (paragraph("Nothing here asks for advice."),)
    items = (
        element(
            "li",
            text(each.advice),
            element("small", f"Because: {text(each.evidence)}"),
            element("small", text(f"{each.technique} ({each.source})")),
        )
        for each in advice
    )
    note = f"Zhao and Leong is the paper {PAPER.removeprefix('Zhao and Leong, ')}; the thresholds are fit50's."
    return element("ol", *items, class_="advice"), element("p", text(note), class_="hint")


def _images(found: Inspection) -> list[tuple[str, str]]:
    median, smallest, largest = (f"{h:,} x {w:,}" for h, w in (found.median, found.smallest, found.largest))
    return [
        *((split, f"{count:,} images") for split, count in found.totals.items()),
        ("height x width", f"median {median}, from {smallest} to {largest}"),
        *(fact for each in found.inputs for fact in _input(each)),
        ("cost", f"{found.gmacs:.3g} GMACs ({found.network})"),
    ]


def _input(each: InputFacts) -> list[tuple[str, str]]:
    return [
        (f"{each.name}: formats", kinds(each.formats)),
        (f"{each.name}: pixels", kinds(each.modes) + ("; no colour" if each.grey else "")),
        (
            f"{each.name}: channels",
            f"{channel_words(each.mean, each.std)}, at {each.height} x {each.width}, "
            f"of {each.sampled:,} training images",
        ),
    ]


def _classes(found: Inspection) -> str:
    train = found.counts["train"]
    rows = (
        [words(name), *(words(f"{counts[name]:,}") for counts in found.counts.values())]
        for name in sorted(train, key=lambda name: train[name])
    )
    balance = paragraph(f"The largest class of train has {found.imbalance:.1f} images for each one of the smallest.")
    return balance + table("Classes", ("Class", *found.counts), rows)


def _twins(found: Inspection) -> list[Twin]:
    return sorted(found.twins, key=lambda twin: (not twin.leaks, not twin.disputed))[:SHOWN]


def _twins_shown(found: Inspection, pictures: Mapping[str, str]) -> str:
    shown = (_figure(twin.names[::-1], twin_words(twin), pictures) for twin in _twins(found))
    summary = twin_counts(found.twins)
    if found.shared_groups:
        summary += f"; {found.shared_groups:,} images of val and test are of a group of an earlier split"
    return paragraph(summary) + element("div", *shown, class_="pictures")


def _suspects(found: Inspection, pictures: Mapping[str, str]) -> str:
    if found.labels is None:
        return paragraph("Not looked for: that takes a trained model (--model).")
    shown = (
        _figure(
            (each.name,),
            f"{each.name} ({each.split}): {each.given} ({100 * each.given_probability:.0f} %), rather "
            f"{each.suggested} ({100 * each.suggested_probability:.0f} %)",
            pictures,
        )
        for each in found.labels.suspects[:SHOWN]
    )
    return paragraph(labels_words(found.labels)) + element("div", *shown, class_="pictures")


def _figure(names: Iterable[str], caption: str, pictures: Mapping[str, str]) -> str:
    images = (f'<img src="{text(pictures[name])}" alt="{text(name)}">' for name in names if name in pictures)
    return element("figure", *images, element("figcaption", text(caption)))


def _set_aside(found: Inspection) -> str:
    if not found.set_aside:
        return paragraph("Every file is used.")
    return table("Files set aside", ("File", "Reason"), [list(map(words, each)) for each in found.set_aside])
