"""Makes the embedded data set: python scripts/make_fashion_mini.py [--source FOLDER] [--target FILE].

The archive's bytes depend on the source, the seed and the versions of Pillow and liblzma alone.
"""

from __future__ import annotations

import argparse
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
TARGET = Path(__file__).parents[1] / "src/fit50/data/embedded/fashion-mini.tar.xz"
SEED = 50


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in a gzipped IDX file of bytes: (N, 28, 28) images or (N,) labels."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def files(source: Path, prefix: str, split: str, for_each_class: int) -> Iterator[tuple[str, bytes]]:
    """(name, PNG) of the chosen images; a file's number is the image's in the source."""
    images = read_idx(source / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(source / f"{prefix}-labels-idx1-ubyte.gz")
    random = np.random.default_rng(SEED)
    for label, name in enumerate(CLASSES):
        chosen = random.choice(np.flatnonzero(labels == label), for_each_class, replace=False)
        for index in sorted(chosen):
            yield f"fashion-mini/{split}/{name}/{index:05}.png", png(images[index])


def png(image: NDArray[np.uint8]) -> bytes:
    """An uncompressed PNG: xz, which sees all of them, does better on plain pixels than on deflated ones."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=0)
    return file.getvalue()


def main() -> None:
    """Writes the archive and prints its size."""
    parser = argparse.ArgumentParser(description="Makes fashion-mini.tar.xz from Fashion-MNIST.")
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--target", type=Path, default=TARGET)
    args = parser.parse_args()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for prefix, split, for_each_class in (("train", "train", 200), ("t10k", "test", 100)):
            for name, data in files(args.source, prefix, split, for_each_class):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    args.target.write_bytes(lzma.compress(archive.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{args.target}: {args.target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
