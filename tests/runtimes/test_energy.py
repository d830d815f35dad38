"""Energy counters as Linux exposes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fit50.runtimes.energy import meter


def zone(root: Path, place: str, name: str, microjoules: int, span: int = 1_000_000) -> Path:
    folder = root / place
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n", encoding="ascii")
    (folder / "max_energy_range_uj").write_text(f"{span - 1}\n", encoding="ascii")
    (folder / "energy_uj").write_text(f"{microjoules}\n", encoding="ascii")
    return folder / "energy_uj"


def test_packages_and_memory_count_once(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 100)
    zone(tmp_path, "intel-rapl:0:0", "core", 70)
    zone(tmp_path, "intel-rapl:0:1", "dram", 5)
    zone(tmp_path, "intel-rapl:1", "psys", 400)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 100)
    found = meter(tmp_path)
    assert found is not None
    assert found.read() == (100, 5)


def test_a_counter_that_starts_anew(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    found = meter(tmp_path)
    assert found is not None
    before = found.read()
    counter.write_text("100000\n", encoding="ascii")
    assert found.joules(before, found.read()) == pytest.approx(0.2)


def test_no_counters_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert meter(tmp_path / "nowhere") is None
    assert meter(tmp_path) is None
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    real = Path.read_text

    def read(path: Path, encoding: str | None = None) -> str:
        if path == counter:
            raise PermissionError(path)
        return real(path, encoding)

    monkeypatch.setattr(Path, "read_text", read)
    assert meter(tmp_path) is None
