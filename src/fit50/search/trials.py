"""Which of the trained networks goes on to be pruned, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fit50.evaluate.intervals import accuracy, difference
from fit50.spec.outcome import Difference, Trial


class Trained(NamedTuple):
    """A network after its training.

    ``right`` says which validation images it answers correctly (N,); ``int8`` what eight bits everywhere would probably
    change, None where there are no int8 files.
    """

    run: str
    right: NDArray[np.bool_]
    int8: Difference | None


def tried(networks: Mapping[str, Trained], allowed: float) -> tuple[Trial, ...]:
    """What becomes of the baseline, the control and the grown networks: the most accurate on validation is kept.

    But one that int8 surely harms by more than ``allowed`` points gives way to the most accurate of the others, if that
    is at most as many points behind: int8 files are a multiple faster. Grown networks are compared with the control,
    which learned as long, and the control with the baseline.
    """
    points = {name: 100 * float(each.right.mean()) for name, each in networks.items()}
    best = first = max(points, key=lambda name: points[name])
    sound = [name for name, each in networks.items() if each.int8 is None or each.int8.high >= -allowed]
    if first not in sound and (near := [name for name in sound if points[name] >= points[first] - allowed]):
        best = max(near, key=lambda name: points[name])
    trials = []
    for name, each in networks.items():
        against = {"baseline": "", "control": "baseline"}.get(name, "control")
        compared = difference(each.right, networks[against].right) if against else None
        if name == best:
            reason = "the most accurate on validation" + ("" if best == first else " of those that int8 does not harm")
        elif points[name] > points[best]:
            reason = f"int8 would probably change its accuracy by {each.int8}, and may cost {allowed:g}"
        else:
            reason = "less accurate on validation than the best"
        if compared and not compared.significant:
            reason += f"; its difference to the {against} is within chance"
        trials.append(
            Trial(
                name=name,
                run=each.run,
                accuracy=accuracy(each.right),
                against=against,
                difference=compared,
                int8=each.int8,
                kept=name == best,
                reason=reason,
            )
        )
    return tuple(trials)
