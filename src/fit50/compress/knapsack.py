"""Which widths keep the most importance for what they cost: a knapsack, filled greedily."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from fit50.compress.convolutions import Convolution
from fit50.compress.groups import Group
from fit50.compress.widths import allowed, ascending, by_field
from fit50.runtimes.layers import Layer
from fit50.spec.recipe import Prune

Price = Callable[[Layer], float]
"""What a convolution costs."""
_OPTIONS = 16
"""How many narrower widths of each field are weighed at once."""


class Choice(NamedTuple):
    """A width that may shrink: the allowed ones, ascending, and the importance that each of them loses in all."""

    widths: tuple[int, ...]
    lost: tuple[float, ...]


def choices(found: tuple[Group, ...], scores: Mapping[str, Tensor], step: Prune) -> dict[str, Choice]:
    """What there is to choose, by field."""
    result = {}
    for field, same in by_field(found).items():
        widths = allowed(same, step)
        channels = sum(group.each for group in same)
        worst = (channels * ascending(same, scores).double().cumsum(0)).tolist()
        lost = tuple(worst[same[0].width - width - 1] if width < same[0].width else 0.0 for width in widths)
        result[field] = Choice(widths, lost)
    return result


def knapsack(
    given: Mapping[str, Choice], convolutions: Sequence[Convolution], price: Price, most: float
) -> dict[str, int]:
    """Widths whose convolutions cost at most ``most`` together, or the narrowest, where these cost more.

    From the full widths on, that width shrinks which loses the least importance for what it saves, by as much as does
    so best; what it saves depends on the widths that its convolutions have on their other side by then. This is the
    greedy solution of the knapsack problem on the convex hull of every width's choices.
    """
    at = {field: len(choice.widths) - 1 for field, choice in given.items()}
    touching = {
        field: [each for each in convolutions if any(field == other for other, _ in (*each.inputs, *each.outputs))]
        for field in given
    }
    beside = {
        field: {other for each in touching[field] for other, _ in (*each.inputs, *each.outputs)} for field in given
    }
    widths = {field: choice.widths[-1] for field, choice in given.items()}
    left = sum(price(each.at(widths)) for each in convolutions)

    def moves(field: str) -> list[tuple[float, float, int]]:
        """What each narrower width loses for what it saves, what it saves, and its place."""
        choice, place = given[field], at[field]
        before = sum(price(each.at(widths)) for each in touching[field])
        found = []
        for narrower in range(place - 1, -1, -max(1, place // _OPTIONS)):
            then = {**widths, field: choice.widths[narrower]}
            saved = before - sum(price(each.at(then)) for each in touching[field])
            if saved > 0:
                found.append(((choice.lost[narrower] - choice.lost[place]) / saved, saved, narrower))
        return found

    offers = {field: moves(field) for field in given}
    while left > most and any(offers.values()):
        best = min((min(offer), field) for field, offer in offers.items() if offer)
        field = best[1]
        enough = [offer for offer in offers[field] if offer[1] >= left - most and offer[1] < best[0][1]]
        _, saved, at[field] = min(enough, key=lambda offer: offer[1]) if enough else best[0]
        widths[field], left = given[field].widths[at[field]], left - saved
        for other in beside[field] & given.keys():
            offers[other] = moves(other)
    return widths if left <= most else {field: choice.widths[0] for field, choice in given.items()}
