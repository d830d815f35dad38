"""The report as one page that needs nothing from the network."""

from __future__ import annotations

from collections.abc import Iterator

from fit50.report.facts import chosen, points, reference, speed_up
from fit50.report.figures import front_svg
from fit50.report.markup import element, text
from fit50.report.page import page, paragraph, section
from fit50.report.tables import candidates_table, pairs, rejected_table, trials_table
from fit50.spec.outcome import Accuracy, Candidate, Outcome

COMMAND = "fit50 optimize --config request.yaml"


def report_html(outcome: Outcome) -> str:
    """The page: the choice, the front, every candidate, what was rejected, the data, the machine and the request.

    Style, script and figures are inline; the outcome itself is the JSON in ``<script id="outcome">``.
    """
    sections = (_choice, _front, _candidates, _rejected, _data, _environment, _request)
    return page(
        "fit50 report",
        f"fit50 report: {outcome.chosen}",
        f"{outcome.request.network} fitted to {outcome.request.data} in {_duration(outcome.seconds)}",
        [make(outcome) for make in sections],
        data=outcome.model_dump_json(),
        script="report.js",
    )


def _choice(outcome: Outcome) -> str:
    winner = chosen(outcome)
    tiles = [*_tiles(outcome, winner)] if winner else []
    sentence = element("p", text(outcome.sentence), class_="sentence")
    return section("choice", "The choice", sentence, element("ul", *tiles, class_="tiles"))


def _tiles(outcome: Outcome, winner: Candidate) -> Iterator[str]:
    score, faster, slow = winner.score, speed_up(outcome, winner), reference(outcome)
    if score.latency:
        notes = [str(score.latency).split(" ms ", 1)[1]]
        notes += [f"{faster:.1f} times as fast as {slow.name}"] if faster and slow and slow != winner else []
        yield _tile("Latency", f"{score.latency.median:.2f} ms", *notes)
    if score.accuracy:
        notes = [f"{winner.against_baseline} against the best float file"] if winner.against_baseline else []
        yield _tile("Validation accuracy", f"{score.accuracy.percent:.1f} %", _interval(score.accuracy), *notes)
    if outcome.test:
        yield _tile("Test accuracy", f"{outcome.test.percent:.1f} %", _interval(outcome.test), "read once, at the end")
    if score.size is not None:
        yield _tile("Size", f"{score.size:.1f} MB", "of the files that are deployed")
    if score.memory is not None:
        yield _tile("Memory", f"{score.memory:.0f} MB", "at the peak of a fresh process")


def _interval(accuracy: Accuracy) -> str:
    return f"[{accuracy.low:.1f}, {accuracy.high:.1f}], n={accuracy.n}"


def _tile(name: str, value: str, *notes: str) -> str:
    lines = (element("span", text(note), class_="note") for note in notes)
    return element("li", element("span", text(name), class_="name"), element("strong", text(value)), *lines)


def _front(outcome: Outcome) -> str:
    figures = [element("div", front_svg(outcome), data_cost="latency")]
    toggle = ""
    if points(outcome, "size"):
        figures.append(element("div", front_svg(outcome, "size"), data_cost="size"))
        buttons = (_button("latency", "Latency", "true"), _button("size", "File size", "false"))
        toggle = element("div", *buttons, class_="toggle", role="group", aria_label="Horizontal axis")
    card = element("div", id="card", aria_hidden="true")
    figure = element("figure", *figures, card, class_="fronts")
    advice = "Point at a mark, or move to it with Tab, for all its figures; click it to find its row below."
    hint = element("p", advice, class_="hint")
    return section("front", "The front", toggle, figure, hint)


def _button(cost: str, name: str, pressed: str) -> str:
    return element("button", name, type="button", data_cost=cost, aria_pressed=pressed)


def _candidates(outcome: Outcome) -> str:
    note = paragraph(
        "Measured on the deployed file, preprocessing included; the reference is for comparison only. Accuracy is "
        "on validation. Brackets hold 95 % intervals, and a difference is coloured where its interval leaves out zero. "
        "Click a heading to sort."
    )
    return section("table", "The candidates", note, candidates_table(outcome))


def _rejected(outcome: Outcome) -> str:
    rejected = [each for each in outcome.candidates if each.verdict in ("refused", "over-budget")]
    content = [trials_table(outcome.trials)] if outcome.trials else []
    content += [rejected_table(rejected)] if rejected else []
    return section("rejected", "Tried and rejected", *(content or [paragraph("Nothing was rejected.")]))


def _data(outcome: Outcome) -> str:
    images = pairs((split, f"{count} images") for split, count in outcome.images.items())
    classes = _list(f"Classes: {len(outcome.classes)}", outcome.classes)
    aside = _list(f"Files set aside: {len(outcome.set_aside)}", outcome.set_aside)
    return section("data", "The data", images, classes, aside)


def _list(summary: str, items: tuple[str, ...]) -> str:
    if not items:
        return paragraph(summary)
    lines = element("ul", *(element("li", text(item)) for item in items))
    opened = {"open": ""} if len(items) <= 20 else {}
    return element("details", element("summary", text(summary)), lines, **opened)


def _environment(outcome: Outcome) -> str:
    machine = outcome.environment
    facts: list[tuple[str, object]] = [
        ("processor", machine.processor),
        ("instruction sets", ", ".join(machine.isa)),
        ("cores", machine.cores),
        ("threads", machine.threads),
        ("memory", f"{machine.memory_gb:.1f} GB"),
        ("system", machine.system),
        *machine.versions.items(),
    ]
    return section("environment", "The machine and the software", pairs(facts))


def _request(outcome: Outcome) -> str:
    lead = element("p", "Save this as ", element("code", "request.yaml"), ", then run ", element("code", COMMAND), ".")
    return section("request", "The request", lead, element("pre", text(outcome.request.yaml()), tabindex="0"))


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
