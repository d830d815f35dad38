"""Files are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fit50.spec.errors import StorageError
from fit50.spec.files import write_atomically, write_folder, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(error: BaseException, path: Path) -> None:
    path.write_text("half")
    raise error


def test_a_new_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file.txt"
    write_text(path, "old")
    write_text(path, "née")
    assert path.read_bytes() == "née".encode()
    assert names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), OSError(errno.EIO, "no")])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_atomically(path, lambda temporary: failing(error, temporary))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_until_the_file_is_written_the_old_one_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    seen = []

    def fill(temporary: Path) -> None:
        temporary.write_text("new")
        seen.append((temporary.parent, path.read_text()))

    write_atomically(path, fill)
    assert seen == [(tmp_path, "old")]
    assert path.read_text() == "new"


def test_what_is_renamed_was_forced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    monkeypatch.setattr(os, "fsync", lambda handle: events.append("sync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (events.append("rename"), replace(old, new)))
    write_text(tmp_path / "file.txt", "new")
    assert events == ["sync", "rename", "sync"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk is full; free some space"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "cannot be written"),
    ],
)
def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path, code: int, message: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(StorageError, match=message) as caught:
        write_atomically(path, lambda temporary: failing(OSError(code, os.strerror(code)), temporary))
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_file_in_the_way_of_a_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="choose another folder"):
        write_text(tmp_path / "file" / "below.txt", "new")


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    write_folder(path, lambda folder: (folder / "old.txt").write_text("old"))
    write_folder(path, lambda folder: (folder / "new.txt").write_text("new"))
    assert names(path) == ["new.txt"]
    assert names(tmp_path) == ["bundle"]


def test_a_failure_keeps_the_old_folder_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    write_folder(path, lambda folder: (folder / "old.txt").write_text("old"))
    with pytest.raises(RuntimeError):
        write_folder(path, lambda folder: failing(RuntimeError(), folder / "new.txt"))
    assert names(path) == ["old.txt"]
    assert names(tmp_path) == ["bundle"]


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".a.txt.{dead.pid}.part").write_text("half")
    (tmp_path / f".a.{dead.pid}.part").mkdir()
    (tmp_path / f".a.{os.getppid()}.part").mkdir()
    write_text(tmp_path / "a.txt", "whole")
    write_folder(tmp_path / "a", lambda folder: (folder / "b").write_text("c"))
    assert names(tmp_path) == [f".a.{os.getppid()}.part", "a", "a.txt"], "only the living process's is left"


def test_a_folder_that_cannot_be_put_in_place_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "a", lambda folder: (folder / "b").write_text("old"))
    real, calls = os.replace, []

    def killed(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "a", lambda folder: (folder / "b").write_text("new"))
    assert (tmp_path / "a" / "b").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("again", [None, RuntimeError("no"), "new"])
def test_a_kill_between_the_two_renames_loses_neither_folder(tmp_path: Path, again: Exception | str | None) -> None:
    path = tmp_path / "a"
    write_folder(path, lambda folder: (folder / "b").write_text("old"))
    kill = """
import os, pathlib, signal, sys
from fit50.spec.files import write_folder
real = os.replace
def killed(source, target):
    real(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = killed
write_folder(pathlib.Path(sys.argv[1]), lambda folder: (folder / "b").write_text("lost"))
"""
    assert subprocess.run([sys.executable, "-c", kill, path], check=False).returncode == -signal.SIGKILL
    assert not path.exists()

    def fill(folder: Path) -> None:
        assert (path / "b").read_text() == "old", "it is back at once"
        if isinstance(again, Exception):
            raise again
        (folder / "b").write_text(again or "old")

    with contextlib.suppress(RuntimeError):
        write_folder(path, fill)
    assert (path / "b").read_text() == ("new" if again == "new" else "old")
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("before", [False, True])
def test_a_folder_that_another_process_puts_there_meanwhile_is_kept(tmp_path: Path, before: bool) -> None:
    path = tmp_path / "bundle"
    if before:
        write_folder(path, lambda folder: (folder / "old.txt").write_text("old"))

    def late(folder: Path) -> None:
        (folder / "mine.txt").write_text("mine")
        if before:
            path.rename(tmp_path / f".bundle.{os.getppid()}.old")
        path.mkdir()
        (path / "theirs.txt").write_text("theirs")

    write_folder(path, late)
    assert names(path) == ["theirs.txt"]
    assert names(tmp_path) == ([f".bundle.{os.getppid()}.old"] if before else []) + ["bundle"]
