"""The front as a table for the terminal."""

from __future__ import annotations

from fit50.report.text import COLUMNS, front_table


def table(text):
    lines = text.split("\n\n")[0].splitlines()
    return lines[0], lines[2:]


def test_the_fastest_comes_first_and_the_unmeasured_last(candidate, outcome):
    made = outcome(candidate("slow", ms=9.0), candidate("unknown", ms=None), candidate("fast", ms=1.0))
    _, rows = table(front_table(made))
    assert [row.split()[0] for row in rows] == ["fast", "slow", "unknown"]


def test_a_row_holds_the_figures(demo):
    heading, rows = table(front_table(demo))
    assert heading.split() == [
        "name", "runtime", "numbers", "accuracy", "%", "latency", "ms", "speed-up", "size", "MB", "mem.", "MB",
    ]  # fmt: skip
    assert next(row for row in rows if row.startswith(">")).split() == [
        ">", "resnet50-se/openvino/int8", "openvino", "int8", "92.7", "±1.5", "5.60", "7.3x", "26.9", "136",
    ]  # fmt: skip
    assert next(row for row in rows if row.startswith("x")).split()[-5:] == ["-"] * 5


def test_marks_tell_the_verdicts(demo):
    _, rows = table(front_table(demo))
    marks = {row[3:].split()[0]: row[0] for row in rows}
    signs = {"chosen": ">", "front": "*", "reference": "=", "over-budget": "!", "refused": "x", "dominated": " "}
    assert marks == {each.name: signs[each.verdict] for each in demo.candidates}


def test_the_sentence_comes_last(demo):
    assert " ".join(front_table(demo).split("\n\n")[-1].split()) == demo.sentence


def test_every_line_fits(candidate, outcome):
    long = candidate(
        "resnet50-" + 12 * "very-" + "long-keep25", 1200, 123456.78, 12345.6, runtime="a-long-runtime-name"
    )
    text = front_table(outcome(long, candidate("b", ms=1.0), sentence=40 * "word "))
    assert max(len(line) for line in text.splitlines()) <= COLUMNS
    assert "…" in text and "keep25" in text


def test_columns_line_up(demo):
    heading, rows = table(front_table(demo))
    end = heading.index("latency ms") + len("latency ms")
    assert all(row[end - 1] != " " and row[end : end + 2] == "  " for row in rows)


def test_the_spread_is_the_longer_side(candidate, outcome):
    made = outcome(candidate("a", 1200, ms=None))
    score = made.candidates[0].score.accuracy.model_copy(update={"low": 97.5})
    skewed = made.candidates[0].model_copy(
        update={"score": made.candidates[0].score.model_copy(update={"accuracy": score})}
    )
    assert "100.0 ±2.5" in front_table(outcome(skewed))


def test_without_a_reference_there_is_no_speed_up(candidate, outcome):
    _, (row,) = table(front_table(outcome(candidate("only"))))
    assert row.split()[-3:] == ["-", "50.0", "185"]
