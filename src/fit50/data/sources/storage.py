"""Tar shards by folder, pattern or address: finding them, reading them whole, and holding the latest in memory."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from typing import Any, BinaryIO, cast

from fit50.spec.errors import DataError, MissingExtraError


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
            with _reading(location):
                paths = [each for each in system.find(root, maxdepth=2) if re.search(r"/[^/.][^/]*\.tar$", each)]
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
        with _reading(self.address(name)):
            said = json.dumps(self.system.info(self.address(name)), sort_keys=True, default=str)
        return int.from_bytes(hashlib.sha256(said.encode()).digest()[:6])

    def holds(self, name: str) -> bool:
        """Whether there is such a file. Raises DataError."""
        with _reading(self.address(name)):
            return bool(self.system.exists(self.address(name)))

    def read(self, name: str) -> bytes:
        """A file's content. Raises DataError."""
        with _reading(self.address(name)):
            return cast(bytes, self.system.cat_file(self.address(name)))

    def open(self, name: str) -> BinaryIO:
        """A file to skip through: one that is not local is fetched whole, for a request at each skip takes longer."""
        if not self.local:
            return BytesIO(self.read(name))
        with _reading(self.address(name)):
            return cast(BinaryIO, self.system.open(self.address(name), "rb"))


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


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every storage raises errors of its own
        raise DataError(
            f"{name}: expected storage that can be read, found {type(error).__name__}: {error}; "
            f"check the address, the permissions and the connection"
        ) from None


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
