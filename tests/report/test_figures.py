"""The front as SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from fit50.report.figures import front_svg
from fit50.spec.request import Budget

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg):
    return ElementTree.fromstring(svg)


def of_class(root, name):
    return [each for each in root.iter() if name in each.get("class", "").split()]


def marks(root):
    return {mark.get("data-name"): mark for mark in of_class(root, "candidate")}


def place(mark):
    return tuple(float(part) for part in re.fullmatch(r"translate\((.+),(.+)\)", mark.get("transform")).groups())


def with_budget(outcome, **limits):
    return outcome.model_copy(
        update={"request": outcome.request.model_copy(update={"budget": Budget(**{"max_drop": None, **limits})})}
    )


def test_every_measured_candidate_has_a_mark_and_no_other(demo):
    measured = {each.name for each in demo.candidates if each.score.accuracy and each.score.latency}
    assert set(marks(parse(front_svg(demo)))) == measured
    assert len(measured) == len(demo.candidates) - 1


@pytest.mark.parametrize("cost", ["latency", "size"])
def test_marks_lie_in_the_order_of_their_figures(demo, cost):
    shown = marks(parse(front_svg(demo, cost)))
    scores = {each.name: each.score for each in demo.candidates if each.name in shown}
    costs = {name: score.latency.median if cost == "latency" else score.size for name, score in scores.items()}
    assert [place(shown[name])[0] for name in sorted(costs, key=costs.get)] == sorted(
        place(mark)[0] for mark in shown.values()
    )
    by_accuracy = sorted(scores, key=lambda name: scores[name].accuracy.percent)
    assert [place(shown[name])[1] for name in by_accuracy] == sorted(
        (place(mark)[1] for mark in shown.values()), reverse=True
    )


def test_filled_is_on_the_front_hollow_is_not_and_the_ring_is_the_choice(demo):
    shown = marks(parse(front_svg(demo)))
    for candidate in demo.candidates:
        if candidate.name not in shown:
            continue
        mark = shown[candidate.name]
        assert len(of_class(mark, "filled")) == (candidate.verdict in ("chosen", "front", "reference"))
        assert len(of_class(mark, "hollow")) == (candidate.verdict in ("dominated", "over-budget"))
        assert len(of_class(mark, "ring")) == (candidate.verdict == "chosen")


def test_shape_is_precision_and_the_reference_is_a_grey_square(candidate, outcome):
    made = outcome(
        candidate("float"),
        candidate("int8", precision="int8"),
        candidate("half", precision="bf16"),
        candidate("torch", verdict="reference", runtime="torch"),
    )
    shown = marks(parse(front_svg(made)))
    assert shown["float"].find(f"{SVG}circle") is not None
    assert len(shown["int8"].find(f"{SVG}polygon").get("points").split()) == 4
    assert len(shown["half"].find(f"{SVG}polygon").get("points").split()) == 3
    assert "hue-reference" in shown["torch"].get("class")
    assert shown["float"].get("color") == shown["int8"].get("color") != shown["torch"].get("color")


def test_area_is_file_size(candidate, outcome):
    made = outcome(candidate("a", size=100.0), candidate("b", size=25.0), candidate("unknown", size=None))
    shown = marks(parse(front_svg(made)))
    radius = {name: float(of_class(mark, "hollow")[0].get("r")) for name, mark in shown.items()}
    assert radius["a"] == pytest.approx(2 * radius["b"])
    assert radius["unknown"] > 0


def test_the_interval_is_drawn_from_low_to_high(candidate, outcome):
    root = parse(front_svg(outcome(candidate("few", 11, ms=2.0), candidate("many", 1190, ms=4.0))))
    bar = {name: of_class(mark, "interval")[0].get("d") for name, mark in marks(root).items()}
    high, low = (float(part) for part in re.match(r"M0,(.+?)V(.+?)M", bar["few"]).groups())
    assert high < 0 < low
    assert high == pytest.approx(-low, abs=0.5)


def test_limits_are_drawn_if_and_only_if_the_budget_has_them(demo):
    for limits, cost, accuracy in (
        ({}, 0, 0),
        ({"latency": 8.0}, 1, 0),
        ({"size": 8.0, "memory": 100.0}, 0, 0),
        ({"max_drop": 1.0}, 0, 1),
        ({"latency": 8.0, "min_accuracy": 90.0}, 1, 1),
    ):
        root = parse(front_svg(with_budget(demo, **limits)))
        assert len(of_class(root, "budget-cost")) == cost
        assert len(of_class(root, "budget-accuracy")) == accuracy
        assert len(of_class(root, "limit-text")) == cost + accuracy
        assert bool(of_class(root, "outside")) == bool(cost + accuracy)


def test_the_limits_lie_between_what_they_part(demo):
    root = parse(front_svg(demo))
    at_x = float(re.match(r"M([\d.]+),", of_class(root, "budget-cost")[0].get("d")).group(1))
    at_y = float(re.match(r"M\d+,([\d.]+)H", of_class(root, "budget-accuracy")[0].get("d")).group(1))
    shown = marks(root)
    assert place(shown["resnet50/onnxruntime/int8"])[0] < at_x < place(shown["resnet50-keep50/openvino/float32"])[0]
    assert place(shown["resnet50-keep50/openvino/int8"])[1] < at_y < place(shown["resnet50-keep25/openvino/float32"])[1]


def test_the_size_figure_draws_the_size_limit(demo):
    assert of_class(parse(front_svg(with_budget(demo, size=60.0), "size")), "budget-cost")
    assert not of_class(parse(front_svg(with_budget(demo, latency=8.0), "size")), "budget-cost")


def test_the_front_steps_through_its_filled_marks(demo):
    root = parse(front_svg(demo))
    shown = marks(root)
    names = ["resnet50-keep50/openvino/int8", "resnet50/openvino/int8", "resnet50-se/openvino/int8"]
    (x, y), *corners = (place(shown[name]) for name in names)
    path = f"M{x:.2f},{y:.2f}" + "".join(f"H{x:.2f}V{y:.2f}" for x, y in corners)
    assert of_class(root, "steps")[0].get("d") == path


def test_the_chosen_the_baseline_and_the_reference_are_named(demo):
    labels = ["|".join(part.text for part in label) for label in of_class(parse(front_svg(demo)), "label")]
    assert labels == [
        "chosen|resnet50-se/openvino/int8",
        "reference|resnet50/torch",
        "best float|resnet50-se/openvino/float32",
    ]


def test_a_title_holds_the_figures(demo):
    title = marks(parse(front_svg(demo)))["resnet50-se/openvino/int8"].find(f"{SVG}title").text
    for part in ("resnet50-se/openvino/int8", "openvino, int8", "92.7 % [91.2, 94.1], n=1200", "5.60 ms", "26.9 MB"):
        assert part in title


@pytest.mark.parametrize("size", [None, 20.0])
def test_one_candidate_is_enough(candidate, outcome, size):
    root = parse(front_svg(outcome(candidate("only", size=size, verdict="chosen"))))
    assert list(marks(root)) == ["only"]
    assert [part.text for part in of_class(root, "label")[0]] == ["chosen, best float", "only"]


def test_equal_candidates_share_their_place(candidate, outcome):
    shown = marks(parse(front_svg(outcome(candidate("a"), candidate("b")))))
    assert place(shown["a"]) == place(shown["b"])


def test_all_right_and_all_wrong_stay_on_the_page(candidate, outcome):
    root = parse(front_svg(outcome(candidate("right", 1200), candidate("wrong", 0))))
    assert all(76 <= place(mark)[1] <= 498 for mark in marks(root).values())
    assert {"0", "100"} <= {each.text for each in of_class(root, "muted")}


def test_nothing_measured_says_so(candidate, outcome):
    root = parse(front_svg(outcome(candidate("a", ms=None, verdict="refused"))))
    assert not marks(root)
    assert "No candidate has both an accuracy and a latency." in "".join(root.itertext())


def test_names_are_text_whatever_they_hold(candidate, outcome):
    name = "a<b>&\"'\x00</g><script>alert(1)</script>"
    root = parse(front_svg(outcome(candidate(name, verdict="chosen", runtime="<i>", reason="<u>"))))
    assert list(marks(root)) == [name.replace("\x00", "\ufffd")]
    assert not list(root.iter(f"{SVG}script"))


def test_it_needs_nothing_from_elsewhere_and_is_the_same_each_time(demo):
    svg = front_svg(demo)
    assert svg == front_svg(demo)
    assert re.findall(r"https?://[^\"\s]+", svg) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(script|style|image|use|foreignObject)|\bhref=|url\(", svg)
    page = parse(svg).find(f"{SVG}rect")
    assert (page.get("fill"), page.get("width"), page.get("height")) == ("#ffffff", "960", "560")


def test_labels_keep_clear_of_one_another(demo):
    for cost in ("latency", "size"):
        heights = [float(label.get("y")) for label in of_class(parse(front_svg(demo, cost)), "label")]
        assert all(76 <= height <= 498 for height in heights)
        assert len(set(heights)) == len(heights)
