from __future__ import annotations

import re
from typing import Any

import pytest

from fit50.spec.advice import advise
from fit50.spec.digest import edit_all, scalar
from fit50.spec.inspection import Advice, InputFacts, Inspection, Labels, Suspect, Twin
from fit50.spec.network import IMAGENET_MEAN, IMAGENET_STD
from fit50.spec.presets import NETWORKS, network
from fit50.spec.recipes import RECIPES

IMAGE: dict[str, Any] = {
    "name": "image",
    "height": 224,
    "width": 224,
    "formats": {"JPEG": 3000},
    "modes": {"RGB": 3000},
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "input_mean": IMAGENET_MEAN,
    "input_std": IMAGENET_STD,
    "sampled": 2000,
    "grey": False,
}
SUSPECT = Suspect(
    name="val/cat/1.png", split="val", given="cat", suggested="dog", given_probability=0.1, suggested_probability=0.9
)


def made(**changes: object) -> Inspection:
    """Findings that warrant no advice, but for the changes."""
    held_out = {"cat": 250, "dog": 250}
    data: dict[str, object] = {
        "data": "photos",
        "counts": {"train": {"cat": 1000, "dog": 1000}, "val": held_out, "test": held_out},
        "median": (256, 300),
        "smallest": (200, 200),
        "largest": (400, 600),
        "inputs": (InputFacts.parse(IMAGE),),
        "network": "resnet50",
        "gmacs": 0.9,
    }
    return Inspection.parse(data | changes)


def image(**changes: object) -> InputFacts:
    return InputFacts.parse(IMAGE | changes)


def twin(exact: bool = True, splits: tuple[str, str] = ("train", "val"), other: str = "cat") -> Twin:
    return Twin(names=("train/cat/1.png", "val/cat/1.png"), splits=splits, classes=("cat", other), exact=exact)


def only(**changes: object) -> Advice:
    (advice,) = advise(made(**changes))
    assert re.search(r"\d", advice.evidence), "no advice without a figure"
    assert advice.source.startswith(("Zhao and Leong: ", "not the paper's"))
    return advice


def train(cats: int, dogs: int) -> dict[str, dict[str, int]]:
    return {**made().counts, "train": {"cat": cats, "dog": dogs}}


def test_nothing_is_advised_where_nothing_warrants_it() -> None:
    assert advise(made()) == ()
    assert advise(made(twins=(twin(splits=("train", "train")),))) == ()
    assert advise(made(labels=Labels(model="m", known=True, n=1000, agreement=99, suspects=()))) == ()


def test_what_lies_in_two_splits_makes_figures_doubtful() -> None:
    advice = only(twins=(twin(), twin(exact=False), twin(exact=False)), shared_groups=7)
    assert "do not trust" in advice.advice
    assert advice.evidence == (
        "exact copies 1, near-duplicates 2, of shared groups 7, of the 1,000 images of val and test; "
        "accuracy may be too high by 1.0 points"
    )
    assert only(shared_groups=7).evidence.startswith("of shared groups 7, of")


def test_duplicates_of_two_classes_are_errors_of_one() -> None:
    advice = only(twins=(twin(splits=("val", "val"), other="dog"),))
    assert advice.evidence == ("duplicates of another class: 1, such as val/cat/1.png (dog) and train/cat/1.png (cat)")


def test_suspected_labels_come_with_who_suspects_them() -> None:
    advice = only(labels=Labels(model="m", known=True, n=1000, agreement=91.25, suspects=(SUSPECT,) * 4))
    assert advice.technique == "confident learning"
    assert "4 of 1,000" in advice.evidence
    assert "91.2 %" in advice.evidence
    assert advise(made(labels=Labels(model="m", known=True, n=1000, agreement=49, suspects=(SUSPECT,)))) == ()


@pytest.mark.parametrize(
    ("side", "stem"), [(28, "low-resolution"), (40, "low-resolution"), (41, "light"), (63, "light")]
)
def test_small_images_want_another_stem(side: int, stem: str) -> None:
    advice = only(median=(side, 100), inputs=(image(height=64, width=64),))
    assert f"--network.stem {stem} " in advice.advice
    assert f"{side} x 100" in advice.evidence
    assert "low-resolution images" in advice.source


def test_images_of_64_pixels_want_none() -> None:
    assert advise(made(median=(64, 64), inputs=(image(height=64, width=64),))) == ()


@pytest.mark.parametrize("counts", [(499, 500), (50, 40)])
def test_little_data_wants_transfer(counts: tuple[int, int]) -> None:
    advice = only(counts=train(*counts))
    assert "--recipe finetune" in advice.advice
    assert f"{sum(counts):,} training images" in advice.evidence
    assert "Dropout-ResNet50" in advice.source
    assert advise(made(counts=train(500, 500))) == ()


def test_many_classes_of_few_images_are_little_data() -> None:
    counts = {split: {f"class {i}": 99 for i in range(20)} for split in ("train", "val", "test")}
    assert "99 for each of 20 classes" in only(counts=counts).evidence


def test_a_rare_class_wants_balance() -> None:
    advice = only(counts=train(3000, 1000))
    assert "--train.balance weights" in advice.advice
    assert "3,000 of cat, 1,000 of dog (3.0 to 1)" in advice.evidence
    assert advise(made(counts=train(2999, 1000))) == ()


def test_detail_that_is_lost_wants_what_keeps_it() -> None:
    advice = only(median=(449, 600))
    assert "2.0 times the input's 224 x 224" in advice.evidence
    assert "--image-size 320" in advice.advice
    assert "HFF-SEnet" in advice.source
    assert advise(made(median=(448, 600))) == ()


def test_networks_and_weights_of_one_input_are_not_for_two() -> None:
    two = {"inputs": (image(name="rgb"), image(name="thermal"))}
    assert advise(made(**two)) == ()
    text = only(counts=train(50, 40), **two).advice + only(median=(500, 600), **two).advice
    assert "--recipe lowdata" in text
    assert "--image-size" in text
    assert "--start" not in text
    assert "--network " not in text


def test_costly_networks_want_pruning() -> None:
    assert "4.09 GMACs for each prediction of resnet50 at 224 x 224" in only(gmacs=4.089).evidence


@pytest.mark.parametrize("changes", [{"mean": (0.2, 0.4, 0.4)}, {"std": (0.229, 0.224, 0.4)}, {"std": (0.1, 0.2, 0.2)}])
def test_other_statistics_want_their_own(changes: dict[str, tuple[float, ...]]) -> None:
    advice = only(inputs=(image(**changes),))
    assert "image: mean [" in advice.evidence
    assert advise(made(inputs=(image(mean=(0.55, 0.5, 0.4), std=(0.3, 0.3, 0.3)),))) == ()


def test_channels_of_one_value_have_no_spread_to_divide_by() -> None:
    assert advise(made(inputs=(image(mean=(0, 0, 0), std=(0, 0, 0)),))) == ()


def test_grey_images_are_said_so() -> None:
    advice = only(inputs=(image(grey=True),))
    assert "no colour in any of 2,000 training images" in advice.evidence
    one = {"grey": True, "mean": (0.4,), "std": (0.2,), "input_mean": (0.4,), "input_std": (0.2,)}
    assert advise(made(inputs=(image(**one),))) == ()


def test_every_option_in_the_advice_is_one() -> None:
    everything = made(
        counts=train(90, 10), median=(28, 28), gmacs=4, inputs=(image(grey=True, mean=(0.2, 0.2, 0.2)),)
    )  # fmt: skip
    text = "\n".join(each.advice for each in advise(everything) + advise(made(median=(999, 999))))
    options = [
        (path, scalar(value.strip("'"))) for path, value in re.findall(r"--network\.(\S+) ('.*?'|[\w.-]+)", text)
    ]
    stem, dropout, *statistics = options
    for together in ([stem], [dropout], statistics[:2], statistics[2:]):
        assert edit_all(network("resnet50"), together) != network("resnet50")
    assert set(re.findall(r"--recipe ([\w-]+)", text)) <= set(RECIPES)
    assert set(re.findall(r"--network ([\w-]+)", text)) <= set(NETWORKS)
