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

    One that int8 surely harms by more than ``allowed`` points is kept only if int8 harms all of them: its files would
    have to stay in float, at a multiple of the time. Grown networks are compared with the control, which learned as
    long, and the control with the baseline.
    """
    harmed = {name for name, each in networks.items() if each.int8 and each.int8.high < -allowed}
    sound = [name for name in networks if name not in harmed] or list(networks)
    best = max(sound, key=lambda name: float(networks[name].right.mean()))
    trials = []
    for name, each in networks.items():
        against = {"baseline": "", "control": "baseline"}.get(name, "control")
        compared = difference(each.right, networks[against].right) if against else None
        if name == best:
            reason = "the most accurate on validation" + (
                " of those that int8 does not harm" if len(sound) < len(networks) else ""
            )
        elif name not in sound:
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
