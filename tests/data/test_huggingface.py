from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from tests.contracts.dataset import IMAGE, DatasetContract

from fit50.data.dataset import open_dataset
from fit50.data.sources.huggingface import HuggingFaceSource
from fit50.spec.errors import DataError, MissingExtraError

SEEN = Features({"image": Image(), "label": ClassLabel(names=["owl", "cat"])})


@pytest.fixture(autouse=True)
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, no progress bars, and a cache of the test's own."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def png(seed: int) -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def table(n: int, first: int = 0, features: Features = SEEN, **columns: list[Any]) -> Dataset:
    images = [{"bytes": png(first + i), "path": None} for i in range(n)]
    return Dataset.from_dict({"image": images, "label": [i % 2 for i in range(n)]} | columns, features=features)


def saved(path: Path, data: Dataset | DatasetDict | Mapping[str, Dataset]) -> str:
    (data if isinstance(data, Dataset) else DatasetDict(data)).save_to_disk(path)
    return str(path)


class TestSaved(DatasetContract):
    @pytest.fixture
    def data(self, tmp_path: Path) -> str:
        return "hf:" + saved(tmp_path / "pets", {"train": table(24), "test": table(6, 100)})


class TestStreamedPairs(DatasetContract):
    inputs = (IMAGE, IMAGE.model_copy(update={"name": "thermal"}))
    disk_budget = 0

    @pytest.fixture
    def data(self, tmp_path: Path) -> str:
        thermal = [{"bytes": png(100 + i), "path": None} for i in range(24)]
        return "hf:" + saved(
            tmp_path / "pets", table(24, features=Features({**SEEN, "thermal": Image()}), thermal=thermal)
        )


def test_a_saved_data_set_keeps_its_splits(tmp_path: Path) -> None:
    name = saved(tmp_path / "pets", {"test": table(2, 20), "validation": table(2, 10), "train": table(4)})
    source = HuggingFaceSource.open(name)
    assert source.location == f"hf:{name}"
    assert source.classes == ("cat", "owl")
    assert [(item.name, item.split, source.classes[item.label]) for item in source.items] == [
        ("train/0", "train", "owl"),
        ("train/1", "train", "cat"),
        ("train/2", "train", "owl"),
        ("train/3", "train", "cat"),
        ("validation/0", "val", "owl"),
        ("validation/1", "val", "cat"),
        ("test/0", "test", "owl"),
        ("test/1", "test", "cat"),
    ]
    assert [source.read(i) for i in range(8)] == [png(i) for i in (0, 1, 2, 3, 10, 11, 20, 21)]
    assert source.others == ()


def test_a_single_table_is_for_training(tmp_path: Path) -> None:
    source = HuggingFaceSource.open(saved(tmp_path / "pets", table(3)))
    assert {item.split for item in source.items} == {"train"}


def test_a_parquet_file(tmp_path: Path) -> None:
    table(4).to_parquet(tmp_path / "pets.parquet")
    source = HuggingFaceSource.open(str(tmp_path / "pets.parquet"))
    assert source.classes == ("cat", "owl")
    assert source.read(3) == png(3)


def test_a_folder_of_images_is_read_from_its_files(tmp_path: Path) -> None:
    for number, place in enumerate(("train/cat", "train/owl", "test/cat", "test/owl")):
        (tmp_path / "pets" / place).mkdir(parents=True)
        (tmp_path / "pets" / place / "a.png").write_bytes(png(number))
    source = HuggingFaceSource.open(str(tmp_path / "pets"))
    assert [source.read(i) for i in range(4)] == [png(i) for i in range(4)]
    (tmp_path / "pets/test/owl/a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png: expected a readable file"):
        source.read(3)


def test_two_columns_are_two_inputs(tmp_path: Path) -> None:
    thermal = [{"bytes": png(100 + i), "path": None} for i in range(3)]
    data = table(3, features=Features({**SEEN, "thermal": Image()}), thermal=thermal)
    source = HuggingFaceSource.open(saved(tmp_path / "pairs", data.select_columns(["thermal", "label", "image"])))
    assert source.inputs == 2
    assert (source.read(1, 0), source.read(1, 1)) == (png(101), png(1))


@pytest.mark.parametrize(("kind", "labels"), [("string", ["b", "a", None]), ("int64", [10, 9, None])])
def test_plain_labels_are_their_own_names(tmp_path: Path, kind: str, labels: list[Any]) -> None:
    features = Features({"image": Image(), "label": Value(kind)})
    source = HuggingFaceSource.open(saved(tmp_path / "pets", table(3, features=features, label=labels)))
    assert source.classes == tuple(sorted(map(str, labels[:2])))
    assert [source.classes[item.label] for item in source.items] == list(map(str, labels[:2]))
    assert source.others == (("train/2", "expected a label, found none"),)


def test_rows_without_a_label_or_an_image_are_told(tmp_path: Path) -> None:
    images = [{"bytes": png(0), "path": None}, None, {"bytes": png(2), "path": None}]
    source = HuggingFaceSource.open(saved(tmp_path / "pets", table(3, image=images, label=[1, 0, -1])))
    assert source.others == (("train/2", "expected a label, found none"),)
    assert source.read(0) == png(0)
    with pytest.raises(DataError, match="train/1: expected an image, found none; remove the row"):
        source.read(1)


def test_a_row_without_an_image_is_set_aside(tmp_path: Path) -> None:
    images = [None, *({"bytes": png(i), "path": None} for i in range(1, 9))]
    location = f"hf:{saved(tmp_path / 'pets', table(9, image=images, label=[0, 1, 1, 0, 0, 1, 1, 0, 0]))}"
    audit = open_dataset(location, (IMAGE,), cache=tmp_path / "cache").audit
    assert audit.set_aside == (("train/0", "expected an image, found none; remove the row"),)


def test_the_format_a_table_was_saved_with_does_not_matter(tmp_path: Path) -> None:
    source = HuggingFaceSource.open(saved(tmp_path / "pets", table(3).with_format("numpy")))
    assert source.read(2) == png(2)


def test_of_several_class_labels_the_one_called_label_is_taken(tmp_path: Path) -> None:
    fine = {"fine": ClassLabel(names=["x", "y"])}
    data = table(2, features=Features({**SEEN, **fine}), fine=[0, 1])
    assert HuggingFaceSource.open(saved(tmp_path / "one", data)).classes == ("cat", "owl")
    with pytest.raises(DataError, match="one called 'label', found 'coarse', 'fine'; call it 'label'"):
        HuggingFaceSource.open(saved(tmp_path / "two", data.rename_column("label", "coarse")))


def test_the_stamp_is_of_the_content(tmp_path: Path) -> None:
    first = HuggingFaceSource.open(saved(tmp_path / "a", table(3)))
    again = HuggingFaceSource.open(str(tmp_path / "a"))
    other = HuggingFaceSource.open(saved(tmp_path / "b", table(3, 5)))
    assert first.stamp(0) == first.stamp(2) == again.stamp(0) != other.stamp(0)


def test_threads_read_the_same(tmp_path: Path) -> None:
    source = HuggingFaceSource.open(saved(tmp_path / "pets", table(50)))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, [*range(50)] * 4)) == [png(i) for i in range(50)] * 4


def test_the_order_is_a_permutation_by_the_generator(tmp_path: Path) -> None:
    source = HuggingFaceSource.open(saved(tmp_path / "pets", table(50)))
    indices = np.arange(10, 50)
    orders = [source.order(indices, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert sorted(orders[0]) == indices.tolist() != orders[0].tolist()
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: table(2).remove_columns("image"), "found none in 'label'; cast one to datasets.Image"),
        (lambda: table(2).remove_columns("label"), "found none in 'image'; call it 'label' with rename_column"),
        (lambda: table(2).rename_column("label", "kind").cast_column("kind", Value("string")), "found none in"),
        (lambda: table(2, features=Features({**SEEN, "label": ClassLabel(names=["a"])}), label=[0, 0]), "found 'a'"),
        (lambda: {"train": table(2), "extra": table(2)}, "found 'train', 'extra'; rename or leave out some"),
        (lambda: {"test": table(2)}, "expected the splits train, .* found 'test'"),
        (lambda: {"train": table(2), "val": table(2), "validation": table(2)}, "found 'train', 'val', 'validation'"),
    ],
)
def test_what_is_no_data_set_of_labelled_images_is_refused(
    tmp_path: Path, data: Callable[[], Dataset | dict[str, Dataset]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        HuggingFaceSource.open(saved(tmp_path / "pets", data()))


def test_splits_with_other_classes_are_refused(tmp_path: Path) -> None:
    other = table(2, features=Features({**SEEN, "label": ClassLabel(names=["cat", "owl"])}))
    with pytest.raises(DataError, match="expected the same columns and classes in every split, found others in 'test'"):
        HuggingFaceSource.open(saved(tmp_path / "pets", {"train": table(2), "test": other}))


@pytest.mark.parametrize("name", ["nobody/nothing", "nobody/nothing@small"])
def test_a_data_set_of_the_hub_without_connection(name: str) -> None:
    with pytest.raises(DataError, match=f"hf:{name}: expected a data set, found .*check the path.* save_to_disk"):
        HuggingFaceSource.open(name)


def test_a_configuration_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def load(path: str, config: str | None) -> Dataset:
        asked.append((path, config))
        return table(2)

    monkeypatch.setattr(datasets, "load_dataset", load)
    HuggingFaceSource.open("owner/name@small")
    HuggingFaceSource.open("owner/name")
    assert asked == [("owner/name", "small"), ("owner/name", None)]


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datasets")
    monkeypatch.setattr(sys, "meta_path", [Hidden(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"pip install 'fit50\[datasets\]'"):
        HuggingFaceSource.open(str(tmp_path))


class Hidden:
    """An import system that does not find ``datasets``."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "datasets":
            raise ModuleNotFoundError(name=name)
