"""The data set inside the package, for a first run without data: 3,000 images of Fashion-MNIST."""

from __future__ import annotations

import hashlib
import os
import tarfile
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from fit50.spec.files import storage_errors

EMBEDDED = "fashion-mini"


def embedded_root(cache: Path) -> Path:
    """The folder ``{train,test}/<class>/*.png`` of ``fashion-mini``, unpacked below ``cache`` the first time.

    2,000 training images, 1,000 test images, 10 classes, 28 x 28 pixels, grey (Xiao et al. 2017; MIT licence).
    Raises StorageError.
    """
    folder = cache / f"{EMBEDDED}-{hashlib.sha256(_archive()).hexdigest()[:12]}"
    if not folder.is_dir():
        with storage_errors(cache):
            cache.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=cache, prefix=f".{EMBEDDED}.") as temporary:
                unpacked = unpack(Path(temporary))
                os.sync()  # once, where a sync of each of 3,000 files would take seconds
                _publish(unpacked, folder)
    return folder


def _publish(unpacked: Path, folder: Path) -> None:
    try:
        os.replace(unpacked, folder)
    except OSError:
        if not folder.is_dir():  # else another process was first, with the same files
            raise


def unpack(folder: Path) -> Path:
    """Unpacks ``fashion-mini`` into an existing folder; the root of what was unpacked."""
    with tarfile.open(fileobj=BytesIO(_archive()), mode="r:xz") as tar:
        tar.extractall(folder, filter="data")
    return folder / EMBEDDED


def _archive() -> bytes:
    return files("fit50.data").joinpath("embedded", f"{EMBEDDED}.tar.xz").read_bytes()
