"""What the verbs share."""

from __future__ import annotations

import pytest

from fit50.cli.options import field_hint


@pytest.mark.parametrize(
    ("verb", "option", "hint"),
    [
        ("train", "--epochs", " Did you mean --train.epochs?"),
        ("prune", "--importance", " Did you mean --prune.importance?"),
        ("prune", "--epochs", " Did you mean --train.epochs?"),
        ("optimize", "--epochs", " Did you mean --effort.train.epochs?"),
        ("optimize", "--keeps", " Did you mean --effort.keeps?"),
        ("optimize", "--seeds", ""),
        ("verify", "--epochs", ""),
    ],
)
def test_a_field_given_as_an_option_is_found(verb: str, option: str, hint: str) -> None:
    assert field_hint(verb, option) == hint
