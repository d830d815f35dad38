"""A paired data set made from packages: noisy images of digits, and noisy spectrograms of the same digits spoken.

The images are scikit-learn's 1,797 handwritten digits of 8x8 pixels (Alpaydin and Kaynak 1998), each in one split
only; since there are more pairs than digits, a digit comes several times within its split, each time with other noise.
The words are spoken by Debian's espeak-ng in seven accents of English, at several speeds and pitches; no speaker is in
two splits. Noise is added such that neither alone is enough: at the default levels a support-vector machine on the
pixels gets 83.4 % of the test images, 82.2 % of the test sounds, and 90.0 % of both side by side (seed 0; with seed 1
83.1, 81.2 and 89.2). Without noise it gets 99.1 %, and 94.3 % of the sounds, whose speakers are new to it.

    python benchmarks/pairs.py runs/pairs
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from shutil import copyfile, which
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from sklearn.datasets import load_digits
from sklearn.svm import SVC

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-029", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-us")
SPEAKERS = {
    "train": ("f1", "f3", "f5", "linda", "shelby", "grandma", "m1", "m3", "m5", "m7", "john", "max", "robert", "travis",
              "zac", "Alex", "Denis", "Michael"),
    "val": ("f2", "Annie", "m2", "quincy"),
    "test": ("f4", "Andrea", "steph", "m4", "m6", "m8", "david", "Mario"),
}  # fmt: skip
IMAGE_NOISE, SOUND_NOISE = 0.4, 1.0
PAIRS = {"train": 200, "val": 50, "test": 100}
DIGITS = {"train": 0.5, "val": 0.15, "test": 0.35}

SIDE = 32
RATE = 22_050
SECONDS = 0.8
LATEST_ONSET = 0.1
LOWEST, HIGHEST = 80.0, 8_000.0
RANGE = 50.0


class Utterance(NamedTuple):
    """A word as one speaker says it once."""

    word: str
    speaker: str
    accent: str
    speed: int
    pitch: int


def spoken(utterance: Utterance) -> Floats:
    """What espeak-ng says, (samples,) at ``RATE``, without the silence around it, at a root mean square of 1."""
    if which("espeak-ng") is None:
        raise SystemExit("espeak-ng: expected the program, found none; install it with: apt-get install espeak-ng")
    voice, speed, pitch = f"{utterance.accent}+{utterance.speaker}", str(utterance.speed), str(utterance.pitch)
    command = ("espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "--stdout", utterance.word)
    header = 44  # bytes; the length in it is unknown to a stream
    wave = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout[header:], "<i2").astype(float)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1]
    return wave / np.sqrt(np.mean(wave**2))


def spectrogram(wave: Floats) -> Pixels:
    """The log-mel spectrogram of ``SECONDS`` of sound, uint8 (SIDE, SIDE): low frequencies below, time to the right.

    White is the loudest, black is ``RANGE`` decibels less.
    """
    hop = len(wave) // SIDE
    transform = ShortTimeFFT(hann(2 * hop, sym=False), hop, RATE, mfft=2048, scale_to="psd")
    power = mel_bands(transform.f) @ transform.spectrogram(wave, p0=0, p1=SIDE)
    decibels = 10 * np.log10(power + 1e-12)
    grey = 255 * (1 + (decibels - decibels.max()) / RANGE)
    return grey.clip(0, 255).round().astype(np.uint8)[::-1]


def mel_bands(frequencies: Floats) -> Floats:
    """Triangles of equal width in mel (O'Shaughnessy 1987): what each band takes of each frequency, (SIDE, F)."""
    mel = 2595 * np.log10(1 + np.stack([LOWEST, HIGHEST]) / 700)
    edges = 700 * (10 ** (np.linspace(mel[0], mel[1], SIDE + 2) / 2595) - 1)
    low, centre, high = (edges[i : SIDE + i, None] for i in range(3))
    return np.minimum((frequencies - low) / (centre - low), (high - frequencies) / (high - centre)).clip(0)


def noisy_sound(wave: Floats, noise: float, random: np.random.Generator) -> Pixels:
    """The spectrogram of a word that begins a little early or late, in white noise of standard deviation ``noise``."""
    heard = noise * random.standard_normal(round(SECONDS * RATE))
    start = random.integers(round(LATEST_ONSET * RATE))
    word = wave[: len(heard) - start]
    heard[start : start + len(word)] += word
    return spectrogram(heard)


def noisy_image(digit: Floats, noise: float, random: np.random.Generator) -> Pixels:
    """A digit (8, 8) from 0 to 1, each of its 64 pixels disturbed by ``noise``, enlarged to uint8 (SIDE, SIDE)."""
    grey = (255 * (digit + noise * random.standard_normal(digit.shape))).clip(0, 255).round().astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def split_digits(random: np.random.Generator) -> dict[str, list[Floats]]:
    """The images of each split and digit, (n, 8, 8) from 0 to 1; a list of ten for each split."""
    data = load_digits()
    splits: dict[str, list[Floats]] = {name: [] for name in DIGITS}
    for digit in range(10):
        images = random.permutation(data.images[data.target == digit] / 16)
        ends = np.cumsum([round(share * len(images)) for share in DIGITS.values()])[:-1]
        for name, some in zip(DIGITS, np.split(images, ends), strict=True):
            splits[name].append(some)
    return splits


def utterances(split: str, digit: int, count: int, random: np.random.Generator) -> list[Utterance]:
    """How a split's speakers say a digit: speakers in turn; accent, speed (words a minute) and pitch are drawn."""
    accents, speeds, pitches = (
        random.choice(ACCENTS, count),
        random.integers(150, 221, count),
        random.integers(20, 81, count),
    )
    manners = zip(cycle(SPEAKERS[split]), accents.tolist(), speeds.tolist(), pitches.tolist(), strict=False)
    return [Utterance(WORDS[digit], *manner) for manner in manners]


def build(
    root: Path,
    seed: int,
    image_noise: float = IMAGE_NOISE,
    sound_noise: float = SOUND_NOISE,
    pairs: Mapping[str, int] = PAIRS,
) -> Path:
    """Writes ``root/{image,sound}/{train,val,test}/<digit>/<number>.png``, grey, matched by relative path.

    The same arguments give the same files. Levels of noise are drawn apart from the rest: the digits and utterances of
    a seed are the same at all of them.

    Args:
        root: an empty or new folder.
        seed: decides the digits' splits, the utterances and the noise.
        image_noise: standard deviation for each of the 64 pixels, where black to white is 1.
        sound_noise: standard deviation for each sample, where the word's root mean square is 1.
        pairs: how many of each digit, by split.

    Returns:
        The root.
    """
    random, noise = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    digits = split_digits(random)
    for split, count in pairs.items():
        for digit in range(10):
            own = digits[split][digit]
            with ThreadPoolExecutor() as pool:
                words = list(pool.map(spoken, utterances(split, digit, count, random)))
            for number, word in enumerate(words):
                place = Path(split, str(digit), f"{number:03}.png")
                _write(root / "image" / place, noisy_image(own[number % len(own)], image_noise, noise))
                _write(root / "sound" / place, noisy_sound(word, sound_noise, noise))
    return root


def _write(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def shuffled(root: Path, seed: int) -> Path:
    """The control: ``root/shuffled`` has the sounds of ``root/sound``, each split's under one another's paths.

    There are as many sounds of each digit as before; beside ``root/image``, whose folders stay the labels, they say
    nothing.
    """
    random = np.random.default_rng((seed, 2))
    for split in sorted((root / "sound").iterdir()):
        paths = sorted(split.rglob("*.png"))
        for path, other in zip(paths, random.permutation(len(paths)), strict=True):
            target = root / "shuffled" / path.relative_to(root / "sound")
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(paths[other], target)
    return root / "shuffled"


def score(root: Path) -> dict[str, float]:
    """Test accuracy (percent) of a support-vector machine on the pixels of the images, the sounds, and both."""
    sets = {split: (_rows(root / "image" / split), _rows(root / "sound" / split)) for split in ("train", "test")}
    (image, sound), (test_image, test_sound) = sets["train"], sets["test"]
    labels, test_labels = (np.repeat(range(10), len(sets[split][0]) // 10) for split in ("train", "test"))
    cases = {
        "image": (image, test_image),
        "sound": (sound, test_sound),
        "both": (np.hstack([image, sound]), np.hstack([test_image, test_sound])),
    }
    return {name: 100 * float(SVC().fit(x, labels).score(tx, test_labels)) for name, (x, tx) in cases.items()}


def _rows(folder: Path) -> Floats:
    return np.stack([_read(path).ravel() / 255 for path in sorted(folder.rglob("*.png"))])


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-noise", type=float, default=IMAGE_NOISE)
    parser.add_argument("--sound-noise", type=float, default=SOUND_NOISE)
    given = parser.parse_args()
    build(given.root, given.seed, given.image_noise, given.sound_noise)
    for name, percent in score(given.root).items():
        print(f"{name:>6} {percent:.1f} %")


if __name__ == "__main__":
    main()
