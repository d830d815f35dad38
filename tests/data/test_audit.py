from __future__ import annotations

from fit50.data.audit import Audit, Sizes

SIZES = Sizes(median=(480, 640), smallest=(100, 120), largest=(2000, 3000))
COUNTS = {"train": {"cat": 1000, "dog": 70}, "val": {"cat": 15, "dog": 15}, "test": {"cat": 15, "dog": 15}}


def test_summary_of_clean_data() -> None:
    assert Audit(COUNTS, SIZES, (), 0).summary().splitlines() == [
        "1,130 images of 2 classes: train 1,070, val 30, test 30",
        "training images for each class: 70 (dog) to 1,000 (cat)",
        "height x width: median 480 x 640, from 100 x 120 to 2,000 x 3,000",
    ]


def test_summary_names_what_is_wrong() -> None:
    aside = tuple((f"cat/{i}.jpg", "damaged") for i in range(5))
    lines = Audit(COUNTS, SIZES, aside, 4).summary().splitlines()[3:]
    assert lines == [
        "4 images of val and test are also in an earlier split, byte for byte: "
        "accuracy on them says nothing about new images",
        "5 files set aside:",
        "  cat/0.jpg: damaged",
        "  cat/1.jpg: damaged",
        "  cat/2.jpg: damaged",
        "  and 2 more",
    ]


def test_summary_names_what_leaks() -> None:
    alike = tuple((f"test/{i}.jpg", f"train/{i}.jpg") for i in range(4))
    assert Audit(COUNTS, SIZES, (), 0, alike, 12).summary().splitlines()[3:] == [
        "4 images of val and test look like one of an earlier split:",
        "  test/0.jpg like train/0.jpg",
        "  test/1.jpg like train/1.jpg",
        "  test/2.jpg like train/2.jpg",
        "  and 1 more",
        "12 images of val and test are of a group that is also in an earlier split",
    ]
