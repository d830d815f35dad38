"""What an evaluation finds."""

from __future__ import annotations

from fit50.spec.evaluation import ClassScore, Confusion, Estimate, Evaluation
from fit50.spec.outcome import Accuracy


def test_the_largest_confusions_come_first() -> None:
    half = Accuracy(correct=5, n=10, low=20, high=80)
    estimate = Estimate(value=50, low=20, high=80)
    found = Evaluation(
        n=21,
        accuracy=half,
        k=5,
        top_k=None,
        balanced_accuracy=estimate,
        macro_f1=estimate,
        calibration_error=estimate,
        log_likelihood_loss=estimate,
        classes=tuple(ClassScore(name=name, recall=half, precision=None) for name in ("bird", "cat", "dog")),
        confusion=((8, 0, 1), (2, 1, 3), (0, 1, 5)),
    )
    assert found.confusions(2) == (
        Confusion(label="cat", answer="dog", count=3, n=6),
        Confusion(label="cat", answer="bird", count=2, n=6),
    )
    assert len(found.confusions(9)) == 4
    assert Evaluation.parse(found.model_dump(mode="json")) == found
