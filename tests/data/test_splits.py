from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit50.data.splits import Said, assign, record, recorded, straddling, together
from fit50.spec.errors import DataError

CLASSES = ("cat", "dog")
CAT = Said("cat", None, None)


def drawn(
    labels: list[int], contents: list[str], given: Sequence[str | None] | None = None, seed: int = 0
) -> list[str]:
    return assign(labels, given or [None] * len(labels), seed, keys=contents, classes=CLASSES)


def names(n: int) -> list[str]:
    return [f"content {i}" for i in range(n)]


def test_each_class_is_split_alike() -> None:
    labels = [0] * 100 + [1] * 20
    counts = Counter(zip(labels, drawn(labels, names(120)), strict=True))
    assert [counts[0, split] for split in ("train", "val", "test")] == [70, 15, 15]
    assert [counts[1, split] for split in ("train", "val", "test")] == [14, 3, 3]


def test_the_seed_decides_and_order_and_names_do_not() -> None:
    labels, contents = [0] * 20 + [1] * 20, names(40)
    splits = drawn(labels, contents)
    assert drawn(labels, contents) == splits
    assert drawn(labels, contents, seed=1) != splits
    assert drawn(labels[::-1], contents[::-1]) == splits[::-1]


def test_train_and_test_keep_test_and_val_comes_from_train() -> None:
    labels = [0, 1] * 20
    splits = drawn(labels, names(40), ["train"] * 30 + ["test"] * 10)
    assert splits[30:] == ["test"] * 10
    assert Counter(splits[:30]) == {"train": 26, "val": 4}


def test_train_and_val_keep_val_and_test_comes_from_train() -> None:
    splits = drawn([0, 1] * 20, names(40), ["train"] * 30 + ["val"] * 10)
    assert splits[30:] == ["val"] * 10
    assert Counter(splits[:30]) == {"train": 26, "test": 4}


def test_all_three_are_kept() -> None:
    given: list[str | None] = ["train", "train", "val", "val", "test", "test"]
    assert drawn([0, 1] * 3, names(6), given) == given


def test_a_file_that_is_also_in_the_users_test_stays_in_train() -> None:
    labels, contents = [0] * 10 + [1] * 10 + [0, 1], [*names(20), "content 0", "content 10"]
    for seed in range(20):
        splits = drawn(labels, contents, ["train"] * 20 + ["test"] * 2, seed)
        assert splits[0] == splits[10] == "train"
    assert straddling(splits, contents) == [(20, 0), (21, 10)]


def test_three_images_are_enough_and_two_are_not() -> None:
    assert sorted(drawn([0] * 3 + [1] * 3, names(6))[:3]) == ["test", "train", "val"]
    with pytest.raises(
        DataError, match=r"class 'dog': expected at least 3 different images, or groups.* found 2; add images"
    ):
        drawn([0] * 3 + [1] * 2, names(5))
    with pytest.raises(DataError, match="found 1"):
        drawn([0] * 3 + [1] * 3, [*names(3), "same", "same", "same"])


def test_a_users_split_without_a_class_is_refused() -> None:
    with pytest.raises(DataError, match=r"class 'dog': expected at least one image in each of .*, found none in test"):
        drawn([0] * 5 + [1] * 5 + [0], names(11), ["train"] * 10 + ["test"])


def test_fractions_must_leave_something() -> None:
    with pytest.raises(DataError, match="sum to less than 1"):
        assign([0, 1], [None, None], 0, 0.5, 0.5, keys=names(2), classes=CLASSES)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=6, max_size=40), st.lists(st.integers(0, 8), min_size=6, max_size=40))
def test_copies_never_straddle(cats: list[int], dogs: list[int]) -> None:
    labels, contents = [0] * len(cats) + [1] * len(dogs), [str(content) for content in cats + dogs]
    try:
        splits = drawn(labels, contents)
    except DataError:
        return
    assert straddling(splits, contents) == []
    assert len(set(zip(labels, splits, strict=True))) == 6


def test_what_has_anything_in_common_stays_together() -> None:
    contents = ["e", "d", "c", "b", "a", "e"]
    assert together(contents) == contents
    groups = ["p1", None, "p1", "p2", None, None]
    assert together(contents, groups) == ["c", "d", "c", "b", "a", "c"]
    assert together(contents, groups, [0, 1, 2, 3, 3, 4]) == ["c", "d", "c", "a", "a", "c"]
    assert together(contents, [0, 1, 2, 3, 3, 1], groups) == ["c", "c", "c", "a", "a", "c"]


def test_groups_of_several_classes_are_drawn_for_all_of_them() -> None:
    labels = [0, 0, 0, 1] * 40  # 40 patients with three healthy images and an ill one each
    splits = drawn(labels, [f"patient {i // 4}" for i in range(160)])
    assert Counter(splits) == {"train": 112, "val": 24, "test": 24}
    assert Counter(split for label, split in zip(labels, splits, strict=True) if label) == {
        "train": 28, "val": 6, "test": 6
    }  # fmt: skip


def test_a_common_class_leaves_a_rare_one_its_groups() -> None:
    labels = [0] * 300 + [1, 1, 1]
    keys = [f"group {i // 3}" for i in range(300)] + ["group 0", "group 1", "group 2"]
    for seed in range(10):
        assert len(set(zip(labels, drawn(labels, keys, seed=seed), strict=True))) == 6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=6, max_size=60), st.integers(0, 9))
def test_keys_of_any_classes_never_straddle(images: list[tuple[int, int]], seed: int) -> None:
    labels, keys = [label for label, _ in images], [str(key) for _, key in images]
    try:
        splits = drawn(labels, keys, seed=seed)
    except DataError:
        return
    assert straddling(splits, keys) == []


def test_a_record_is_followed(tmp_path: Path) -> None:
    path, splits, contents = tmp_path / "run/splits.json", {"a": "train", "b": "val"}, {"a": "1", "b": "2"}
    said = {"a": Said("cat", None, None), "b": Said("dog", "val", "p1")}
    assert recorded(path, contents, said) is None
    record(path, splits, contents, said)
    assert recorded(path, contents, said) == splits


@pytest.mark.parametrize("field", ["label", "split", "group"])
def test_what_the_user_says_is_part_of_a_record(tmp_path: Path, field: str) -> None:
    path, contents, said = tmp_path / "splits.json", {"a": "1", "b": "2"}, {"a": CAT, "b": CAT}
    record(path, {"a": "train", "b": "val"}, contents, said)
    with pytest.raises(DataError, match=rf"found 1 of another {field} \(b\); restore"):
        recorded(path, contents, {"a": CAT, "b": CAT._replace(**{field: "x"})})


def test_a_record_of_an_earlier_version_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    path.write_text('{"splits": {"a": "train"}, "sha256": {"a": "1"}}')
    assert recorded(path, {"a": "1"}, {"a": CAT}) == {"a": "train"}


def test_changed_files_do_not_fit_a_record(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    record(path, {"a": "train", "b": "val", "c": "test"}, {"a": "1", "b": "2", "c": "3"}, dict.fromkeys("abc", CAT))
    with pytest.raises(DataError, match=r"found 1 changed \(b\); 1 gone \(a\); 2 new \(d, \.\.\.\); restore them, or"):
        recorded(path, {"b": "x", "c": "3", "d": "4", "e": "5"}, dict.fromkeys("bcde", CAT))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"splits": {"a": "dev"}, "sha256": {"a": "1"}}', '{"splits": {}, "sha256": {}, "said": []}'],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(DataError, match="delete"):
        recorded(path, {"a": "1"}, {"a": CAT})
