"""Files that are whole or absent: written beside their place, forced to disk, renamed."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from fit50.spec.errors import StorageError


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the errors of a full or read-only disk into a StorageError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"{path}: the disk is full; free some space and run the same command again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise StorageError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
        raise


def write_atomically(path: Path, fill: Callable[[Path], object]) -> None:
    """Lets ``fill`` write a temporary file, then puts it at ``path``: a kill leaves the old file or the new one.

    Raises StorageError where the disk is full or cannot be written; nothing half-written stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        try:
            fill(temporary)
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Like ``write_atomically`` for a folder; one that is there is replaced as a whole, one that comes later kept."""
    replaced = path.exists()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        _sweep(path)
        temporary.mkdir(parents=True)
        try:
            fill(temporary)
            for file in temporary.rglob("*"):
                _sync(file)
            _place(temporary, path, replaced)
            _sync(path.parent)
            _sweep(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _place(temporary: Path, path: Path, replaced: bool) -> None:
    """Renames the folder; drops it where another process has put its own there meanwhile."""
    try:
        if replaced:
            os.replace(path, path.with_name(f".{path.name}.0.part"))
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or not path.is_dir():
            raise
        shutil.rmtree(temporary)


def _sweep(path: Path) -> None:
    """Removes what processes that were killed while they wrote this path have left beside it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and (pid == "0" or not psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
