"""Which images files answer correctly, where they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace

import numpy as np
import pytest

from fit50.data.dataset import Dataset
from fit50.data.split import Split
from fit50.pipeline import answers as module
from fit50.pipeline.answers import files_answers
from fit50.runtimes.base import Bundle, Images, Probabilities
from fit50.runtimes.place import BATCH, Place
from fit50.spec.network import Network


class Fake(Place):
    """Where one file always answers 0, the other 1."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def answers(
        self, bundles: Mapping[str, Bundle], chunks: Iterable[tuple[Images, ...]], threads: int
    ) -> Iterator[dict[str, Probabilities]]:
        for (images,) in chunks:
            self.sizes.append(len(images))
            yield {name: np.eye(4, dtype=np.float32)[[index] * len(images)] for index, name in enumerate(bundles)}


@pytest.mark.parametrize(("bytes_", "sizes"), [(1, [BATCH, 60 - BATCH]), (1 << 20, [60])])
def test_a_split_is_sent_in_chunks_that_fit(
    digits: Dataset, narrow: Callable[..., Network], monkeypatch: pytest.MonkeyPatch, bytes_: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(module, "_CHUNK", bytes_)
    place, split = Fake(), digits.split("val")
    bundle = SimpleNamespace(manifest=SimpleNamespace(network=narrow()))
    found = files_answers(place, {"zero": bundle, "one": bundle}, split, threads=1)  # type: ignore[dict-item]
    assert place.sizes == sizes
    assert np.array_equal(found["zero"], split.labels == 0)
    assert np.array_equal(found["one"], split.labels == 1)


def test_each_file_gets_the_images_at_its_size(
    digits: Dataset, narrow: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def answers(place: Place, bundles: Mapping[str, Bundle], images: Split, threads: int) -> dict[str, object]:
        shapes.append((len(bundles), *next(images.batches(2)).images[0].shape))
        return {name: (name, images.names) for name in bundles}

    monkeypatch.setattr(module, "files_answers", answers)
    bundles = {
        name: SimpleNamespace(manifest=SimpleNamespace(network=network))
        for name, network in (("one", narrow()), ("two", narrow().sized(8)), ("three", narrow(width=32)))
    }
    found = module.split_answers(Place(), bundles, digits, "test", threads=1)  # type: ignore[arg-type]
    assert shapes == [(2, 2, 16, 16, 3), (1, 2, 8, 8, 3)]
    assert found == {name: (name, digits.split("test").names) for name in bundles}
