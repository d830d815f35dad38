"""What a person sees while work is done."""

from __future__ import annotations

import sys

import pytest

from fit50.cli.screen import Screen


def test_a_pipe_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 10.0, 20.0, 40.0])
    monkeypatch.setattr("fit50.cli.screen.time.monotonic", lambda: next(now))
    screen = Screen(seconds=15)
    for done in (0, 1, 2, 4):
        screen.progress("train", done, 10)
    assert capsys.readouterr().err.splitlines() == [
        "  train: 20 %, about 1 min 20 s left",
        "  train: 40 %, about 1 min 0 s left",
    ]


def test_a_terminal_gets_one_line_rewritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    now = iter([0.0, 3600.0, 7200.0])
    monkeypatch.setattr("fit50.cli.screen.time.monotonic", lambda: next(now))
    screen = Screen()
    screen.progress("train", 0, 10)
    screen.progress("train", 1, 10)
    screen.progress("train", 10, 10)
    screen.say("done")
    text = capsys.readouterr().err
    assert "\r  train: 10 %, about 9 h 0 min left" in text
    assert text.count("\n") == 1
    assert text.endswith("done\n")


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().say("hello")
    Screen().record("epoch", {"epoch": 1})
    assert capsys.readouterr() == ("", "hello\n")
