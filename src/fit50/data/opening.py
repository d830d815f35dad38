"""Which source a person means by the name of some data."""

from __future__ import annotations

from pathlib import Path

from fit50.data.embedded import EMBEDDED, embedded_root
from fit50.data.sources.base import Source
from fit50.data.sources.folder import FolderSource
from fit50.spec.errors import DataError

_HUB = "hf:"


def open_source(data: str | Path, *, cache: Path, pair: str | Path | None = None) -> Source:
    """Opens what ``data`` names.

    Args:
        data: the name ``fashion-mini``; a folder of images; a manifest (``.csv`` or ``.parquet``); ``hf:`` and the name
            of a data set of the Hugging Face hub; or a folder or address of ``.tar`` shards.
        cache: where what must be unpacked or listed is kept.
        pair: a second folder, whose images belong to those of the first for a network of two inputs.

    Raises:
        DataError: there is no such source, or its files cannot be used.
        MissingExtraError: the package that reads it is not installed.
    """
    text = str(data)
    if pair is not None:
        from fit50.data.sources.paired import PairedSource

        if text.startswith(_HUB) or not Path(data).is_dir():
            raise DataError(f"pair: expected it with a folder of images, found it with {text}; leave it out")
        return PairedSource.open(Path(data), Path(pair))
    if data == EMBEDDED:
        return FolderSource.open(embedded_root(cache))
    if text.startswith(_HUB):
        from fit50.data.sources.huggingface import HuggingFaceSource

        return HuggingFaceSource.open(text.removeprefix(_HUB))
    if text.lower().endswith((".csv", ".parquet")):
        from fit50.data.sources.manifest import ManifestSource

        return ManifestSource.open(Path(data))
    from fit50.data.sources.shards import ShardSource, is_shards

    return ShardSource.open(text, cache) if is_shards(text) else FolderSource.open(Path(data))
