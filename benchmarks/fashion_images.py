"""The 70,000 images of Fashion-MNIST (Xiao et al. 2017), from Debian's package, as a data set that train() takes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fit50.data.audit import Audit, Sizes
from fit50.data.dataset import Dataset
from fit50.data.decode import Pixels, fit_image
from fit50.data.images import Images
from fit50.data.splits import straddling
from fit50.spec.errors import DataError
from fit50.spec.files import write_folder
from fit50.spec.network import Input

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from make_fashion_mini import CLASSES, read_idx

SOURCE = Path("/usr/share/datasets/fashion-mnist")
FILES = {"train": "train", "test": "t10k"}
Places = NDArray[np.int64]


def fashion_dataset(input: Input, *, train: Places, val: Places, cache: Path, source: Path = SOURCE) -> Dataset:
    """Fashion-MNIST, resident, fitted to an input by fit50's own rule.

    Args:
        input: what the images of 28x28 pixels are fitted to.
        train: the places in the training file, of 60,000, of the images to learn from.
        val: those of the validation images; the test images are all 10,000 of the test file.
        cache: where the fitted images are kept, for one source.
        source: the folder of the four gzipped IDX files.

    Raises:
        DataError: the files are not there, or an image is in both train and val.
        StorageError: the cache cannot be written.
    """
    if shared := np.intersect1d(train, val).tolist():
        raise DataError(f"train and val: expected different images, found {len(shared)} in both, such as {shared[0]}")
    classes = tuple(sorted(CLASSES))
    sorted_labels = np.array([classes.index(name) for name in CLASSES])
    fitted = {name: _fitted(source, name, input, cache) for name in FILES}
    labels = {name: sorted_labels[_read(source, name, "labels-idx1")] for name in FILES}
    chosen = {"train": ("train", train), "val": ("train", val), "test": ("test", np.arange(len(labels["test"])))}
    splits = {
        split: Images(
            (np.asarray(fitted[name][places]),), labels[name][places], tuple(f"{name}/{n}" for n in places.tolist())
        )
        for split, (name, places) in chosen.items()
    }
    contents = [image.tobytes() for images in splits.values() for image in images.pixels[0]]
    identity = hashlib.sha256(b"".join([*contents, *(images.labels.tobytes() for images in splits.values())]))
    return Dataset(classes, splits, _audit(classes, splits, contents), identity.hexdigest())


def photographs(source: Path, name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """The images of the file ``train`` or ``test``, (N, 28, 28), and the classes' names. Raises DataError."""
    labels = _read(source, name, "labels-idx1")
    return _read(source, name, "images-idx3"), [CLASSES[label] for label in labels]


def photo_folder(folder: Path, splits: Mapping[str, tuple[str, slice]], source: Path = SOURCE) -> Path:
    """Some of the images as PNGs of ``split/class/``, written unless the folder is there already.

    Args:
        folder: to be written.
        splits: by their names, a file (``train`` or ``test``) and the places in it.
        source: the folder of the four gzipped IDX files.
    """

    def fill(target: Path) -> None:
        for split, (name, places) in splits.items():
            images, classes = photographs(source, name)
            for index in np.arange(len(images))[places].tolist():
                file = target / split / classes[index] / f"{index:05}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(images[index]).save(file)

    if not folder.exists():
        write_folder(folder, fill)
    return folder


def _fitted(source: Path, name: str, input: Input, cache: Path) -> Pixels:
    """All images of a file, uint8 (N, H, W, C), mapped from the cache; fitted the first time."""
    channels = "grey" if input.channels == 1 else "rgb"
    folder = cache / f"fashion-{name}-{input.height}x{input.width}-{input.resize}-{input.crop_fraction}-{channels}"
    if not folder.is_dir():
        grey = _read(source, name, "images-idx3")
        pixels = np.stack([fit_image(np.repeat(image[..., None], 3, axis=2), input) for image in grey])
        write_folder(folder, lambda temporary: np.save(temporary / "images.npy", pixels))
    return np.load(folder / "images.npy", mmap_mode="r")


def _read(source: Path, name: str, kind: str) -> NDArray[np.uint8]:
    path = source / f"{FILES[name]}-{kind}-ubyte.gz"
    if not path.is_file():
        raise DataError(
            f"{path}: expected a file of Fashion-MNIST, found none; "
            f"install it with: apt-get install dataset-fashion-mnist"
        )
    return read_idx(path)


def _audit(classes: tuple[str, ...], splits: dict[str, Images], contents: list[bytes]) -> Audit:
    counts = {
        split: dict(zip(classes, np.bincount(images.labels, minlength=len(classes)).tolist(), strict=True))
        for split, images in splits.items()
    }
    side, each = (28, 28), [split for split, images in splits.items() for _ in images.names]
    return Audit(counts, Sizes(side, side, side), set_aside=(), duplicates=len(straddling(each, contents)))
