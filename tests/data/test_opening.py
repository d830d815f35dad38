from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fit50.data.opening import open_source
from fit50.data.sources.huggingface import HuggingFaceSource
from fit50.data.sources.shards import ShardSource
from fit50.spec.errors import DataError

Folder = Callable[[Mapping[str, int]], Path]


def test_a_folder_is_named_by_its_path_on_this_machine(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder({"cat": 1, "dog": 1})
    monkeypatch.chdir(tmp_path)
    assert open_source("photos", cache=tmp_path).location == str(root)


def test_names_and_addresses_go_to_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[object, ...]] = []
    monkeypatch.setattr(HuggingFaceSource, "open", lambda *given: opened.append(given))
    monkeypatch.setattr(ShardSource, "open", lambda *given: opened.append(given))
    open_source("hf:owner/name", cache=tmp_path)
    open_source("s3://bucket/shards", cache=tmp_path)
    assert opened == [("owner/name",), ("s3://bucket/shards", tmp_path)]


@pytest.mark.parametrize(("data", "what"), [("list.CSV", "a list of images"), ("photos", "a folder of images")])
def test_nothing_is_said_to_be_nothing(data: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{data}: expected {what}, found nothing; check the path"):
        open_source(tmp_path / data, cache=tmp_path)
