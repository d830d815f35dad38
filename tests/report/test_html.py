"""The report page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from fit50.report.html import COMMAND, report_html
from fit50.spec.outcome import Outcome
from fit50.spec.request import Request

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Elements as (name, attributes, text), checking that each is closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, **wanted):
        return [each for each in self.elements if all(each.get(key) == value for key, value in wanted.items())]

    def one(self, **wanted):
        (element,) = self.all(**wanted)
        return element


@pytest.fixture
def html(demo):
    return report_html(demo)


def rows(page):
    return [each for each in page.elements if each["tag"] == "tr" and "data-name" in each]


def test_the_sections_stand_in_their_order(html):
    sections = [each["id"] for each in Page(html).all(tag="section")]
    assert sections == ["choice", "front", "table", "rejected", "data", "environment", "request"]


def test_it_asks_the_network_for_nothing(html):
    assert set(re.findall(r"https?://[^\"\s<]+", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"""\b(src|action)=|@import|url\(|fetch\(|XMLHttpRequest|import\(""", html)
    assert Page(html).one(tag="link")["href"] == "data:,"


def test_the_outcome_is_embedded_whole(demo, html):
    data = Page(html).one(id="outcome")
    assert data["type"] == "application/json"
    assert Outcome.model_validate_json(data["text"]) == demo


def test_the_choice_comes_with_its_figures(demo, html):
    choice = Page(html).one(id="choice")["text"]
    for part in (demo.sentence, "5.60 ms", "92.7 %", "[91.2, 94.1], n=1200", "90.8 %", "26.9 MB", "136 MB"):
        assert part in choice
    assert "7.3 times as fast as resnet50/torch" in choice


def test_the_table_has_every_candidate_the_fastest_first(demo, html):
    page = Page(html)
    names = [each["data-name"] for each in rows(page)]
    known = [each for each in demo.candidates if each.score.latency]
    assert names[:-1] == [each.name for each in sorted(known, key=lambda each: each.score.latency.median)]
    assert names[-1] == "resnet50-swish/openvino/int8"
    assert "resnet50-se/openvino/int8" in page.one(tag="tr", **{"class": "chosen"})["text"]


def test_a_row_says_all_that_was_measured(html):
    row = next(each for each in rows(Page(html)) if each["data-name"] == "resnet50-se/openvino/int8")["text"]
    for part in ("92.7 [91.2, 94.1] n=1200", "+0.8 [+0.1, +1.4]", "5.60 [5.49, 5.77] p95 6.72, n=400", "batch 16",
                 "26.9", "23.52", "4.09", "chosen", "most accurate in budget"):  # fmt: skip
        assert part in row


def test_only_a_difference_whose_interval_leaves_out_zero_is_coloured(html):
    page = Page(html)
    assert {each["text"] for each in page.all(tag="span", **{"class": "better"})} == {"+0.8", "+1.0"}
    assert "-0.3" in {each["text"] for each in page.all(tag="span", **{"class": "even"})}
    assert "-3.5" in {each["text"] for each in page.all(tag="span", **{"class": "worse"})}


def test_cells_carry_what_they_are_sorted_by(html):
    page = Page(html)
    latencies = [each["data-order"] for each in page.elements if each["tag"] == "td" and "p95" in each["text"]]
    assert [float(latency) for latency in latencies] == sorted(float(latency) for latency in latencies)
    assert len(latencies) == 13
    headings = [each for each in page.elements if each["tag"] == "button" and "data-cost" not in each]
    assert len(headings) == 14


def test_every_mark_has_its_row(html):
    page = Page(html)
    marks = {each["data-name"] for each in page.elements if each["tag"] == "g" and "data-name" in each}
    assert len(marks) == 13
    assert marks <= {each["data-name"] for each in rows(page)}


def test_what_was_rejected_comes_with_its_reason(html):
    rejected = Page(html).one(id="rejected")["text"]
    for part in ("not distinguishable from the control", "no int8 kernel for swish", "drops 3.5 points", "deeper"):
        assert part in rejected
    assert "most accurate in budget" not in rejected


def test_the_data_and_the_machine_are_named(html):
    page = Page(html)
    data, machine = page.one(id="data")["text"], page.one(id="environment")["text"]
    for part in ("8000 images", "Classes: 3", "fox", "Files set aside: 2", "cat/0034.jpg: truncated JPEG"):
        assert part in data
    for part in ("Xeon", "amx_int8", "31.3 GB", "2025.3.0"):
        assert part in machine


def test_the_request_can_be_repeated(demo, html, tmp_path):
    page = Page(html)
    path = tmp_path / "request.yaml"
    path.write_text(page.one(tag="pre")["text"], encoding="utf-8")
    assert Request.read(path) == demo.request
    assert COMMAND in page.one(id="request")["text"]


HOSTILE = "</script><script>alert(1)</script><!--<b>&\"'\u2028${x}$style]]>"


def test_text_cannot_become_markup(candidate, outcome, demo):
    hostile = candidate(HOSTILE, network=HOSTILE, runtime=HOSTILE, reason=HOSTILE, verdict="chosen", run=HOSTILE)
    made = outcome(
        hostile, candidate("other", verdict="refused", reason=HOSTILE), classes=(HOSTILE, "<b>"), sentence=HOSTILE,
        images={HOSTILE: 3}, set_aside=(HOSTILE,), trials=(demo.trials[0].model_copy(update={"reason": HOSTILE}),),
    )  # fmt: skip
    page = Page(report_html(made))
    assert len(page.all(tag="script")) == 2
    assert not set("<>&") & set(page.one(id="outcome")["text"])
    assert not page.all(tag="b")
    assert rows(page)[0]["data-name"] == HOSTILE
    assert Outcome.model_validate(json.loads(page.one(id="outcome")["text"])) == made
    assert HOSTILE in page.one(id="data")["text"]


def test_one_candidate_with_little_known_of_it(candidate, outcome):
    made = outcome(candidate("only", ms=None, size=None, verdict="chosen"), test=None, classes=("a",), seconds=40)
    page = Page(report_html(made))
    assert [each["data-name"] for each in rows(page)] == ["only"]
    assert "Nothing was rejected." in page.one(id="rejected")["text"]
    assert "in 40 s" in page.one(tag="header")["text"]
    assert not page.all(**{"data-cost": "size"})
    assert "Test accuracy" not in page.one(id="choice")["text"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "2 min"), (3540, "59 min"), (5430, "1 h 30 min"), (7199, "2 h 0 min")]
)
def test_the_time_it_took_is_readable(candidate, outcome, seconds, words):
    header = Page(report_html(outcome(candidate("a"), seconds=seconds))).one(tag="header")["text"]
    assert f"in {words}\n" in header
