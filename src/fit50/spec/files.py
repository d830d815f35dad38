"""Files that are whole or absent: written beside their place, forced to disk, renamed."""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    """Like ``write_atomically`` for a folder; one that is there is replaced as a whole, one that comes later kept.

    A folder cannot be renamed onto another: the old one is put aside first. A kill just then leaves none at ``path``,
    but the old one beside it, which the next call puts back before it does anything else.
    """
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("part", "old"))
    with storage_errors(path):
        _sweep(path)
        before = _identity(path)
        try:
            temporary.mkdir(parents=True)
            fill(temporary)
            for file in temporary.rglob("*"):
                _sync(file)
            if before is not None and _identity(path) == before:
                with suppress(FileNotFoundError):  # another process has just put it aside
                    os.replace(path, old)
            _place(temporary, path)
            _sync(path.parent)
        finally:
            _sweep(path)


def _identity(path: Path) -> int | None:
    """What tells the file or folder that is at a path from another that comes there later; None where none is."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _place(temporary: Path, path: Path) -> None:
    """Renames the folder, unless another process has put its own there meanwhile."""
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not path.is_dir():
            raise


def _sweep(path: Path) -> None:
    """Mends what this process, or one that was killed, has left beside a path.

    An old folder goes back to its place where none has come there; everything else goes.
    """
    left_by = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.(old|part)")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        found = left_by.fullmatch(left.name)
        if found is None or (psutil.pid_exists(int(found[1])) and int(found[1]) != os.getpid()):
            continue
        if found[2] == "old" and not path.exists():
            with suppress(OSError):  # another process may do the same
                os.replace(left, path)
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
