from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contracts.dataset import DatasetContract

from fit50.data.audit import Audit, Sizes
from fit50.data.dataset import Dataset, open_dataset, peek
from fit50.data.facts import inspect
from fit50.data.images import Images
from fit50.data.sources.base import Source
from fit50.data.stream import Stream
from fit50.spec.errors import DataError, NotBuiltError, StorageError
from fit50.spec.network import Input

Folder = Callable[[Mapping[str, int]], Path]
INPUTS = (Input(height=8, width=6, resize="stretch"),)


class TestFolder(DatasetContract):
    @pytest.fixture
    def data(self, folder: Folder) -> str:
        return str(folder({"cat": 10, "dog": 14, "owl": 5}))


class TestMappedFolder(DatasetContract):
    memory_budget = 100

    @pytest.fixture
    def data(self, folder: Folder) -> str:
        return str(folder({"train/cat": 10, "train/dog": 14, "test/cat": 4, "test/dog": 2}))


class TestStreamedFolder(DatasetContract):
    disk_budget = 0

    @pytest.fixture
    def data(self, folder: Folder) -> str:
        return str(folder({"cat": 10, "dog": 14, "owl": 5}))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded, as it happens."""
    names: list[str] = []

    def spy(source: Source, index: int, inputs: Sequence[Input]) -> object:
        names.append(source.items[index].name)
        return inspect(source, index, inputs)

    monkeypatch.setattr("fit50.data.cache.inspect", spy)
    return names


def pixels_of(dataset: Dataset) -> dict[str, bytes]:
    """The first input's image of every example by name."""
    return {
        name: pixels.numpy().tobytes()
        for images in dataset.splits.values()
        for batch in images.batches(len(images))
        for name, pixels in zip(images.names, batch.images[0], strict=True)
    }


def resident(dataset: Dataset, split: str) -> Images:
    images = dataset.split(split)
    assert isinstance(images, Images)
    return images


def test_every_file_has_its_own_pixels(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 300, "dog": 9})
    for name, pixels in pixels_of(open_dataset(root, INPUTS, cache=tmp_path / "cache")).items():
        assert pixels == Image.open(root / name).tobytes()


def test_a_second_opening_decodes_nothing(folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    root = folder({"cat": 5, "dog": 6})
    told: list[tuple[int, int]] = []
    first = open_dataset(
        root, INPUTS, cache=tmp_path / "cache", progress=lambda done, total: told.append((done, total))
    )
    assert told == [(i, 11) for i in range(1, 12)]
    assert len(decoded) == 11
    second = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    assert len(decoded) == 11
    assert pixels_of(first) == pixels_of(second)
    assert (first.audit, first.identity) == (second.audit, second.identity)


def test_large_arrays_are_mapped_read_only(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 5, "dog": 6})
    small = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    large = open_dataset(root, INPUTS, cache=tmp_path / "cache", memory_budget=11 * 8 * 6 * 3 - 1)
    assert not isinstance(resident(small, "train").pixels[0], np.memmap)
    assert isinstance(resident(large, "train").pixels[0], np.memmap)
    assert not resident(large, "train").pixels[0].flags.writeable
    assert pixels_of(small) == pixels_of(large)


def test_a_changed_file_is_seen(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 5, "dog": 6})
    before = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    Image.new("RGB", (6, 8), "red").save(root / "cat/000.png")
    after = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    assert after.identity != before.identity
    assert pixels_of(after)["cat/000.png"] == b"\xff\x00\x00" * 48


def test_a_touched_file_is_not_decoded_again(folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    root = folder({"cat": 5, "dog": 6})
    before = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    os.utime(root / "cat/000.png", (1, 1))
    assert open_dataset(root, INPUTS, cache=tmp_path / "cache").identity == before.identity
    assert len(decoded) == 11


@pytest.mark.parametrize("disk_budget", [None, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize("record", ["splits.json", None])
def test_other_inputs_get_the_same_splits_in_the_same_order(
    folder: Folder, tmp_path: Path, decoded: list[str], record: str | None, disk_budget: int | None
) -> None:
    root = folder({"cat": 14, "dog": 16})
    small = (Input(height=4, width=4, resize="stretch"),)
    dataset = open_dataset(
        *(root, INPUTS), cache=tmp_path / "cache", record=record and tmp_path / record, seed=3, disk_budget=disk_budget
    )
    fitted = dataset.fitted(small)
    assert len(decoded) == 60
    for name, split in dataset.splits.items():
        other = fitted.split(name)
        assert other.names == split.names
        assert np.array_equal(other.labels, split.labels)
        orders = [each.order(torch.Generator().manual_seed(0)) for each in (split, other)]
        assert np.array_equal(*orders)
        assert next(other.batches(2)).images[0].shape == (2, 4, 4, 3)
    assert fitted.identity == open_dataset(root, small, cache=tmp_path / "cache", seed=3).identity != dataset.identity
    read = len(decoded)
    assert dataset.fitted(small) is fitted
    assert dataset.fitted((INPUTS[0].model_copy(update={"name": "photo", "mean": (0.1, 0.2, 0.3)}),)) is dataset
    assert fitted.fitted(INPUTS).identity == dataset.identity
    assert len(decoded) == read


def test_images_that_fit_one_size_only_are_refused(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 10, "dog": 10})
    Image.new("RGB", (20_000, 1)).save(root / "cat" / "strip.png")
    large = (Input(height=224, width=224),)
    dataset = open_dataset(root, large, cache=tmp_path / "cache", disk_budget=0)
    assert [name for name, _ in dataset.audit.set_aside] == ["cat/strip.png"]
    with pytest.raises(DataError, match=r"expected the same images at every size, found that cat/.* is there at one"):
        dataset.fitted(INPUTS)


def test_images_made_by_hand_have_one_size() -> None:
    pixels, labels = np.zeros((3, 8, 6, 3), np.uint8), np.zeros(3, np.int64)
    sizes = Sizes((8, 6), (8, 6), (8, 6))
    dataset = Dataset(("a",), {"train": Images((pixels,), labels, ("x", "y", "z"))}, Audit({}, sizes, (), 0), "")
    assert dataset.fitted(INPUTS) is dataset
    with pytest.raises(DataError, match=r"made by hand: expected \[\(4, 6, 3\)\] .*, found \[\(8, 6, 3\)\]"):
        dataset.fitted((Input(height=4, width=6),))


@pytest.mark.parametrize("change", ["add", "remove", "rename"])
def test_other_files_are_seen(folder: Folder, tmp_path: Path, change: str) -> None:
    root = folder({"cat": 6, "dog": 6})
    before = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    match change:
        case "add":
            Image.new("RGB", (6, 8), "red").save(root / "cat/new.png")
        case "remove":
            (root / "cat/003.png").unlink()
        case _:
            (root / "cat/000.png").rename(root / "cat/zzz.png")
    after = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    assert after.identity != before.identity
    for name, pixels in pixels_of(after).items():
        assert pixels == Image.open(root / name).tobytes()


def test_the_identity_is_of_contents_and_geometry_not_of_place(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 5, "dog": 6})
    here = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    shutil.copytree(root, tmp_path / "copy")
    assert open_dataset(tmp_path / "copy", INPUTS, cache=tmp_path / "other").identity == here.identity
    other = (INPUTS[0].model_copy(update={"height": 9}),)
    assert open_dataset(root, other, cache=tmp_path / "cache").identity != here.identity
    assert open_dataset(root, INPUTS, cache=tmp_path / "cache", seed=1).identity != here.identity


def test_unusable_files_are_set_aside_with_their_reason(folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    root = folder({"cat": 5, "dog": 6})
    (root / "cat/bad.jpg").write_bytes(b"no image")
    (root / "cat/empty.png").touch()
    (root / "dog/notes.txt").touch()
    dataset = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    assert [(path, re.split(", that|;", reason)[0]) for path, reason in dataset.audit.set_aside] == [
        ("cat/bad.jpg", "expected an image, found 8 bytes, beginning with b'no image'"),
        ("cat/empty.png", "expected an image, found an empty file (0 bytes)"),
        ("dog/notes.txt", "expected an image file, found the extension '.txt'"),
    ]
    assert len(pixels_of(dataset)) == 11
    assert open_dataset(root, INPUTS, cache=tmp_path / "cache").audit == dataset.audit
    assert len(decoded) == 13


def test_a_file_that_is_mended_is_used(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 5, "dog": 6})
    (root / "cat/lost.png").symlink_to(tmp_path / "later.png")
    assert len(open_dataset(root, INPUTS, cache=tmp_path / "cache").audit.set_aside) == 1
    Image.new("RGB", (6, 8), "red").save(tmp_path / "later.png")
    assert open_dataset(root, INPUTS, cache=tmp_path / "cache").audit.set_aside == ()


def test_a_class_without_usable_images_is_refused(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 5, "dog": 0})
    for index in range(5):
        (root / f"dog/{index}.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"class 'dog': expected at least one usable image, found none in 5 files") as e:
        open_dataset(root, INPUTS, cache=tmp_path / "cache")
    assert len(str(e.value).splitlines()) == 4
    assert not list((tmp_path / "cache").iterdir())


def test_a_record_fixes_the_splits(folder: Folder, tmp_path: Path) -> None:
    root, record = folder({"cat": 8, "dog": 8}), tmp_path / "run/splits.json"
    first = open_dataset(root, INPUTS, cache=tmp_path / "cache", record=record)
    assert open_dataset(root, INPUTS, cache=tmp_path / "cache", record=record, seed=9).identity == first.identity
    (root / "cat/000.png").unlink()
    with pytest.raises(DataError, match=r"splits\.json: .*found 1 gone \(cat/000\.png\)"):
        open_dataset(root, INPUTS, cache=tmp_path / "cache", record=record)


def test_copies_in_the_users_splits_are_counted(folder: Folder, tmp_path: Path) -> None:
    root = folder({f"{split}/{name}": 4 for split in ("train", "test") for name in ("cat", "dog")})
    shutil.copy(root / "train/cat/000.png", root / "test/cat/copy.png")
    assert open_dataset(root, INPUTS, cache=tmp_path / "cache").audit.duplicates == 1


def test_copies_are_kept_on_one_side(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 8, "dog": 8})
    for path in list(root.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    dataset = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    assert dataset.audit.duplicates == 0
    for split, images in dataset.splits.items():
        assert len({pixels.tobytes() for pixels in resident(dataset, split).pixels[0]}) * 2 == len(images)


def test_what_the_disk_has_no_room_for_is_a_stream_of_the_same_identity(
    folder: Folder, tmp_path: Path, decoded: list[str]
) -> None:
    root, cache = folder({"cat": 5, "dog": 6}), tmp_path / "cache"
    twice = 2 * 11 * 8 * 6 * 3
    streamed = open_dataset(root, INPUTS, cache=cache, disk_budget=twice - 1)
    assert all(isinstance(images, Stream) for images in streamed.splits.values())
    assert [path.parent.name for path in cache.rglob("*") if path.is_file()] == ["index"]
    open_dataset(root, INPUTS, cache=cache, disk_budget=twice - 1)
    assert len(decoded) == 11
    kept = open_dataset(root, INPUTS, cache=cache, disk_budget=twice)
    assert (kept.identity, kept.audit) == (streamed.identity, streamed.audit)
    assert pixels_of(kept) == pixels_of(streamed)
    assert isinstance(open_dataset(root, INPUTS, cache=cache, disk_budget=0).split("train"), Images)


def test_each_input_has_its_arrays(folder: Folder, tmp_path: Path) -> None:
    root, cache = folder({"cat": 5, "dog": 6}), tmp_path / "cache"
    one = open_dataset(root, INPUTS, cache=cache)
    two = open_dataset(root, INPUTS * 2, cache=cache, pair=root)
    assert sorted(path.name for path in (cache / one.identity).iterdir()) == ["test.npy", "train.npy", "val.npy"]
    assert sorted(path.name for path in (cache / two.identity).iterdir()) == [
        f"{split}.{number}.npy" for split in ("test", "train", "val") for number in (0, 1)
    ]


@pytest.fixture
def by_first_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images look alike if their first pixels are the same."""
    monkeypatch.setattr("fit50.data.facts.signature", lambda pixels: pixels[0, 0].tobytes().hex())
    monkeypatch.setattr("fit50.data.plan.clusters", lambda column: np.unique(column, return_inverse=True)[1])


def alike(path: Path, other: Path) -> None:
    """Another image of the same first pixel."""
    pixels = np.array(Image.open(path))
    pixels[3:] = 255 - pixels[3:]
    Image.fromarray(pixels).save(other)


@pytest.mark.usefixtures("by_first_pixel")
def test_what_looks_alike_is_kept_on_one_side(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 8, "dog": 8})
    for path in list(root.rglob("*.png")):
        alike(path, path.with_name(f"like{path.name}"))
    dataset = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    assert sum(map(len, dataset.splits.values())) == 32
    for images in dataset.splits.values():
        names = {name.replace("like", "") for name in images.names}
        assert 2 * len(names) == len(images)
    assert dataset.audit.near_duplicates == ()


@pytest.mark.usefixtures("by_first_pixel")
def test_what_looks_alike_in_the_users_splits_is_named(folder: Folder, tmp_path: Path) -> None:
    root = folder({f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("cat", "dog")})
    alike(root / "train/cat/000.png", root / "test/cat/like.png")
    shutil.copy(root / "train/cat/001.png", root / "test/cat/copy.png")
    for _ in range(2):
        audit = open_dataset(root, INPUTS, cache=tmp_path / "cache").audit
        assert audit.near_duplicates == (("test/cat/like.png", "train/cat/000.png"),)
        assert audit.duplicates == 1


@pytest.mark.usefixtures("by_first_pixel")
def test_pairs_look_alike_where_either_image_does(folder: Folder, tmp_path: Path) -> None:
    root, other = (
        folder({f"{split}/{name}": 4 for split in ("train", "test") for name in ("cat", "dog")}),
        tmp_path / "t",
    )
    shutil.copytree(root, other)
    for name in ("cat", "dog"):
        alike(root / f"train/{name}/000.png", root / f"test/{name}/like.png")
    alike(other / "train/cat/000.png", other / "test/cat/like.png")
    shutil.copy(other / "test/dog/001.png", other / "test/dog/like.png")
    shutil.copy(root / "test/dog/001.png", root / "test/dog/copied.png")
    shutil.copy(other / "train/dog/001.png", other / "test/dog/copied.png")
    audit = open_dataset(root, INPUTS * 2, cache=tmp_path / "cache", pair=other).audit
    names = [(f"test/{name}/like.png", f"train/{name}/000.png") for name in ("cat", "dog")]
    assert audit.near_duplicates == tuple(names)
    assert audit.duplicates == 1


@pytest.mark.parametrize("of", [0, 1])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.usefixtures("by_first_pixel")
def test_pairs_that_share_an_image_are_kept_on_one_side(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: int, exact: bool
) -> None:
    if exact:
        monkeypatch.setattr("fit50.data.plan.clusters", lambda column: np.arange(len(column)))
    root, other = folder({"cat": 16, "dog": 16}), tmp_path / "t"
    shutil.copytree(root, other)
    for path in other.rglob("*.png"):
        Image.fromarray(255 - np.array(Image.open(path))).save(path)
    for path in sorted((root, other)[of].rglob("*[02468].png")):
        partner = path.with_name(f"{int(path.stem) + 1:03}.png")
        shutil.copy(path, partner) if exact else alike(path, partner)
    dataset = open_dataset(root, INPUTS * 2, cache=tmp_path / "cache", pair=other)
    for images in dataset.splits.values():
        assert 2 * len({(name[:3], int(name[4:7]) // 2) for name in images.names}) == len(images)
    assert (dataset.audit.duplicates, dataset.audit.near_duplicates) == (0, ())


@pytest.mark.usefixtures("by_first_pixel")
def test_a_class_that_looks_alike_is_split_by_copies_and_said(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 8, "dog": 8})
    for index in range(1, 8):
        alike(root / "dog/000.png", root / f"dog/{index:03}.png")
        pixels = np.array(Image.open(root / f"dog/{index:03}.png"))
        pixels[5] = index
        Image.fromarray(pixels).save(root / f"dog/{index:03}.png")
    dataset = open_dataset(root, INPUTS, cache=tmp_path / "cache")
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [12, 2, 2]
    assert len(dataset.audit.near_duplicates) == 2


def test_an_image_that_leaks_twice_is_counted_once(folder: Folder, tmp_path: Path) -> None:
    root = folder({f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("cat", "dog")})
    shutil.copy(root / "train/cat/000.png", root / "test/cat/copy.png")
    lines = [
        f"{path.relative_to(root)},{path.parent.name},{path.parts[-3]},{path.name[:3]}" for path in root.rglob("*.png")
    ]
    (root / "list.csv").write_text("\n".join(["path,label,split,group", *lines]).replace(",cop", ",000"))
    audit = open_dataset(root / "list.csv", INPUTS, cache=tmp_path / "cache").audit
    assert (audit.duplicates, audit.leaks) == (1, 16)


def test_what_cannot_be_read_now_is_not_set_aside(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, record = folder({"cat": 5, "dog": 6}), tmp_path / "splits.json"
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.name == "003.png":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    for _ in range(2):  # with nothing remembered, and with what is remembered of touched files
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", failing)
            with pytest.raises(DataError, match=r"003\.png: .*Input/output error; check the disk or the connection"):
                open_dataset(root, INPUTS, cache=tmp_path / "cache", record=record)
        assert open_dataset(root, INPUTS, cache=tmp_path / "cache", record=record).audit.set_aside == ()
        os.utime(root / "cat/003.png", (1, 1))


def test_a_file_without_permission_is_set_aside(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, read = folder({"cat": 5, "dog": 6}), Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "005.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        for _ in range(2):
            ((name, reason),) = open_dataset(root, INPUTS, cache=tmp_path / "cache").audit.set_aside
            assert (name, "Permission denied; restore or remove it" in reason) == ("dog/005.png", True)
    assert open_dataset(root, INPUTS, cache=tmp_path / "cache").audit.set_aside == ()


def test_a_fault_of_the_same_stamp_is_looked_at_again(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that leads nowhere, and then to a file that a coarse clock cannot tell from it."""
    root = folder({"cat": 5, "dog": 6})
    monkeypatch.setattr("fit50.data.sources.folder.file_stamp", lambda path: (1, 1))
    (root / "cat/lost.png").symlink_to(tmp_path / "later.png")
    assert len(open_dataset(root, INPUTS, cache=tmp_path / "cache").audit.set_aside) == 1
    Image.new("RGB", (6, 8), "red").save(tmp_path / "later.png")
    assert open_dataset(root, INPUTS, cache=tmp_path / "cache").audit.set_aside == ()


def test_a_record_is_of_what_the_user_says(folder: Folder, tmp_path: Path) -> None:
    root, record = folder({"cat": 8, "dog": 8}), tmp_path / "splits.json"
    rows = [f"{path.relative_to(root)},{path.parent.name},{index}" for index, path in enumerate(root.rglob("*.png"))]
    file = root / "list.csv"
    file.write_text("\n".join(["path,label,group", *rows]))
    open_dataset(file, INPUTS, cache=tmp_path / "cache", record=record)
    file.write_text("\n".join(["path,label,group", f"{rows[0]}0", *rows[1:]]))
    with pytest.raises(DataError, match=r"splits\.json: .*found 1 of another group"):
        open_dataset(file, INPUTS, cache=tmp_path / "cache", record=record)


def test_a_record_that_leaves_a_class_without_images_is_refused(folder: Folder, tmp_path: Path) -> None:
    root, record = folder({"cat": 4, "dog": 4}), tmp_path / "splits.json"
    open_dataset(root, INPUTS, cache=tmp_path / "cache", record=record)
    record.write_text(record.read_text().replace('"test"', '"val"'))
    with pytest.raises(DataError, match=r"class 'cat': expected at least one image in each of .*, found none in test"):
        open_dataset(root, INPUTS, cache=tmp_path / "cache", record=record)


def test_a_full_disk_is_named_and_nothing_half_written_stays(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    root, cache = folder({"cat": 5, "dog": 6}), tmp_path / "cache"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cache/\w+: the disk is full"):
        open_dataset(root, INPUTS, cache=cache)
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_made_is_named(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/cache: cannot be written"):
        open_dataset(folder({"cat": 5, "dog": 6}), INPUTS, cache=tmp_path / "file/cache")


@pytest.mark.parametrize("damage", ["arrays", "index"])
def test_a_damaged_cache_is_made_anew(folder: Folder, tmp_path: Path, damage: str) -> None:
    root, cache = folder({"cat": 5, "dog": 6}), tmp_path / "cache"
    before = open_dataset(root, INPUTS, cache=cache)
    for path in cache.rglob("train.npy" if damage == "arrays" else "*.json"):
        path.write_bytes(path.read_bytes()[:-9])
    assert pixels_of(open_dataset(root, INPUTS, cache=cache)) == pixels_of(before)


def test_four_channels_are_not_built(folder: Folder, tmp_path: Path) -> None:
    four = Input(channels=4, mean=(0.5,) * 4, std=(0.5,) * 4)
    with pytest.raises(NotBuiltError):
        open_dataset(folder({"cat": 5, "dog": 6}), (four,), cache=tmp_path / "cache")


def test_peek_gives_the_median_size_of_what_can_be_read(folder: Folder) -> None:
    root = folder({"cat": 150, "dog": 150})
    (root / "dog/000.png").write_bytes(b"no image")
    Image.new("L", (500, 400)).save(root / "dog/001.png")
    found = peek(root)
    assert (found.classes, found.sizes, found.count) == (("cat", "dog"), (8, 6), 300)


def test_peek_at_no_images_is_refused(folder: Folder) -> None:
    root = folder({"cat": 0, "dog": 0})
    (root / "cat/a.png").touch()
    (root / "dog/a.png").touch()
    with pytest.raises(DataError, match="expected images, found 2 files that are none"):
        peek(root)
