"""Tar shards by folder, pattern or address: finding them, reading them, and holding the latest whole in memory."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from typing import Any, BinaryIO, TypeVar, cast

from fit50.spec.errors import DataError, MissingExtraError

T = TypeVar("T")

# Seconds before a request that failed is made again: storage that is far away fails now and then.
_PAUSES = (0.5, 2.0, 8.0)


@dataclass(frozen=True)
class Storage:
    """Shards below one folder, local or on object storage.

    Attributes:
        root: the folder's path, as its file system has it.
        names: the shards, by their paths below the root, sorted.
        system: the file system, fsspec's.
    """

    root: str
    names: tuple[str, ...]
    system: Any

    @classmethod
    def find(cls, location: str) -> Storage:
        """Lists the shards of a folder and of the folders in it, or those that a pattern such as ``{00..12}`` spells.

        Raises:
            DataError: there are none, or the storage cannot be reached.
            MissingExtraError: fsspec is not installed.
        """
        system, path = _opened(location)
        if path.endswith(".tar"):
            root = path.partition("{")[0].rpartition("/")[0]
            paths = _spelt(path)
        else:
            root = path.rstrip("/")
            found = _asked(location, lambda: system.find(root, maxdepth=2))
            paths = [each for each in found if re.search(r"/[^/.][^/]*\.tar$", each)]
        if not paths:
            raise DataError(
                f"{location}: expected tar shards, found none; check the address, "
                f"or spell them out, as in shards/train-{{0000..0012}}.tar"
            )
        return cls(root, tuple(sorted({each.removeprefix(root).lstrip("/") for each in paths})), system)

    @property
    def local(self) -> bool:
        """Whether the files lie on this machine."""
        return "file" in self.system.protocol

    @property
    def location(self) -> str:
        """The root as a person writes it: a path, or an address."""
        return self.root if self.local else str(self.system.unstrip_protocol(self.root))

    def address(self, name: str) -> str:
        """The path of a file below the root."""
        return f"{self.root}/{name}"

    def stamp(self, name: str) -> int:
        """A number that changes with the file's size, time or tag. Raises DataError."""
        info = _asked(self.address(name), lambda: self.system.info(self.address(name)))
        said = json.dumps(info, sort_keys=True, default=str)
        return int.from_bytes(hashlib.sha256(said.encode()).digest()[:6])

    def holds(self, name: str) -> bool:
        """Whether there is such a file. Raises DataError."""
        return bool(_asked(self.address(name), lambda: self.system.exists(self.address(name))))

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """A file's content, or its bytes from ``start`` to before ``stop``. Raises DataError."""
        address = self.address(name)
        return cast(bytes, _asked(address, lambda: self.system.cat_file(address, start=start, end=stop)))

    def open(self, name: str) -> BinaryIO:
        """A file to skip through: one that is not local is fetched whole, for a request at each skip takes longer."""
        if not self.local:
            return BytesIO(self.read(name))
        return cast(BinaryIO, _asked(self.address(name), lambda: self.system.open(self.address(name), "rb")))


def _opened(location: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise MissingExtraError(f"{location}: reading shards", "fsspec", "shards") from None
    try:
        system, path = url_to_fs(location)
    except (ImportError, ValueError) as error:  # the package for this kind of address is missing, or there is none
        raise DataError(f"{location}: expected an address that fsspec can read, found: {error}") from None
    return system, path


def _asked(name: str, request: Callable[[], T], pauses: Sequence[float] = _PAUSES) -> T:
    """What a request gives; one that fails is made again, unless the answer is that there is no such file."""
    try:
        return request()
    except Exception as error:  # every storage raises errors of its own
        if not pauses or isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            raise DataError(
                f"{name}: expected storage that can be read, found {type(error).__name__}: {error}; "
                f"check the address, the permissions and the connection"
            ) from None
    time.sleep(pauses[0])
    return _asked(name, request, pauses[1:])


def _spelt(pattern: str) -> list[str]:
    """The paths that a pattern with ``{first..last}`` or ``{one,other}`` stands for."""
    parts = re.split(r"\{([^{}]*)\}", pattern)  # text and what braces hold, in turn
    choices = [_choices(part) if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def _choices(braced: str) -> list[str]:
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", braced)
    if not bounds:
        return braced.split(",")
    first, last = bounds.groups()
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]


class Held:
    """The contents that were asked for last, each read once, however many threads ask at the same time."""

    def __init__(self, read: Callable[[str], bytes], most: int) -> None:
        self._read = read
        self._most = most
        self._lock = threading.Lock()
        self._contents: OrderedDict[str, Future[bytes]] = OrderedDict()

    def __call__(self, name: str) -> bytes:
        """A file's content. Raises what reading it raises, and tries again the next time."""
        with self._lock:
            known = self._contents.pop(name, None)
            content = self._contents[name] = known or Future()
            if len(self._contents) > self._most:
                self._contents.popitem(last=False)
        if known is None:
            try:
                content.set_result(self._read(name))
            except BaseException as error:
                with self._lock:
                    self._contents.pop(name, None)
                content.set_exception(error)
        return content.result()
