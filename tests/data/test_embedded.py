from __future__ import annotations

from pathlib import Path

import pytest

import fit50.data.embedded as embedded
from fit50.data.dataset import open_dataset, peek
from fit50.data.embedded import EMBEDDED, embedded_root
from fit50.data.sources.folder import FolderSource
from fit50.spec.network import Input


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_it_is_a_folder_like_any_other(cache: Path) -> None:
    source = FolderSource.open(embedded_root(cache))
    assert len(source.classes) == 10
    assert sum(item.split == "train" for item in source.items) == 2000
    assert sum(item.split == "test" for item in source.items) == 1000
    assert [path.name for path in cache.iterdir()] == [embedded_root(cache).name]


def test_it_is_unpacked_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = embedded_root(cache)
    monkeypatch.setattr(embedded, "unpack", lambda folder: pytest.fail("unpacked again"))
    assert embedded_root(cache) == root


def test_it_opens(cache: Path) -> None:
    dataset = open_dataset(EMBEDDED, (Input(height=28, width=28),), cache=cache)
    assert {split: len(images) for split, images in dataset.splits.items()} == {"train": 1700, "val": 300, "test": 1000}
    assert dataset.audit.set_aside == ()


def test_it_can_be_peeked_at() -> None:
    found = peek(EMBEDDED)
    assert (len(found.classes), found.sizes, found.count) == (10, (28, 28), 3000)


def test_it_is_small_and_licensed() -> None:
    folder = Path(embedded.__file__).parent / "embedded"
    assert (folder / "fashion-mini.tar.xz").stat().st_size < 2_000_000
    assert "Copyright (c) 2017 Zalando SE" in (folder / "LICENSE-fashion-mnist").read_text()
