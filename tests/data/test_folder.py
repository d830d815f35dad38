from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fit50.data.sources.folder import FolderSource
from fit50.spec.errors import DataError

Folder = Callable[[Mapping[str, int]], Path]


def listing(root: Path) -> list[tuple[str, int, str | None]]:
    source = FolderSource.open(root)
    return [(item.name, item.label, item.split) for item in source.items]


def test_class_folders(folder: Folder) -> None:
    root = folder({"dog": 1, "cat/deep/deeper": 1, "cat": 2})
    assert FolderSource.open(root).classes == ("cat", "dog")
    assert listing(root) == [
        ("cat/000.png", 0, None),
        ("cat/001.png", 0, None),
        ("cat/deep/deeper/000.png", 0, None),
        ("dog/000.png", 1, None),
    ]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_by_any_of_their_names(folder: Folder, val: str) -> None:
    root = folder({f"{split}/{name}": 1 for split in ("Train", val, "testing") for name in ("cat", "dog")})
    assert [split for _, _, split in listing(root)] == ["train", "train", "val", "val", "test", "test"]


def test_clutter_is_left_out_and_other_files_are_named(folder: Folder) -> None:
    root = folder({"cat": 1, "dog": 1, ".hidden": 1, "__MACOSX/cat": 1, "cat/.cache": 1})
    for name in ("cat/.DS_Store", "cat/Thumbs.db", "cat/notes.txt", "cat/phone.heic", "cat/UPPER.JPG", "readme.md"):
        (root / name).touch()
    assert [path for path, _, _ in listing(root)] == ["cat/000.png", "cat/UPPER.JPG", "dog/000.png"]
    assert FolderSource.open(root).others == (
        ("cat/notes.txt", "expected an image file, found the extension '.txt'; convert, rename or remove the file"),
        ("cat/phone.heic", "expected an image file, found the extension '.heic'; convert, rename or remove the file"),
    )


def test_links_are_followed_and_circles_are_not(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 1, "dog": 1})
    (tmp_path / "elsewhere").mkdir()
    (root / "cat/000.png").rename(tmp_path / "elsewhere/original")
    (root / "cat/link.png").symlink_to(tmp_path / "elsewhere/original")
    (root / "cat/up").symlink_to(root / "cat")
    (root / "cat/dangling.png").symlink_to(tmp_path / "nothing")
    assert [path for path, _, _ in listing(root)] == ["cat/dangling.png", "cat/link.png", "dog/000.png"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"": 0}, "found no images and no class folders; check the path"),
        ({"cat": 3}, "expected at least two class folders, found only 'cat'; add another class"),
        ({"photos/train/cat": 1}, r"did you mean .*photos, which holds 'train'\?|found 'train' below a folder"),
        ({"export/cat": 1, "export/dog": 1}, r"did you mean .*export, which holds 'cat', 'dog'\?"),
        ({"cat": 1, "dog": 0}, "dog: expected images of the class 'dog', found none; add some or remove it"),
        ({"": 2, "cat": 1, "dog": 1}, "found 2 images directly in it, such as 000.png; put each into the folder"),
        ({"train": 1, "train/cat": 1, "train/dog": 1}, "train: .*found 1 images directly in it"),
        ({"": 1, "train/cat": 1, "train/dog": 1}, "photos: .*found 1 images directly in it"),
        ({"train/cat": 1, "train/dog": 1, "test/cow": 1}, "test: expected the classes of train .*found also 'cow'"),
        ({"train/cat": 1, "train/dog": 1, "birds/owl": 1}, "folders of both kinds: 'birds', 'train'"),
        ({"val/cat": 1, "val/dog": 1, "valid/cat": 1, "train/cat": 1}, "one folder for each split"),
        ({"val/cat": 1, "test/cat": 1}, "expected a folder 'train', found only 'test', 'val'"),
        ({"cat/train": 1, "cat/test": 1, "dog/train": 1}, "found 'test', 'train' below a folder that should be"),
    ],
)
def test_a_folder_of_neither_layout_is_refused(folder: Folder, counts: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FolderSource.open(folder(counts))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="nothing: expected a folder of images, found nothing; check the path"):
        FolderSource.open(tmp_path / "nothing")
    with pytest.raises(DataError, match="found a file"):
        FolderSource.open(tmp_path / "file")


def test_a_class_of_other_files_says_what_they_are(folder: Folder) -> None:
    root = folder({"cat": 1, "dog": 0})
    (root / "dog/a.heic").touch()
    with pytest.raises(DataError, match=r"found 1 files of other kinds, such as a\.heic"):
        FolderSource.open(root)
