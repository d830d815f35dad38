"""The paired set: what is heard and seen, who is in which split, and that the control breaks the pairs."""

from __future__ import annotations

from pathlib import Path
from shutil import which

import numpy as np
import pairs
import pytest
from PIL import Image

FEW = {"train": 3, "val": 1, "test": 2}
needs_espeak = pytest.mark.skipif(which("espeak-ng") is None, reason="needs Debian's espeak-ng")


def tone(hertz: float, seconds: float = pairs.SECONDS) -> np.ndarray:
    """A sine of a root mean square of 1."""
    return np.sqrt(2) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * pairs.RATE)) / pairs.RATE)


def contents(root: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.png"))}


@pytest.mark.parametrize("hertz", [300, 1000, 4000])
def test_a_tone_is_a_line_at_its_mel_band(hertz: float) -> None:
    rows = pairs.spectrogram(tone(hertz)).astype(float).mean(1)
    mels = 2595 * np.log10(1 + np.array([pairs.LOWEST, pairs.HIGHEST, hertz]) / 700)
    band = (mels[2] - mels[0]) / (mels[1] - mels[0]) * (pairs.SIDE + 1) - 1
    assert abs((pairs.SIDE - 1 - rows.argmax()) - band) <= 0.5


def test_time_goes_to_the_right() -> None:
    wave = tone(1000)
    wave[len(wave) // 2 :] = 0
    columns = pairs.spectrogram(wave).astype(float).max(0)
    assert columns[: pairs.SIDE // 2 - 1].min() > 200
    assert columns[pairs.SIDE // 2 + 2 :].max() == 0


def test_noise_is_of_the_level_asked_for() -> None:
    quiet, loud = (
        pairs.noisy_sound(tone(1000), noise, np.random.default_rng(0)).astype(float) for noise in (0.01, 1.0)
    )
    background = np.median(loud) - np.median(quiet)  # 40 decibels, of RANGE in 255 levels, less what black cuts off
    assert np.median(quiet) < np.median(loud)
    assert background > 0.5 * 255 * 40 / pairs.RANGE
    grey = np.full((8, 8), 0.5)
    seen = np.stack([pairs.noisy_image(grey, 0.1, np.random.default_rng(seed)) for seed in range(200)]) / 255
    centres = seen[:, 2::4, 2::4]
    assert centres.mean() == pytest.approx(0.5, abs=0.01)
    assert centres.std() == pytest.approx(0.1, rel=0.15)  # a little less or more by interpolation


def test_no_digit_is_in_two_splits() -> None:
    splits = pairs.split_digits(np.random.default_rng(0))
    assert sum(len(images) for ten in splits.values() for images in ten) == 1797
    assert [len(ten) for ten in splits.values()] == [10, 10, 10]
    seen = {name: {image.tobytes() for images in ten for image in images} for name, ten in splits.items()}
    assert not (seen["train"] & seen["val"] or seen["train"] & seen["test"] or seen["val"] & seen["test"])


def test_no_speaker_is_in_two_splits() -> None:
    everyone = [speaker for speakers in pairs.SPEAKERS.values() for speaker in speakers]
    assert len(set(everyone)) == len(everyone)
    said = pairs.utterances("test", 7, 20, np.random.default_rng(0))
    assert {one.word for one in said} == {"seven"}
    assert {one.speaker for one in said} == set(pairs.SPEAKERS["test"])


def test_shuffled_sounds_stay_in_their_split_and_say_nothing(tmp_path: Path) -> None:
    for split, count in (("train", 30), ("test", 10)):
        for digit in range(10):
            for number in range(count):
                path = tmp_path / "sound" / split / str(digit) / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (1, 1), digit + 100 * (split == "test")).save(path)
    root = pairs.shuffled(tmp_path, seed=0)
    before, after = contents(tmp_path / "sound"), contents(root)
    assert before.keys() == after.keys()
    for split in ("train", "test"):
        mine = [name for name in before if name.startswith(split)]
        assert sorted(before[name] for name in mine) == sorted(after[name] for name in mine)
        agreeing = np.mean([before[name] == after[name] for name in mine])
        assert 0.02 < agreeing < 0.2  # by chance 0.1


@needs_espeak
@pytest.mark.slow
def test_the_same_seed_gives_the_same_pairs(tmp_path: Path) -> None:
    first = contents(pairs.build(tmp_path / "a", seed=0, pairs={"test": 1}))
    again = contents(pairs.build(tmp_path / "b", seed=0, pairs={"test": 1}))
    other = contents(pairs.build(tmp_path / "c", seed=1, pairs={"test": 1}))
    assert first == again
    assert not set(first.values()) & set(other.values())
    assert {name.removeprefix("image/") for name in first if name.startswith("image")} == {
        name.removeprefix("sound/") for name in first if name.startswith("sound")
    }


@needs_espeak
@pytest.mark.slow
def test_neither_input_alone_is_enough(tmp_path: Path) -> None:
    found = pairs.score(pairs.build(tmp_path / "pairs", seed=0))
    assert 75 < found["image"] < 90
    assert 75 < found["sound"] < 90
    assert found["both"] > max(found["image"], found["sound"]) + 4
