"""Between measured widths, a convolution's time is what a line says."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from tests.compress.zoo import EVERY

from fit50.compress import latency
from fit50.compress.convolutions import convolutions
from fit50.compress.groups import groups
from fit50.compress.latency import latency_price
from fit50.runtimes.layers import Layer
from fit50.spec.errors import StorageError
from fit50.spec.network import Network

Narrow = Callable[..., Network]


def time(layer: Layer) -> float:
    """A fixed cost, one for each channel on either side, and one for each product."""
    dense = layer.groups == 1
    return 2 + layer.inputs / 4 + layer.outputs / 8 + (layer.inputs * layer.outputs / 64 if dense else 0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Layer, Path]]:
    """The layers that were timed, all by ``time``, and where the table is kept."""
    seen: list[tuple[Layer, Path]] = []

    def timed(layers: Collection[Layer], *_: object, kept: Path, monitor: object) -> dict[Layer, float]:
        seen.extend((layer, kept) for layer in layers)
        return {layer: time(layer) for layer in layers}

    monkeypatch.setattr(latency, "layer_times", timed)
    monkeypatch.setenv("FIT50_CACHE", str(tmp_path))
    return seen


@pytest.mark.parametrize("multiple", [4, 16])
def test_any_width_has_its_price(
    multiple: int, asked: list[tuple[Layer, Path]], narrow: Narrow, tmp_path: Path
) -> None:
    network = narrow((2, 1), width=64)
    wired = convolutions(network, groups(network))
    price = latency_price(wired, multiple, "openvino", "float32", 1)
    for each in wired:
        for share in (1, 3, 6, 8):
            inputs = each.layer.inputs * share // 8 if each.inputs else each.layer.inputs
            layer = each.layer._replace(inputs=inputs, outputs=each.layer.outputs * share // 8)
            assert price(layer) == pytest.approx(time(layer)), layer
    assert all(kept.parent == tmp_path / "latency" for _, kept in asked)
    assert {layer.inputs for layer, _ in asked if layer.inputs % multiple} <= {3}, "the image's channels"


def test_groups_count_where_a_convolution_has_them(asked: list[tuple[Layer, Path]]) -> None:
    network = EVERY["groups of several channels on both sides"]
    wired = convolutions(network, groups(network))
    price = latency_price(wired, 4, "onnxruntime", "int8", 1)
    grouped = next(each for each in wired if each.layer.groups > 1)
    for left in range(1, grouped.layer.groups + 1):
        layer = grouped.at({field: left for field, _ in grouped.outputs})
        assert price(layer) == pytest.approx(time(layer))


def test_more_channels_never_count_as_less(
    asked: list[tuple[Layer, Path]], narrow: Narrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "layer_times", lambda layers, *_, **__: {each: 1 / each.outputs for each in layers})
    network = narrow((1,), width=64)
    wired = convolutions(network, groups(network))
    price = latency_price(wired, 4, "openvino", "float32", 1)
    layer = wired[-1].layer
    assert price(layer._replace(outputs=8)) <= price(layer._replace(outputs=32)) <= price(layer)


def test_where_the_times_cannot_be_kept_that_is_said(
    narrow: Narrow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("FIT50_CACHE", str(tmp_path / "file"))
    network = narrow((1,))
    with pytest.raises(StorageError, match=r"file/latency/onnxruntime-float32-1-.*: cannot be written"):
        latency_price(convolutions(network, groups(network)), 16, "onnxruntime", "float32", 1)
