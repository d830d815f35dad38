"""The other loops train, and a turn is as many steps as were asked for."""

from __future__ import annotations

from multiprocessing import Pipe
from pathlib import Path

import pytest
import throughput
from PIL import Image
from rivals import Job, Settings
from sample_photos import write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photographs to train on, of 32 pixels."""
    root = tmp_path_factory.mktemp("photos")
    return write_photos(root / "photos", (32, 32), {"train": 20, "val": 10, "test": 10})


def size(path: Path) -> tuple[int, int]:
    """Width and height."""
    with Image.open(path) as image:
        return image.size


def test_photos_have_the_size_asked_for(photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("train/*/*.jpg"))
    sizes = [size(path) for path in files]
    assert len(files) == 20
    assert len({path.parent.name for path in files}) == 10
    assert {min(size) for size in sizes} == {32}
    assert len(set(sizes)) > 3
    again = write_photos(tmp_path, (32, 32), {"train": 1})
    assert next(again.rglob("*.jpg")).read_bytes() == files[0].read_bytes()


def test_a_turn_is_as_many_steps_as_asked_for() -> None:
    near, far = Pipe()
    near.send(3)
    near.send(2)
    near.send(0)
    turns = throughput.Turns(far)
    for _ in range(5):  # the first step, which nobody asks for, three, and one
        turns()
    with pytest.raises(SystemExit):
        turns()
    assert all(near.recv() >= 0 for _ in range(3))
    assert not near.poll()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # timm leaves files open
@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("name", throughput.LOOPS)
def test_every_loop_steps(photos: Path, name: str, tensors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(throughput.SIZES, 32, throughput.Size((32, 32), 32, 4, 2))
    steps = 0

    def tick() -> None:
        nonlocal steps
        steps += 1
        if steps == 6:  # one more than an epoch has
            raise SystemExit

    with pytest.raises(SystemExit):
        throughput.LOOPS[name](Job(photos, 32, 4, bf16=False), Settings(tensors=tensors), tick)
    assert steps == 6
