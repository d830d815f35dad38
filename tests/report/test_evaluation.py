"""Evaluations and comparisons for the terminal."""

from __future__ import annotations

import numpy as np

from fit50.report.evaluation import comparison_text, evaluation_text
from fit50.spec.evaluation import (
    ClassScore,
    Comparison,
    CorruptedAccuracy,
    Estimate,
    Evaluation,
    Flip,
    Robustness,
    Without,
)
from fit50.spec.outcome import Accuracy, Difference

SHARE = Accuracy(correct=9, n=12, low=46.8, high=91.1)
ESTIMATE = Estimate(value=74.96, low=50.04, high=90)


def made(classes: int = 2, **changes: object) -> Evaluation:
    last = Accuracy(correct=1, n=100, low=0, high=99)
    scores = (
        ClassScore(name="bird", recall=SHARE, precision=None),
        *(
            ClassScore(name=f"class {i}", recall=last.model_copy(update={"correct": i}), precision=SHARE)
            for i in range(1, classes)
        ),
    )
    confusion = np.zeros((classes, classes), int)
    confusion[-1, 0] = 7
    value = Evaluation(
        n=12,
        accuracy=SHARE,
        k=5,
        top_k=None,
        balanced_accuracy=ESTIMATE,
        macro_f1=ESTIMATE,
        calibration_error=ESTIMATE,
        log_likelihood_loss=Estimate(value=1.2345, low=1, high=2),
        classes=scores,
        confusion=tuple(map(tuple, confusion.tolist())),
    )
    return value.model_copy(update=changes)


def test_all_figures() -> None:
    assert evaluation_text(made(), "val").splitlines() == [
        "val accuracy 75.0 % [46.8, 91.1], n=12",
        "balanced accuracy 75.0 % [50.0, 90.0]",
        "macro F1 75.0 % [50.0, 90.0]",
        "calibration error 75.0 % [50.0, 90.0]",
        "negative log-likelihood 1.234 [1.000, 2.000]",
        "",
        "class    images           recall %        precision %",
        "class 1     100    1.0 [0.0, 99.0]  75.0 [46.8, 91.1]",
        "bird         12  75.0 [46.8, 91.1]                  -",
        "",
        "most confused",
        "  class 1 answered as bird: 7 of 7",
    ]


def test_of_many_classes_the_worst() -> None:
    text = evaluation_text(made(classes=60), "val")
    assert "the 20 of 60 classes with the least recall" in text
    assert "class 20 " in text
    assert "class 21 " not in text


def test_what_was_asked_for_besides() -> None:
    difference = Difference(points=-10, low=-20, high=-1, n=12)
    corrupted = CorruptedAccuracy(corruption="jpeg", severities=(70, 60, 50, 40, 30.5), mean=ESTIMATE)
    text = evaluation_text(
        made(
            top_k=SHARE,
            without=(Without(input="rgb", accuracy=SHARE, difference=difference),),
            robustness=Robustness(corruptions=(corrupted,), mean=ESTIMATE, relative_drop=ESTIMATE),
        ),
        "test",
    )
    assert "top-5 accuracy 75.0 % [46.8, 91.1], n=12" in text
    assert "without rgb: accuracy 75.0 % [46.8, 91.1], n=12; -10.0 points [-20.0, -1.0], n=12" in text
    assert text.splitlines()[-3:] == [
        "jpeg  70.0  60.0  50.0  40.0  30.5  75.0 % [50.0, 90.0]",
        "mean                                75.0 % [50.0, 90.0]",
        "of the accuracy on the images as they are, 75.0 % [50.0, 90.0] is lost",
    ]


def test_a_gain_under_corruptions_is_not_called_a_loss() -> None:
    gained = Robustness(corruptions=(), mean=ESTIMATE, relative_drop=Estimate(value=-4.2, low=-6, high=1.5))
    assert evaluation_text(made(robustness=gained), "val").splitlines()[-1] == (
        "no accuracy is lost: 4.2 % [-1.5, 6.0] of that on the images as they are is gained"
    )


def test_a_comparison() -> None:
    lost = tuple(Flip(name=f"cats/{i}.png", label="cat", old="cat", new="dog") for i in range(12))
    won = Flip(name="won.png", label="cat", old="dog", new="cat")
    text = comparison_text(
        Comparison(
            old=SHARE,
            new=SHARE,
            difference=Difference(points=-1, low=-2, high=1, n=12),
            p=0.0042,
            lost=12,
            won=1,
            changed=0,
            negative_flip_rate=ESTIMATE,
            flips=(*lost, won),
        ),
        "val",
    )
    assert text.splitlines()[:9] == [
        "val accuracy 75.0 % [46.8, 91.1], n=12 (old)",
        "val accuracy 75.0 % [46.8, 91.1], n=12 (new)",
        "difference -1.0 points [-2.0, +1.0], n=12 (new minus old)",
        "McNemar's exact test: p = 0.0042",
        "flips: 12 right to wrong, 1 wrong to right, 0 wrong to otherwise wrong",
        "negative flip rate 75.0 % [50.0, 90.0]",
        "",
        "right to wrong",
        "  cats/0.png  cat -> dog",
    ]
    assert text.endswith("and 2 more (--flips FOLDER writes all)")
    assert "won.png" not in text
