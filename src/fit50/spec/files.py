"""Files that are whole or absent: written beside their place, forced to disk, renamed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fit50.spec.errors import StorageError


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the errors of a full or read-only disk into a StorageError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"{path}: the disk is full; free some space and run the same command again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
            raise StorageError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
        raise


def write_atomically(path: Path, fill: Callable[[Path], object]) -> None:
    """Lets ``fill`` write a temporary file, then puts it at ``path``: a kill leaves the old file or the new one.

    Raises StorageError where the disk is full or cannot be written; nothing half-written stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
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
    """Like ``write_atomically`` for a folder, which must not exist yet or is replaced as a whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            fill(temporary)
            for file in temporary.rglob("*"):
                _sync(file)
            shutil.rmtree(path, ignore_errors=True)
            os.replace(temporary, path)
            _sync(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
