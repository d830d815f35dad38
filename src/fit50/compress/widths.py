"""Which widths pruning may choose, and the widest ones within a cost, by one ranking of all channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fit50.compress.groups import Group, narrowed
from fit50.nn.cost import cost
from fit50.spec.errors import SpecError
from fit50.spec.network import Network
from fit50.spec.recipe import Prune

Spent = Callable[[Network], float]
"""What a network costs."""


def gmacs(network: Network) -> float:
    """Billions of multiply-accumulates for one image."""
    return cost(network).gmacs


def by_field(found: tuple[Group, ...]) -> dict[str, list[Group]]:
    """The groups that each width counts."""
    shared: dict[str, list[Group]] = {}
    for group in found:
        if group.field is not None:
            shared.setdefault(group.field, []).append(group)
    return shared


def ascending(same: list[Group], scores: Mapping[str, Tensor]) -> Tensor:
    """The importance of groups that share a width, as one: the mean of their worst, of their second worst..."""
    return torch.stack([scores[group.name].sort().values for group in same]).mean(0)


def allowed(same: list[Group], step: Prune) -> tuple[int, ...]:
    """The widths that groups of one width may have, ascending: multiples from the floor on, and the width they have."""
    width, multiple = same[0].width, math.lcm(*(group.step(step.multiple) for group in same))
    least = max(1, math.ceil(round(width * step.floor / multiple, 6))) * multiple
    return (*range(least, width, multiple), width)


def widths_within(
    network: Network,
    step: Prune,
    found: tuple[Group, ...],
    scores: Mapping[str, Tensor],
    spent: Spent = gmacs,
    most: float | None = None,
    whole: Network | None = None,
) -> dict[str, int]:
    """The widest widths whose network costs at most ``most``, by bisection on one ranking of all channels.

    By default that is ``step.keep`` of what ``whole`` costs, which is by default the network. Groups that share a width
    rank as one.

    Raises SpecError where the narrowest network costs more.
    """
    shared = by_field(found)
    before = spent(whole or network)
    if most is None:
        assert step.keep is not None
        most = step.keep * before
    if spent(network) <= most:
        return {field: same[0].width for field, same in shared.items()}
    options = {field: allowed(same, step) for field, same in shared.items()}
    ranked = [ascending(same, scores) for same in shared.values()]
    order = torch.cat(ranked).argsort(stable=True)
    ranks = torch.split(order.argsort(), [len(each) for each in ranked])  # ties fall in the groups' order

    def at(removed: int) -> dict[str, int]:
        """The allowed widths nearest to what is left; of two that are as near, the wider."""
        left = {field: int((rank >= removed).sum()) for field, rank in zip(shared, ranks, strict=True)}
        return {field: min(options[field], key=lambda width: (abs(width - left[field]), -width)) for field in shared}

    low, high = 0, len(order)
    if (least := spent(narrowed(network, at(high)))) > most:
        raise unreachable(step, least, before)
    while high - low > 1:
        middle = (low + high) // 2
        if spent(narrowed(network, at(middle))) > most:
            low = middle
        else:
            high = middle
    return at(high)


def narrowest(found: tuple[Group, ...], step: Prune) -> dict[str, int]:
    """The least of the widths that are allowed."""
    return {field: allowed(same, step)[0] for field, same in by_field(found).items()}


def unreachable(step: Prune, least: float, whole: float) -> SpecError:
    """What to say where the narrowest network costs ``least``, of ``whole``, which is more than the step allows."""
    noun = {"gmacs": "multiply-accumulates", "parameters": "parameters", "size": "megabytes", "latency": "milliseconds"}
    asked, found = f"keep={step.keep}", f"{least / whole:.3f} of the {noun[step.of]}"
    if step.most is not None:
        unit = {"gmacs": "GMACs", "parameters": "million parameters", "size": "MB", "latency": "ms"}[step.of]
        asked, found = f"most={step.most:g} ({step.of})", f"{least:.4g} {unit}"
    return SpecError(
        f"prune: {asked} cannot be reached: with widths in multiples of {step.multiple} and at least "
        f"{step.floor} of each group, {found} is the least; raise {'most' if step.most else 'keep'} or lower floor"
    )
