"""Small pictures of single examples, for a page that needs no other file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from io import BytesIO

from PIL import Image

from fit50.data.decode import decode_image
from fit50.data.sources.base import Source


def thumbnails(source: Source, names: Iterable[str], side: int = 96) -> dict[str, str]:
    """Data URIs of PNG images of at most ``side`` x ``side`` pixels, by the examples' names; of two inputs the first's.

    Raises DataError where an image can no longer be read.
    """
    asked = set(names)
    return {item.name: _uri(source, index, side) for index, item in enumerate(source.items) if item.name in asked}


def _uri(source: Source, index: int, side: int) -> str:
    picture = Image.fromarray(decode_image(source.read(index), source.items[index].name))
    picture.thumbnail((side, side))
    file = BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
