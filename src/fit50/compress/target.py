"""From what a pruning step allows to the widths: of GMACs and parameters by counting, of files by measuring."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, assert_never

from torch import Tensor

from fit50.compress.convolutions import convolutions
from fit50.compress.cut import cut
from fit50.compress.groups import Group, narrowed
from fit50.compress.knapsack import choices, knapsack
from fit50.compress.latency import latency_price
from fit50.compress.widths import by_field, counted_widths, gmacs, megaparameters, unreachable, widths_within
from fit50.data.images import Images
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle, Calibration, refuse
from fit50.runtimes.measure import measure
from fit50.spec.machine import physical_cores
from fit50.spec.monitor import Monitor
from fit50.spec.network import Network
from fit50.spec.numerics import BYTES, uncalibrated
from fit50.spec.recipe import Prune
from fit50.weights.checkpoint import Checkpoint

Widths = dict[str, int]
_WITHIN = 0.05
_ATTEMPTS = 8
_FINE = 1e-3
"""Foreseen costs that differ by less, as a fraction of the network's as it is, are one."""


@dataclass(frozen=True)
class Target:
    """A pruning step and all that its widths depend on.

    Attributes:
        step: what is allowed.
        whole: the network of which ``step.keep`` is a fraction.
        checkpoint: what is left of it where blocks have gone, or channels in earlier steps.
        found: its groups.
        scores: the importance of their channels.
        images: training images; int8 takes its ranges from them.
        monitor: told of what takes long.
    """

    step: Prune
    whole: Checkpoint
    checkpoint: Checkpoint
    found: tuple[Group, ...]
    scores: Mapping[str, Tensor]
    images: Images
    monitor: Monitor

    def widths(self) -> tuple[Widths, dict[str, str]]:
        """The widths, and what was measured on the way, for the provenance.

        GMACs and parameters are known from the network. Size and latency are the exported file's: what a model of them
        foresees is corrected by what is measured, until the file costs what is allowed or up to 5 % less, and does so
        again when it is measured anew. Where that cannot be had, it is said, and the file is the nearest below; a
        latency, which is never known better, may be up to 5 % above where nothing is below. For a latency, a channel
        counts by what its convolutions save when it leaves (``knapsack``); for the other costs, all channels rank
        together (``widths_within``).

        Raises:
            SpecError: the narrowest network costs too much.
            RuntimeRefusal: there is no such file.
        """
        step = self.step
        if step.measured:
            refuse(runtime(step.runtime), self._form(self.whole))
        match step.of:
            case "gmacs" | "parameters":
                network, whole = self.checkpoint.network, self.whole.network
                return counted_widths(network, step, self.found, self.scores, whole), {}
            case "size":
                network = self.checkpoint.network

                def size(smaller: Network) -> float:
                    return megaparameters(smaller) * BYTES[step.precision]

                return self._corrected(
                    lambda most: widths_within(network, step, self.found, self.scores, size, most),
                    lambda widths: size(narrowed(network, widths)),
                )
            case "latency":
                wired = convolutions(self.checkpoint.network, self.found)
                threads = step.threads or physical_cores()
                price = latency_price(wired, step.multiple, step.runtime, step.precision, threads, self.monitor)
                given = choices(self.found, self.scores, step)
                return self._corrected(
                    lambda most: knapsack(given, wired, price, most),
                    lambda widths: sum(price(each.at(widths)) for each in wired),
                )
            case _:
                assert_never(step.of)

    def _corrected(
        self, choose: Callable[[float], Widths], foresee: Callable[[Widths], float]
    ) -> tuple[Widths, dict[str, str]]:
        """The widths of which the measured cost is right, among those that ``choose`` gives for a foreseen one."""
        step, unit = self.step, {"size": "MB", "latency": "ms"}[self.step.of]
        full = {field: same[0].width for field, same in by_field(self.found).items()}
        narrowest = choose(0)
        least, now = foresee(narrowest), foresee(full)
        left = gmacs(self.checkpoint.network) / gmacs(self.whole.network)
        low, aim, high = least, max(least, now * min(1, (step.keep or 1) / left)), now
        tried: list[_Attempt] = []
        seen: list[tuple[float, float]] = []
        with tempfile.TemporaryDirectory() as folder:
            whole = self._exported(self.whole, Path(folder) / "whole")

            def attempt(widths: Widths) -> _Attempt:
                known = [each for each in tried if each.widths == widths]
                if not known:
                    self.monitor.progress(f"prune to a {step.of}", len(tried), _ATTEMPTS)
                    known = [self._attempt(widths, whole, Path(folder) / str(len(tried)))]
                    tried.extend(known)
                return known[0]

            while len(tried) < _ATTEMPTS:
                found = attempt(choose(aim))
                low, high = (aim, high) if found.share <= 1 else (low, aim)
                if found.near or (found.widths == full and found.share <= 1) or high - low <= _FINE * now:
                    break
                seen.append((aim, found.share))
                aim = _aim(seen, low, high)
            if all(each.share > 1 for each in tried):
                attempt(narrowest)
        self.monitor.progress(f"prune to a {step.of}", _ATTEMPTS, _ATTEMPTS)
        below = [each for each in tried if each.share <= 1]
        best = max(below, key=lambda each: each.share) if below else min(tried, key=lambda each: each.share)
        if best.share > (1 if step.of == "size" else 1 + _WITHIN):
            raise unreachable(step, best.after, best.before)
        said = (
            f"{best.before:.4g} to {best.after:.4g} {unit} in {step.runtime} {step.precision}, at most {best.most:.4g}"
        )
        if not best.near:
            ends = "came no nearer from below" if below else "came to no less, the narrowest network among them"
            said += f" asked for; {len(tried)} attempts {ends}"
        return best.widths, {step.of: said}

    def _exported(self, checkpoint: Checkpoint, folder: Path) -> Bundle:
        calibration = Calibration(self.images.pixels, self.images.pixels, self.images.labels, max_drop=100)
        return runtime(self.step.runtime).export(self._form(checkpoint), folder, calibration)

    def _form(self, checkpoint: Checkpoint) -> Checkpoint:
        return replace(checkpoint, numerics=uncalibrated(self.step.precision))

    def _attempt(self, widths: Widths, whole: Bundle, folder: Path) -> _Attempt:
        """What the file of these widths costs; measured again where that is allowed, for it may have been luck."""
        pruned = self._exported(cut(self.checkpoint, self.scores, widths), folder)
        for _ in range(2):
            before, after = self._measured(whole, pruned)
            found = _Attempt(widths, before, after, self.step.most or (self.step.keep or 1) * before)
            if found.share > 1:
                break
        return found

    def _measured(self, before: Bundle, after: Bundle) -> tuple[float, float]:
        """The sizes in megabytes, or the median latencies in milliseconds, measured in turns."""
        if self.step.of == "size":
            return before.size, after.size
        bundles = {"before": before, "after": after}
        scores = measure(bundles, self.step.threads or physical_cores(), batch=1, memory=False)
        first, second = (scores[name].latency for name in bundles)
        assert first is not None and second is not None
        return first.median, second.median


class _Attempt(NamedTuple):
    """Widths, and what was measured and allowed when they were tried."""

    widths: Widths
    before: float
    after: float
    most: float

    @property
    def share(self) -> float:
        """Of what is allowed."""
        return self.after / self.most

    @property
    def near(self) -> bool:
        """Whether it costs what is allowed, or little less."""
        return 1 - _WITHIN <= self.share <= 1


def _aim(seen: Sequence[tuple[float, float]], low: float, high: float) -> float:
    """The foreseen cost to try next, for a share a little below 1.

    It is where the line through the last two gets there; where there is one, or no rising line, in proportion to the
    last. It is between ``low`` and ``high``, or one of these unless it was tried, and halfway otherwise.

    Args:
        seen: foreseen costs that were tried, and what shares of the allowed cost were measured.
        low: the largest that is known to be within, or the least that there is.
        high: the least that is known not to be, or the largest that there is.
    """
    goal = 1 - _WITHIN / 2
    aim, share = seen[-1]
    slope = (share - seen[-2][1]) / (aim - seen[-2][0]) if len(seen) > 1 else 0.0
    guess = aim + (goal - share) / slope if slope > 0 else aim * goal / share
    guess = min(max(guess, low), high)
    return (low + high) / 2 if any(guess == tried for tried, _ in seen) else guess
