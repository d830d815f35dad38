"""What the processor draws, where the kernel exposes it: Linux's power capping counters (RAPL)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Meter:
    """The energy counters of the packages and their memory: files of microjoules that start anew after ``spans``."""

    counters: tuple[Path, ...]
    spans: tuple[int, ...]

    def read(self) -> tuple[int, ...]:
        """Where each counter stands (microjoules)."""
        return tuple(int(path.read_text(encoding="ascii")) for path in self.counters)

    def joules(self, before: Sequence[int], after: Sequence[int]) -> float:
        """What was drawn between two readings, of which a counter may have started anew once."""
        return sum((b - a) % span for a, b, span in zip(before, after, self.spans, strict=True)) / 1e6


def meter(root: Path = _ROOT) -> Meter | None:
    """The machine's counters; None where the kernel exposes none, or not to this user."""
    zones: list[tuple[Path, int]] = []
    try:
        for zone in sorted(root.glob("intel-rapl:*")):  # of AMD's processors too
            name = (zone / "name").read_text(encoding="ascii").strip()
            if name.startswith("package") or name == "dram":  # other zones are parts of a package, or hold it
                (zone / "energy_uj").read_text(encoding="ascii")
                zones.append((zone / "energy_uj", 1 + int((zone / "max_energy_range_uj").read_text(encoding="ascii"))))
    except OSError:
        return None
    return Meter(*map(tuple, zip(*zones, strict=True))) if zones else None
