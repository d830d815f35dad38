from __future__ import annotations

import json
import os
import sys
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image
from tests.contracts.dataset import IMAGE, DatasetContract

from fit50.data.dataset import open_dataset, peek
from fit50.data.images import Images
from fit50.data.resident import Near, nearest
from fit50.data.sources.shards import WINDOW, ShardSource, is_shards
from fit50.data.sources.storage import Held, Storage
from fit50.data.stream import Stream
from fit50.spec.errors import DataError, MissingExtraError, StorageError

Members = Mapping[str, bytes | str]
SPLITS = {"train": 0, "test": 20}


def tar(members: Members) -> bytes:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
    return file.getvalue()


def pets(n: int, first: int = 0) -> Members:
    """Examples whose image says their number."""
    members: dict[str, bytes | str] = {}
    for i in range(first, first + n):
        members |= {f"{i:04}.jpg": f"image {i}", f"{i:04}.cls": ("cat", "owl")[i % 2]}
    return members


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Mapping[str, Members]], str]:
    """Writes shards into a folder."""

    def make(shards: Mapping[str, Members]) -> str:
        for name, members in shards.items():
            path = tmp_path / "shards" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tar(members))
        return str(tmp_path / "shards")

    return make


Write = Callable[[Mapping[str, Members]], str]


@pytest.fixture
def storage() -> Iterator[fsspec.AbstractFileSystem]:
    """An object storage, here in memory."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def seen(n: int, first: int = 0, names: tuple[str, ...] = ("png",)) -> Members:
    """Examples with real images, all different."""
    members: dict[str, bytes | str] = {}
    for i in range(first, first + n):
        for number, name in enumerate(names):
            file = BytesIO()
            pixels = np.random.default_rng([i, number]).integers(0, 256, (8, 6, 3), np.uint8)
            Image.fromarray(pixels).save(file, "PNG")
            members[f"{i:04}.{name}"] = file.getvalue()
        members[f"{i:04}.json"] = json.dumps({"label": i % 2})
    return members


class TestShards(DatasetContract):
    @pytest.fixture
    def data(self, write: Write) -> str:
        return write({f"{split}-{n}.tar": seen(8, 50 * n + at) for split, at in SPLITS.items() for n in range(3)})


class TestStreamedObjectStorage(DatasetContract):
    disk_budget = 0

    @pytest.fixture
    def data(self, storage: fsspec.AbstractFileSystem) -> str:
        for number in range(WINDOW + 2):
            storage.pipe(f"/bucket/{number}.tar", tar(seen(6, 10 * number)))
        return f"memory://bucket/{{0..{WINDOW + 1}}}.tar"


class TestPairs(DatasetContract):
    inputs = (IMAGE, IMAGE.model_copy(update={"name": "thermal"}))

    @pytest.fixture
    def data(self, write: Write) -> str:
        return write({f"{n}.tar": seen(12, 20 * n, ("rgb.png", "thermal.png")) for n in range(2)})


def test_a_folder_of_shards(write: Write, tmp_path: Path) -> None:
    location = write({"b.tar": pets(2, 10), "a.tar": pets(3)})
    (Path(location) / "._a.tar").touch()
    (Path(location) / "notes.txt").touch()
    source = ShardSource.open(location, tmp_path / "cache")
    assert (source.location, source.inputs, source.classes, source.others) == (location, 1, ("cat", "owl"), ())
    assert [(item.name, item.label, item.split) for item in source.items] == [
        ("a.tar/0000", 0, None),
        ("a.tar/0001", 1, None),
        ("a.tar/0002", 0, None),
        ("b.tar/0010", 0, None),
        ("b.tar/0011", 1, None),
    ]
    assert [source.read(i) for i in range(5)] == [f"image {i}".encode() for i in (0, 1, 2, 10, 11)]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train-0.tar", "val-0.tar", "test-0.tar"),
        ("train/0.tar", "valid/0.tar", "testing/0.tar"),
        ("cats-training-0.tar", "cats-validation-0.tar", "cats-test-0.tar"),
    ],
)
def test_names_and_folders_say_the_split(write: Write, tmp_path: Path, train: str, val: str, test: str) -> None:
    location = write({train: pets(2), val: pets(2), test: pets(2)})
    source = ShardSource.open(location, tmp_path / "cache")
    assert {item.name: item.split for item in source.items if item.name.endswith("/0001")} == {
        f"{train}/0001": "train",
        f"{val}/0001": "val",
        f"{test}/0001": "test",
    }


def test_braces_spell_shards(write: Write, tmp_path: Path) -> None:
    names = [f"{split}-{number:02}.tar" for split in ("train", "val", "test") for number in range(12)]
    location = write({name: pets(2) for name in names})
    source = ShardSource.open(f"{location}/{{train,val}}-{{08..11}}.tar", tmp_path / "cache")
    assert source.shards == tuple(sorted(name for name in names if name[:2] != "te" and name[-6:-4] >= "08"))
    with pytest.raises(DataError, match=r"train-12\.tar: expected storage that can be read, found FileNotFoundError"):
        ShardSource.open(f"{location}/train-{{08..12}}.tar", tmp_path / "cache")


@pytest.mark.parametrize("location", ["memory://bucket/pets", "memory://bucket/pets/train-{0..1}.tar"])
def test_object_storage(storage: fsspec.AbstractFileSystem, tmp_path: Path, location: str) -> None:
    for number in range(2):
        storage.pipe(f"/bucket/pets/train-{number}.tar", tar(pets(3, 10 * number)))
    storage.pipe("/bucket/pets/classes.txt", b"owl\ncat\ndog\n")
    source = ShardSource.open(location, tmp_path / "cache")
    assert source.location == "memory:///bucket/pets"
    assert source.classes == ("cat", "dog", "owl")
    assert [item.name for item in source.items][2:4] == ["train-0.tar/0002", "train-1.tar/0010"]
    assert [source.read(i) for i in (0, 5)] == [b"image 0", b"image 12"]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("memory://bucket/nothing", "expected tar shards, found none"),
        ("gopher://host/a.tar", "expected an address that fsspec can read, found: Protocol not known: gopher"),
        ("memory://bucket/{3..1}.tar", "expected tar shards, found none"),
    ],
)
def test_an_address_without_shards_is_refused(tmp_path: Path, location: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ShardSource.open(location, tmp_path / "cache")


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fit50\[shards\]'"):
        ShardSource.open("s3://bucket/pets", tmp_path / "cache")


def test_labels_of_every_kind(write: Write, tmp_path: Path) -> None:
    location = write(
        {
            "a.tar": {
                "x/1.PNG": "1",
                "x/1.cls": " 10\n",
                "x/2.jpeg": "2",
                "x/2.json": json.dumps({"label": 9}),
                "x/3.webp": "3",
                "x/3.json": json.dumps({"cls": "9", "caption": "..."}),
                "x/4.v2.jpg": "the first dot of the file's name ends the key",
                "x.y/4.jpg": "4",
                "x.y/4.json": json.dumps({"caption": "no label"}),
                "x.y/4.cls": "10",
            }
        }
    )
    source = ShardSource.open(location, tmp_path / "cache")
    named = {item.name: source.classes[item.label] for item in source.items}
    assert named == {"a.tar/x/1": "10", "a.tar/x/2": "9", "a.tar/x/3": "9", "a.tar/x.y/4": "10"}
    assert source.classes == ("10", "9")
    assert [name for name, _ in source.others] == ["a.tar/x/4"]


def test_without_a_list_labels_stay_the_text_that_they_are(write: Write, tmp_path: Path) -> None:
    members = {"a.jpg": "a", "a.cls": "007", "b.jpg": "b", "b.cls": "7", "c.jpg": "c", "c.cls": "7"}
    location = write({"a.tar": members})
    assert ShardSource.open(location, tmp_path / "cache").classes == ("007", "7")
    (Path(location) / "classes.txt").write_text("".join(f"kind {i}\n" for i in range(8)))
    source = ShardSource.open(location, tmp_path / "cache")
    assert {source.classes[item.label] for item in source.items} == {"kind 7"}


@pytest.mark.parametrize(("file", "text"), [("classes.txt", "owl\ncat\n"), ("classes.json", '["owl", "cat"]')])
def test_a_list_of_classes_beside_the_shards(write: Write, tmp_path: Path, file: str, text: str) -> None:
    location = write({"a.tar": {"1.jpg": "1", "1.cls": "0", "2.jpg": "2", "2.cls": "cat"}})
    (Path(location) / file).write_text(text)
    source = ShardSource.open(location, tmp_path / "cache")
    assert source.classes == ("cat", "owl")
    assert [source.classes[item.label] for item in source.items] == ["owl", "cat"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("classes.txt", "owl\ncat\n", r"a\.tar/2: expected a label of the 2 listed classes, found '2'"),
        ("classes.txt", "a\nb\na\n", "found one of them twice"),
        ("classes.txt", "a\n\nb\n", r"expected a list of class names, found \['a', '', 'b'\]"),
        ("classes.json", '{"a": 0}', r"expected a list of class names, found \{'a': 0\}"),
        ("classes.json", "[", "expected a list of class names, found 'Expecting value"),
        ("classes.txt", "only\n", "expected at least two classes, found only 'only'"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(write: Write, tmp_path: Path, file: str, text: str, message: str) -> None:
    location = write({"a.tar": {"2.jpg": "2", "2.cls": "0" if text == "only\n" else "2"}})
    (Path(location) / file).write_text(text)
    with pytest.raises(DataError, match=message):
        ShardSource.open(location, tmp_path / "cache")


def test_named_images_are_inputs_in_the_order_of_their_names(write: Write, tmp_path: Path) -> None:
    members: dict[str, str] = {}
    for i in range(2):
        members |= {f"{i}.thermal.png": f"thermal {i}", f"{i}.rgb.jpg": f"rgb {i}", f"{i}.cls": str(i)}
    members |= {"2.rgb.jpg": "rgb 2", "2.cls": "0"}
    source = ShardSource.open(write({"a.tar": members}), tmp_path / "cache")
    assert source.inputs == 2
    assert [(source.read(i, 0), source.read(i, 1)) for i in range(2)] == [
        (b"rgb 0", b"thermal 0"),
        (b"rgb 1", b"thermal 1"),
    ]
    assert source.others == (("a.tar/2", "expected an image 'thermal', found none; add it or remove the key"),)


def test_where_there_are_unnamed_images_named_ones_are_no_inputs(write: Write, tmp_path: Path) -> None:
    members = {"0.jpg": "0", "0.mask.png": "m", "0.cls": "0", "1.jpg": "1", "1.cls": "1"}
    source = ShardSource.open(write({"a.tar": members}), tmp_path / "cache")
    assert (source.inputs, source.read(0), source.others) == (1, b"0", ())


def test_keys_that_are_no_example_are_told(write: Write, tmp_path: Path) -> None:
    members = {
        **pets(2),
        "a.jpg": "a",
        "b.cls": "cat",
        "c.jpg": "c",
        "c.cls": "",
        "d.jpg": "d",
        "d.json": "{",
        "e.jpg": "e",
        "e.json": '{"label": true}',
        "f.jpg": "f",
        "f.png": "f",
        "f.cls": "cat",
        "._0000.jpg": "clutter",
        "README": "",
    }
    source = ShardSource.open(write({"a.tar": members}), tmp_path / "cache")
    assert len(source.items) == 2
    assert [(name, reason.split(";")[0]) for name, reason in source.others] == [
        ("a.tar/a", "expected a label (.cls, or .json with 'label' or 'cls'), found none"),
        ("a.tar/b", "expected an image, found none"),
        ("a.tar/c", "expected a label in c.cls, found: nothing"),
        ("a.tar/d", "expected a label in d.json, found: Expecting property name enclosed in double quotes: "
                    "line 1 column 2 (char 1)"),
        ("a.tar/e", "expected a label in e.json, found: True, neither an index nor a name"),
        ("a.tar/f", "expected one image f.png, found several"),
        ("a.tar/README", "expected an image, found none"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ({"a.tar": {"x.txt": ""}}, r"found none, such as a\.tar/x: expected an image"),
        ({"a.tar": {".hidden.jpg": ""}}, "found none, not one file"),
        ({"a.tar": {"1.jpg": "", "1.cls": "cat"}}, "expected at least two classes, found only 'cat'"),
        (
            {"train-0.tar": pets(2), "1.tar": pets(2)},
            "expected a split in every shard's name or in none, found '1.tar'",
        ),
        ({"val-0.tar": pets(2)}, r"expected shards named train, found only 'val' \(as in 'val-0\.tar'\)"),
    ],
)
def test_shards_that_are_no_data_set_are_refused(
    write: Write, tmp_path: Path, shards: Mapping[str, Members], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ShardSource.open(write(shards), tmp_path / "cache")


@pytest.mark.parametrize("damage", ["cut in a header", "cut in a file", "no end", "flipped", "empty", "compressed"])
def test_a_damaged_shard_is_refused(write: Write, tmp_path: Path, damage: str) -> None:
    location = write({"a.tar": pets(4)})
    path = Path(location) / "a.tar"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut in a header": whole[: 3 * 512 - 100],
            "cut in a file": whole[: 3 * 512 + 3],
            "no end": whole[: 16 * 512],
            "flipped": whole[: 4 * 512] + b"?" + whole[4 * 512 + 1 :],
            "empty": b"",
            "compressed": b"\x1f\x8b" + whole,
        }[damage]
    )
    with pytest.raises(DataError, match=r"a\.tar: expected a whole, uncompressed tar, found .*; copy it again"):
        ShardSource.open(location, tmp_path / "cache")


def test_what_is_in_a_shard_is_looked_up_once(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    before = Storage.open

    def spy(self: Storage, name: str) -> object:
        looked.append(name)
        return before(self, name)

    monkeypatch.setattr(Storage, "open", spy)
    location = write({"a.tar": pets(2), "b.tar": pets(2)})
    first = ShardSource.open(location, tmp_path / "cache")
    again = ShardSource.open(location, tmp_path / "cache")
    assert sorted(looked) == ["a.tar", "b.tar"]
    assert (again.items, again.stamp(0)) == (first.items, first.stamp(0))
    write({"b.tar": pets(3)})
    changed = ShardSource.open(location, tmp_path / "cache")
    assert looked[2:] == ["b.tar"]
    assert len(changed.items) == 5
    assert changed.stamp(0) == first.stamp(0)
    assert changed.stamp(2) != first.stamp(2)
    next((tmp_path / "cache/shards").iterdir()).write_text("[")
    assert ShardSource.open(location, tmp_path / "cache").items == changed.items


def test_a_cache_that_cannot_be_written_is_named(write: Write, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        ShardSource.open(write({"a.tar": pets(2)}), tmp_path / "cache")


def test_a_shard_that_changes_while_it_is_read_is_told(write: Write, tmp_path: Path) -> None:
    location = write({"a.tar": pets(9), "b.tar": pets(9)})
    source = ShardSource.open(location, tmp_path / "cache")
    write({"a.tar": pets(1)})
    (Path(location) / "b.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.tar/0000: expected 7 bytes, found 0; the shard has changed"):
        source.read(9)
    (Path(location) / "a.tar").unlink()
    with pytest.raises(DataError, match=r"a\.tar: expected storage that can be read, found FileNotFoundError"):
        source.read(0)
    write({"a.tar": pets(9)})
    assert source.read(0) == b"image 0"


@pytest.fixture
def many(write: Write, tmp_path: Path) -> ShardSource:
    return ShardSource.open(write({f"{i:02}.tar": pets(40, 40 * i) for i in range(12)}), tmp_path / "cache")


def test_the_order_is_a_permutation_by_the_generator(many: ShardSource) -> None:
    indices = np.arange(7, 400, 3)
    orders = [many.order(indices, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert sorted(orders[0]) == indices.tolist()
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


def loads(shards: np.ndarray, most: int) -> int:
    """How often a shard is read in this order where the latest ``most`` are held."""
    held: OrderedDict[int, None] = OrderedDict()
    count = 0
    for shard in shards.tolist():
        count += shard not in held
        held[shard] = None
        held.move_to_end(shard)
        if len(held) > most:
            held.popitem(last=False)
    return count


@pytest.mark.parametrize("seed", range(5))
def test_the_order_mixes_a_window_of_shards_and_reads_each_about_once(many: ShardSource, seed: int) -> None:
    shards = many.places[many.order(np.arange(480), torch.Generator().manual_seed(seed))]
    windows = [len(set(shards[start : start + 40])) for start in range(441)]
    assert min(windows) >= WINDOW - 1
    assert max(windows) <= 2 * WINDOW
    assert loads(shards, WINDOW + 1) <= 12 + WINDOW
    assert loads(np.random.default_rng(seed).permutation(shards), WINDOW + 1) > 200


def test_few_shards_are_mixed_throughout(write: Write, tmp_path: Path) -> None:
    source = ShardSource.open(write({f"{i}.tar": pets(200, 200 * i) for i in range(2)}), tmp_path / "cache")
    shards = source.places[source.order(np.arange(400), torch.Generator().manual_seed(0))]
    assert all(30 < shards[start : start + 100].sum() < 70 for start in range(0, 400, 100))


def test_in_order_each_shard_is_read_once(many: ShardSource, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loads(many.places, WINDOW + 1) == 12


@dataclass
class Requests:
    """Of an object storage: how many were for whole files, and how many for parts."""

    whole: int = 0
    parts: int = 0

    def take(self) -> tuple[int, int]:
        """What was counted since the last time."""
        counted, (self.whole, self.parts) = (self.whole, self.parts), (0, 0)
        return counted


@pytest.fixture
def requests(storage: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch) -> Requests:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    counted, lock, before = Requests(), threading.Lock(), type(storage).cat_file

    def spy(self: object, path: str, start: int | None = None, end: int | None = None) -> bytes:
        with lock:
            counted.whole += start is None
            counted.parts += start is not None
        return bytes(before(self, path, start, end))

    monkeypatch.setattr(type(storage), "cat_file", spy)
    return counted


def test_whole_shards_are_fetched_for_passes_alone(
    storage: fsspec.AbstractFileSystem, requests: Requests, tmp_path: Path
) -> None:
    for number in range(20):
        storage.pipe(f"/bucket/{number:02}.tar", tar(seen(50, 50 * number)))
    location, cache = "memory://bucket/{00..19}.tar", tmp_path / "cache"
    assert peek(location, cache=cache).count == 1000
    assert requests.take() == (20, 200), "to list them"
    peek(location, cache=cache)
    assert requests.take() == (0, 200)
    open_dataset(location, (IMAGE,), cache=cache, disk_budget=0)
    assert requests.take() == (20, 0)
    split = Stream(ShardSource.open(location, cache), np.arange(1000), (IMAGE,))
    for n, fetched in ((50, (0, 50)), (100, (0, 100)), (200, (20, 0))):
        split.take(n, 0)
        assert requests.take() == fetched
    order = split.order(torch.Generator().manual_seed(0))
    for size in (8, 100):
        list(split.read(np.array_split(order, 1000 // size)))
        whole, parts = requests.take()
        assert whole <= 30
        assert parts == 0
    list(split.read(np.array_split(np.random.default_rng(0).permutation(1000), 125)))
    assert requests.take() == (0, 1000)
    list(split.batches(64))
    split.take(1000, 0)
    whole, parts = requests.take()
    assert whole <= 40
    assert parts == 0
    for number in range(20):
        storage.pipe(f"/bucket/{number:02}.tar", tar(seen(50, 50 * number)))
    open_dataset(location, (IMAGE,), cache=cache, disk_budget=0)
    assert requests.take() == (40, 0), "listed and compared by digest"


def test_an_image_read_alone_is_the_one_of_its_whole_shard(many: ShardSource) -> None:
    near = many.passing(np.arange(32))
    assert near.whole
    assert not many.passing(np.arange(0, 480, 15)).whole
    assert [many.read(index) for index in (0, 41, 479)] == [near.read(index) for index in (0, 41, 479)]


def test_a_server_that_sends_more_than_was_asked_for_is_told(many: ShardSource) -> None:
    source = replace(many, part=lambda name, start, stop: many.held(name))
    with pytest.raises(DataError, match=r"00\.tar/0000: expected 7 bytes, found [\d,]+; .* sends no parts"):
        source.read(0)


def test_the_order_is_the_same_resident_and_streamed(write: Write, tmp_path: Path) -> None:
    location = write({f"{i}.tar": seen(12, 12 * i) for i in range(8)})
    resident, streamed = (
        open_dataset(location, (IMAGE,), cache=tmp_path / f"cache {budget}", disk_budget=budget).split("train")
        for budget in (None, 0)
    )
    assert (type(resident), type(streamed)) == (Images, Stream)
    order = resident.order(torch.Generator().manual_seed(3))
    assert np.array_equal(order, streamed.order(torch.Generator().manual_seed(3)))
    near = nearest(resident, torch.device("cpu"), free=10**12)
    assert isinstance(near, Near)
    assert np.array_equal(near.order(torch.Generator().manual_seed(3)), order)


@pytest.mark.parametrize(("fails", "asked"), [([OSError("slow"), TimeoutError()], 3), ([OSError("gone")] * 9, 4)])
def test_a_failed_request_is_made_again_a_few_times(
    write: Write, monkeypatch: pytest.MonkeyPatch, fails: list[OSError], asked: int
) -> None:
    monkeypatch.setattr("fit50.data.sources.storage.time.sleep", lambda seconds: None)
    found = Storage.find(write({"a.tar": pets(1)}))
    calls: list[str] = []
    before = found.system.cat_file

    def cat_file(path: str, **options: int | None) -> bytes:
        calls.append(path)
        if len(calls) <= len(fails):
            raise fails[len(calls) - 1]
        return bytes(before(path, **options))

    monkeypatch.setattr(found.system, "cat_file", cat_file)
    if asked <= len(fails):
        with pytest.raises(DataError, match="found OSError: gone; check"):
            found.read("a.tar")
    else:
        assert len(found.read("a.tar", 0, 512)) == 512
    assert len(calls) == asked


def test_threads_share_what_is_held() -> None:
    reads: list[str] = []
    begun = threading.Barrier(4)

    def read(name: str) -> bytes:
        reads.append(name)
        return name.encode()

    held = Held(read, 2)

    def ask(name: str) -> bytes:
        begun.wait()
        return held(name)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, "abab")) == [b"a", b"b", b"a", b"b"]
    assert sorted(reads) == ["a", "b"]
    held("a")
    held("c")
    assert sorted(reads) == ["a", "b", "c"]
    held("a")
    held("b")
    assert sorted(reads) == ["a", "b", "b", "c"]


def test_a_read_that_failed_is_tried_again() -> None:
    answers: Iterator[OSError | bytes] = iter([OSError("gone"), b"back"])

    def read(name: str) -> bytes:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    held = Held(read, 2)
    with pytest.raises(OSError, match="gone"):
        held("a")
    assert held("a") == b"back"


def test_what_is_shards(write: Write, tmp_path: Path) -> None:
    assert is_shards(write({"a.tar": pets(1)}))
    (tmp_path / "splits/train").mkdir(parents=True)
    assert not is_shards(str(tmp_path / "splits"))
    (tmp_path / "splits/train/a.tar").touch()
    assert is_shards(str(tmp_path / "splits"))
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/backup.tar").touch()
    assert is_shards(str(tmp_path / "photos")), "a stray folder does not hide the shards"
    (tmp_path / "photos/cat/1.JPG").touch()
    assert not is_shards(str(tmp_path / "photos")), "a folder of images has one of its classes"
    assert is_shards("s3://bucket/photos")
    assert is_shards("shards/{0..9}.tar")
    assert not is_shards(str(tmp_path / "nothing"))
