"""Which widths pruning may choose, and the widest ones within a cost, by one ranking of all channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from fit50.compress.groups import Group, groups, narrowed
from fit50.nn.cost import cost
from fit50.spec.errors import SpecError
from fit50.spec.network import Network
from fit50.spec.recipe import Prune

Spent = Callable[[Network], float]
"""What a network costs."""


def gmacs(network: Network) -> float:
    """Billions of multiply-accumulates for one image."""
    return cost(network).gmacs


def megaparameters(network: Network) -> float:
    """Millions of parameters."""
    return cost(network).parameters / 1e6


def _counted(step: Prune, whole: Network) -> tuple[Spent, float]:
    """What a step counts, GMACs or parameters, and how much of it is allowed; ``keep`` is a fraction of ``whole``'s."""
    spent = gmacs if step.of == "gmacs" else megaparameters
    return spent, step.most or (step.keep or 1) * spent(whole)


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
    spent: Spent,
    most: float,
) -> dict[str, int]:
    """The widest widths whose network costs at most ``most``, by bisection on one ranking of all channels.

    Groups that share a width rank as one. Where even the narrowest network costs more, its widths.
    """
    shared = by_field(found)
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
    while high - low > 1:
        middle = (low + high) // 2
        if spent(narrowed(network, at(middle))) > most:
            low = middle
        else:
            high = middle
    return at(high)


def counted_widths(
    network: Network, step: Prune, found: tuple[Group, ...], scores: Mapping[str, Tensor], whole: Network
) -> dict[str, int]:
    """The widest widths with the GMACs or parameters that a step allows; ``whole`` is what it keeps a fraction of.

    Raises SpecError where the narrowest network has more.
    """
    spent, most = _counted(step, whole)
    widths = widths_within(network, step, found, scores, spent, most)
    if (least := spent(narrowed(network, widths))) > most:
        raise unreachable(step, least, spent(whole))
    return widths


def refuse_unreachable(network: Network, steps: Iterable[Prune]) -> None:
    """Raises SpecError where prunings in a row cannot get to the GMACs or parameters that they ask for.

    ``keep`` counts from ``network``. What passes may still fall short, for a round leaves what matters, which need not
    be what can be narrowed furthest. Nothing is said of sizes and latencies, which are measured, or of whole blocks,
    whose importance is.
    """
    whole = network
    for step in steps:
        if step.measured or step.depths is not None:
            return
        spent, most = _counted(step, whole)
        narrowest = {field: allowed(same, step)[0] for field, same in by_field(groups(network)).items()}
        network = narrowed(network, narrowest)
        if (least := spent(network)) > most:
            raise unreachable(step, least, spent(whole))


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
