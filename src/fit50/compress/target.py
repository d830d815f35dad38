"""From what a pruning step allows to the widths: of GMACs and parameters by counting, of files by measuring."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, assert_never

from torch import Tensor

from fit50.compress.convolutions import convolutions
from fit50.compress.cut import cut
from fit50.compress.groups import Group
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
        again when it is measured anew; where that cannot be had, it is said. For a latency, a channel counts by what
        its convolutions save when it leaves (``knapsack``); for the other costs, all channels rank together
        (``widths_within``).

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

                def size(network: Network) -> float:
                    return megaparameters(network) * BYTES[step.precision]

                network = self.checkpoint.network
                return self._corrected(
                    lambda most: widths_within(network, step, self.found, self.scores, size, most), size(network)
                )
            case "latency":
                wired = convolutions(self.checkpoint.network, self.found)
                threads = step.threads or physical_cores()
                price = latency_price(wired, step.multiple, step.runtime, step.precision, threads, self.monitor)
                given = choices(self.found, self.scores, step)
                return self._corrected(
                    lambda most: knapsack(given, wired, price, most), sum(price(each.layer) for each in wired)
                )
            case _:
                assert_never(step.of)

    def _corrected(self, choose: Callable[[float], Widths], foreseen: float) -> tuple[Widths, dict[str, str]]:
        """The widths that ``choose`` gives for that foreseen cost at which the measured one is right.

        ``foreseen`` is the checkpoint's as it is.
        """
        step, unit = self.step, {"size": "MB", "latency": "ms"}[self.step.of]
        tried: list[_Attempt] = []
        left = gmacs(self.checkpoint.network) / gmacs(self.whole.network)
        aim = foreseen * min(1, (step.keep or 1) / left)
        full = {field: same[0].width for field, same in by_field(self.found).items()}
        allowed = 1 if step.of == "size" else 1 + _WITHIN  # a latency is never known better
        with tempfile.TemporaryDirectory() as folder:
            whole = self._exported(self.whole, Path(folder) / "whole")
            for attempt in range(_ATTEMPTS):
                self.monitor.progress(f"prune to a {step.of}", attempt, _ATTEMPTS)
                widths = choose(aim)
                if not tried or widths != tried[-1].widths:
                    pruned = self._pruned(widths, Path(folder) / f"{attempt}")
                    tried.append(self._attempt(widths, whole, pruned))
                elif tried[-1].share > 1:  # the model saw no way to be a little faster
                    aim *= 1 - _WITHIN
                    continue
                if widths == full and tried[-1].share <= 1:
                    break
                if tried[-1].near:  # by a measurement that may have been lucky
                    tried[-1] = self._attempt(widths, whole, pruned)
                    if tried[-1].near:
                        break
                right = 1 - _WITHIN / 2
                if step.of == "size":  # of which a part depends on no width
                    aim -= tried[-1].after - right * tried[-1].most
                else:
                    aim *= right / tried[-1].share
            if all(each.share > allowed for each in tried):
                widths = choose(0)
                tried.append(self._attempt(widths, whole, self._pruned(widths, Path(folder) / "narrowest")))
        self.monitor.progress(f"prune to a {step.of}", _ATTEMPTS, _ATTEMPTS)
        below = [each for each in tried if each.share <= 1]
        best = max(below, key=lambda each: each.share) if below else min(tried, key=lambda each: each.share)
        if best.share > allowed:
            raise unreachable(step, best.after, best.before)
        found = (
            f"{best.before:.4g} to {best.after:.4g} {unit} in {step.runtime} {step.precision}, at most {best.most:.4g}"
        )
        if not best.near:
            found += f" asked for; {len(tried)} attempts came no nearer from below"
        return best.widths, {step.of: found}

    def _pruned(self, widths: Widths, folder: Path) -> Bundle:
        return self._exported(cut(self.checkpoint, self.scores, widths), folder)

    def _exported(self, checkpoint: Checkpoint, folder: Path) -> Bundle:
        calibration = Calibration(self.images.pixels, self.images.pixels, self.images.labels, max_drop=100)
        return runtime(self.step.runtime).export(self._form(checkpoint), folder, calibration)

    def _form(self, checkpoint: Checkpoint) -> Checkpoint:
        return replace(checkpoint, numerics=uncalibrated(self.step.precision))

    def _attempt(self, widths: Widths, whole: Bundle, pruned: Bundle) -> _Attempt:
        before, after = self._measured(whole, pruned)
        return _Attempt(widths, before, after, self.step.most or (self.step.keep or 1) * before)

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
