"""A job killed again and again ends as one that was left alone."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path

import pytest
from tests.photos import tiny_request
from tests.processes import check_everything_is_whole, models, optimizing

from fit50.spec.outcome import Outcome

KILLS = 10


def lines_and_seconds(process: subprocess.Popen[str]) -> tuple[float, float]:
    """Waits for the end; the seconds until the training began, and until the end."""
    started, begun = time.monotonic(), 0.0
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if "] baseline" in line:
                begun = time.monotonic() - started
    assert process.returncode == 0
    assert begun > 0
    return begun, time.monotonic() - started


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_job_killed_at_random_moments_ends_the_same(digits_folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "request.yaml"
    config.write_text(tiny_request(digits_folder, epochs=40).yaml(), encoding="utf-8")
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    begun, whole = lines_and_seconds(optimizing(config, calm))

    moments, kills, unfinished = random.Random(0), 0, 0
    while kills < KILLS:
        process = optimizing(config, killed)
        try:
            process.communicate(timeout=begun + moments.uniform(-1, (whole - begun) / 5))
            assert process.returncode == 0  # finished before its moment; the next kill hits a finished job
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        unfinished += bool(list(killed.glob("steps/*/training.safetensors")))
        check_everything_is_whole(killed)
    assert unfinished >= 2, f"{unfinished} of the kills came in the middle of a training"

    process = optimizing(config, killed)
    printed, said = process.communicate()
    assert process.returncode == 0, said
    expected, found = models(calm), models(killed)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    outcomes = [Outcome.read(next(out.glob("*/outcome.json"))) for out in (calm, killed)]
    assert outcomes[0].trials == outcomes[1].trials
    assert outcomes[0].images == outcomes[1].images
    names = [{c.name for c in outcome.candidates} for outcome in outcomes]
    assert names[0] == names[1]
    assert json.loads(printed)["chosen"] == outcomes[1].chosen
    check_everything_is_whole(killed)
    assert (next(killed.glob("*/best")) / "bundle.json").is_file()
