from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.contracts.dataset import IMAGE, DatasetContract

from fit50.data.dataset import open_dataset, peek
from fit50.data.images import Images
from fit50.data.sources.paired import PairedSource
from fit50.spec.errors import DataError

Folder = Callable[[Mapping[str, int]], Path]
THERMAL = IMAGE.model_copy(update={"name": "thermal", "height": 4, "channels": 1, "mean": (0.5,), "std": (1,)})


def darkened(root: Path) -> Path:
    """A second folder of the same layout: grey, half as bright, of another format."""
    for path in root.rglob("*.png"):
        copy = (root.parent / "thermal" / path.relative_to(root)).with_suffix(".bmp")
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("L").point(lambda value: value // 2).save(copy)
    return root.parent / "thermal"


class TestPaired(DatasetContract):
    inputs = (IMAGE, THERMAL)

    @pytest.fixture
    def data(self, folder: Folder) -> str:
        return str(folder({"cat": 10, "dog": 14}))

    @pytest.fixture
    def pair(self, data: str) -> str:
        return str(darkened(Path(data)))


class TestMappedPairs(TestPaired):
    memory_budget = 100

    @pytest.fixture
    def data(self, folder: Folder) -> str:
        return str(folder({"train/cat": 10, "train/dog": 14, "test/cat": 4, "test/dog": 2}))


class TestStreamedPairs(TestPaired):
    disk_budget = 0


def test_each_image_has_its_partner(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 10, "dog": 14})
    other = darkened(root)
    (other / "cat/002.bmp").unlink()  # from here on, places in the two folders differ
    dataset = open_dataset(root, (IMAGE, IMAGE), cache=tmp_path / "cache", pair=other)
    assert sum(map(len, dataset.splits.values())) == 23
    for images in dataset.splits.values():
        assert isinstance(images, Images)
        for name, first, second in zip(images.names, *images.pixels, strict=True):
            grey = np.array(Image.open(root / name).convert("L"))
            assert first.tobytes() == Image.open(root / name).tobytes()
            assert (second == grey[..., None] // 2).all()


def test_images_without_a_partner_are_named(folder: Folder) -> None:
    root = folder({"cat": 4, "dog": 3})
    other = darkened(root)
    (root / "cat/000.png").unlink()
    (other / "dog/001.bmp").unlink()
    shutil.copy(root / "dog/002.png", root / "dog/002.webp")
    (other / "cat/notes.txt").touch()
    source = PairedSource.open(root, other)
    assert [item.name for item in source.items] == ["cat/001.png", "cat/002.png", "cat/003.png", "dog/000.png"]
    found = {
        name: reason.partition(" images")[0].split("found ")[1].partition(";")[0] for name, reason in source.others
    }
    assert found == {
        "dog/001.png": "1 and 0",
        "dog/002.png": "2 and 1",
        "dog/002.webp": "2 and 1",
        f"{other}/cat/000.bmp": "1 and 0",
        f"{other}/dog/002.bmp": "1 and 2",
        f"{other}/cat/notes.txt": "the extension '.txt'",
    }


def test_folders_that_do_not_belong_together_are_refused(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 2, "dog": 2})
    other = darkened(root)
    for path in list(other.rglob("*.bmp")):
        path.rename(path.with_name(f"t{path.name}"))
    with pytest.raises(DataError, match=r"such as cat/000\.\*, found others, such as cat/t000\.\*; give both folders"):
        PairedSource.open(root, other)
    (other / "dog").rename(other / "owl")
    with pytest.raises(DataError, match=r"expected the classes of .*photos \(cat, dog\), found cat, owl"):
        PairedSource.open(root, other)


@pytest.mark.parametrize("data", ["fashion-mini", "hf:owner/name", "list.csv"])
def test_a_pair_belongs_to_a_folder(data: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"pair: expected it with a folder of images, found it with {data}"):
        open_dataset(data, (IMAGE, IMAGE), cache=tmp_path / "cache", pair=tmp_path)


def test_peek_looks_at_the_first_of_a_pair(folder: Folder) -> None:
    root = folder({"cat": 2, "dog": 2})
    assert peek(root, darkened(root)).sizes == (8, 6)
