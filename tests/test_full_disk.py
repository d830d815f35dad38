"""A full disk is named, leaves nothing half-written, and is no obstacle once there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.photos import tiny_request
from tests.processes import check_everything_is_whole, models, optimizing

KILOBYTES = (64, 300, 600, 900, 1300, 1700, 2200, 2700, 3300)


def mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)):
        pytest.skip("a small disk needs the right to mount a tmpfs (root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_job_on_a_full_disk_goes_on_when_there_is_room(digits_folder: Path, disk: Path, tmp_path: Path) -> None:
    config = tmp_path / "request.yaml"
    config.write_text(tiny_request(digits_folder, epochs=2).yaml(), encoding="utf-8")
    out, reached = disk / "runs", set[str]()
    for size in KILOBYTES:
        assert mount("-o", f"remount,size={size}k", str(disk))
        process = optimizing(config, out)
        printed, said = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == 2, said
        assert printed == ""
        message = said[said.index("error: ") :]
        assert str(disk) in message
        assert "disk is full" in message
        assert "free some space" in message
        assert "Traceback" not in said
        assert [path for path in out.rglob("*") if path.name.endswith(".part") or path.name.startswith(".")] == []
        check_everything_is_whole(out)
        reached |= {path.name for path in out.rglob("*")}
    assert {"cache", "log.jsonl", "model.safetensors", "bundle.json"} <= reached, "the disk was never nearly enough"
    before = models(out)

    assert mount("-o", "remount,size=64m", str(disk))
    process = optimizing(config, out)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert models(out).items() >= before.items()
    check_everything_is_whole(out)
    assert (next(out.glob("*/best")) / "bundle.json").is_file()
