from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image
from tests.contracts.dataset import IMAGE, DatasetContract

from fit50.data.dataset import open_dataset
from fit50.data.sources.manifest import ManifestSource
from fit50.spec.errors import DataError, MissingExtraError

Folder = Callable[[Mapping[str, int]], Path]
Rows = list[list[str]]


def write_csv(file: Path, columns: Sequence[str], rows: Rows) -> Path:
    with file.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text).writerows([columns, *rows])
    return file


def write_parquet(file: Path, columns: Sequence[str], rows: Rows) -> Path:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = zip(*([value or None for value in row] for row in rows), strict=True)
    parquet.write_table(arrow.table(dict(zip(columns, map(list, texts), strict=True))), file)
    return file


def listed(root: Path) -> Rows:
    """Relative path and class of every image."""
    return [[path.relative_to(root).as_posix(), path.parent.name] for path in sorted(root.rglob("*.png"))]


class TestCsv(DatasetContract):
    @pytest.fixture
    def data(self, folder: Folder) -> str:
        root = folder({"cat": 10, "dog, big": 14})
        return str(write_csv(root / "list.csv", ("path", "label"), listed(root)))


class TestParquetWithSplits(DatasetContract):
    @pytest.fixture
    def data(self, folder: Folder) -> str:
        root = folder({"cat": 10, "dog": 14})
        rows = [[*row, "Testing" if index % 4 == 0 else "", "x"] for index, row in enumerate(listed(root))]
        return str(write_parquet(root / "list.parquet", ("path", "label", "split", "remark"), rows))


class TestPairsWithGroups(DatasetContract):
    inputs = (
        IMAGE,
        IMAGE.model_copy(update={"name": "thermal", "height": 5, "channels": 1, "mean": (0.5,), "std": (1,)}),
    )

    @pytest.fixture
    def data(self, folder: Folder) -> str:
        root = folder({"cat": 12, "dog": 14, "thermal": 26})
        pairs = zip(listed(root)[:26], listed(root)[26:], strict=True)
        rows = [[path, label, other, f"day {i % 8}"] for i, ((path, label), (other, _)) in enumerate(pairs)]
        return str(write_csv(root / "list.csv", ("path", "label", "path2", "group"), rows))


def small(tmp_path: Path, rows: Rows, columns: Sequence[str] = ("path", "label")) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (6, 8)).save(tmp_path / name)
    return write_csv(tmp_path / "list.csv", columns, rows)


def test_what_a_line_says(tmp_path: Path) -> None:
    rows = [
        ["b.png", "owl", "valid", "p1"],
        [str(tmp_path / "a.png"), "cat", "", ""],
        ["c.png", "cat", "train", " p2 "],
    ]
    source = ManifestSource.open(small(tmp_path, rows, ("path", "label", "split", "group")))
    assert source.classes == ("cat", "owl")
    assert [(item.name, item.label, item.split, item.group) for item in source.items] == [
        (str(tmp_path / "a.png"), 0, None, None),
        ("b.png", 1, "val", "p1"),
        ("c.png", 0, "train", "p2"),
    ]


def test_a_missing_file_is_named_with_its_line(tmp_path: Path) -> None:
    source = ManifestSource.open(small(tmp_path, [["a.png", "cat"], ["lost.png", "dog"], ["c.png", "dog"]]))
    assert [item.name for item in source.items] == ["a.png", "c.png"]
    ((name, reason),) = source.others
    assert name == "lost.png"
    assert reason.startswith("line 3: expected a file, found none at ")


def test_columns_in_capitals_are_known_and_others_are_told(tmp_path: Path) -> None:
    rows = [["b.png", "owl", "val", "p1", "9"], ["a.png", "cat", "", "", "8"]]
    source = ManifestSource.open(small(tmp_path, rows, ("Path", "LABEL", " Split", "Group", "age")))
    assert [(item.name, item.split, item.group) for item in source.items] == [
        ("a.png", None, None),
        ("b.png", "val", "p1"),
    ]
    assert [name for name, _ in source.others] == ["column 'age'"]


def test_nothing_in_parquet_is_empty(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    small(tmp_path, [])
    table = {"path": ["a.png", "b.png"], "label": ["x", "y"], "Group": [float("nan"), 2.0], "Split": [None, None]}
    parquet.write_table(arrow.table(table), tmp_path / "list.parquet")
    assert [item.group for item in ManifestSource.open(tmp_path / "list.parquet").items] == [None, "2.0"]
    parquet.write_table(arrow.table({**table, "label": [1.0, float("nan")]}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match="row 2: expected a path and a label, found an empty one"):
        ManifestSource.open(tmp_path / "list.parquet")


def test_parquet_counts_rows_and_takes_numbers_as_labels(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    small(tmp_path, [])
    table = arrow.table({"label": [3, 10, 3], "path": ["a.png", "b.png", "lost.png"]})
    parquet.write_table(table, tmp_path / "list.parquet")
    source = ManifestSource.open(tmp_path / "list.parquet")
    assert source.classes == ("10", "3")
    assert [(item.name, item.label) for item in source.items] == [("a.png", 1), ("b.png", 0)]
    assert source.others[0][1].startswith("row 3: ")


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        (
            ("file", "label"),
            [],
            r"list\.csv: expected the columns path and label.* found no column 'path' among 'file', 'l",
        ),
        (("path", "labels"), [], r"found no column 'label' among 'path', 'labels'; did you mean 'labels'\?"),
        (("path", "label", "groups"), [], r"found 'groups'; did you mean 'group'\? rename the column"),
        (("path", "label", "Path_2"), [], r"found 'Path_2'; did you mean 'path2'\?"),
        (("path", "label", "split", "Split"), [], "expected one column 'split', found 2; remove the others"),
        (("path;label;split",), [], "expected commas between the columns, found ';'; save it with commas"),
        (("path", "label"), [["a.png", "cat"], ["b.png"]], "line 3: expected 2 values, one for each column, found 1"),
        (("path", "label"), [["a.png", "cat"], ["", "cat"]], "line 3: expected a path and a label, found an empty one"),
        (("path", "label"), [["a.png", ""]], "line 2: expected a path and a label"),
        (("path", "label", "split"), [["a.png", "cat", "tset"]], r"line 2: .*found 'tset'; did you mean 'test'\?"),
        (("path", "label"), [["a.png", "cat"], ["a.png", "dog"]], r"line 3: a\.png is on line 2 already; remove one"),
        (("path", "label"), [["a.png", "cat"], ["b.png", "cat"]], "expected at least two classes, found 'cat'"),
        (("path", "label"), [], "expected at least two classes, found no lines"),
        (("path", "label"), [["x.png", "cat"], ["y.png", "dog"]], "expected images, found none of 2 files; relative"),
        (("path", "label", "path2"), [["a.png", "cat", ""]], "line 2: expected a path and a label"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, columns: Sequence[str], rows: Rows, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ManifestSource.open(small(tmp_path, rows, columns))


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_what_is_no_list_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="expected a list of images, found nothing; check the path"):
        ManifestSource.open(tmp_path / name)
    (tmp_path / name).write_bytes(b"\xff\xfe\x00PAR1")
    with pytest.raises(DataError, match=rf"{name}: expected (comma-separated values|a Parquet file).*, found: "):
        ManifestSource.open(tmp_path / name)


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fit50\[manifest\]'"):
        ManifestSource.open(tmp_path / "list.parquet")


def test_groups_never_straddle_and_one_image_may_be_in_several_pairs(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 6, "dog": 6, "thermal": 1})
    rows = [[path, label, "thermal/000.png", f"day {i % 6}"] for i, (path, label) in enumerate(listed(root)[:12])]
    data = write_csv(root / "list.csv", ("path", "label", "path2", "group"), rows)
    dataset = open_dataset(data, (IMAGE, IMAGE), cache=tmp_path / "cache")
    groups = {f"{path} + thermal/000.png": group for path, _, _, group in rows}
    found = {split: {groups[name] for name in images.names} for split, images in dataset.splits.items()}
    assert sum(map(len, found.values())) == 6
    assert dataset.audit.leaks == 0


def test_groups_that_a_users_splits_part_are_counted(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 8, "dog": 8})
    rows = [[*row, "test" if i % 4 == 0 else "train", f"day {i}"] for i, row in enumerate(listed(root))]
    rows[0][3] = rows[4][3] = "day 1"
    data = write_csv(root / "list.csv", ("path", "label", "split", "group"), rows)
    assert open_dataset(data, (IMAGE,), cache=tmp_path / "cache").audit.leaks == 2


def test_a_changed_second_image_is_seen(folder: Folder, tmp_path: Path) -> None:
    root = folder({"cat": 4, "dog": 4, "thermal": 8})
    rows = [[path, label, f"thermal/{i:03}.png"] for i, (path, label) in enumerate(listed(root)[:8])]
    data = write_csv(root / "list.csv", ("path", "label", "path2"), rows)
    before = open_dataset(data, (IMAGE, IMAGE), cache=tmp_path / "cache")
    os.utime(root / "thermal/003.png", (1, 1))
    assert open_dataset(data, (IMAGE, IMAGE), cache=tmp_path / "cache").identity == before.identity
    (root / "thermal/003.png").write_bytes(b"no image")
    after = open_dataset(data, (IMAGE, IMAGE.model_copy(update={"name": "thermal"})), cache=tmp_path / "cache")
    assert after.identity != before.identity
    ((name, reason),) = after.audit.set_aside
    assert name == "cat/003.png + thermal/003.png"
    assert reason.startswith("thermal: expected an image, found 8 bytes")


def test_a_network_of_other_inputs_is_refused(tmp_path: Path) -> None:
    one = small(tmp_path, [["a.png", "cat"], ["b.png", "dog"]])
    with pytest.raises(
        DataError, match=r"expected an image for each input .*\(image and b\), found 1 .*; give a second folder"
    ):
        open_dataset(one, (IMAGE, IMAGE.model_copy(update={"name": "b"})), cache=tmp_path / "cache")
    two = small(tmp_path, [["a.png", "cat", "b.png"], ["b.png", "dog", "c.png"]], ("path", "label", "path2"))
    with pytest.raises(DataError, match=r"found 2 in each example; take a network of two inputs"):
        open_dataset(two, (IMAGE,), cache=tmp_path / "cache")
