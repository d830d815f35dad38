"""Int8 for OpenVINO, by nncf, with accuracy control where plain int8 loses too much."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np

from fit50.runtimes.base import Calibration, Images
from fit50.runtimes.openvino import OpenVinoSession
from fit50.runtimes.signals import same_signal_stack
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.machine import physical_cores

_LAYERS = ("Convolution", "GroupConvolution", "MatMul")


def quantized(
    core: Any, model: Any, calibration: Calibration, names: Mapping[str, str], saturates: bool
) -> tuple[Any, str]:
    """The model in int8, and which of its layers compute so; where that loses too much, some are left in float.

    Args:
        core: OpenVINO's.
        model: in float.
        calibration: what the ranges are taken from, and what the loss is judged by.
        names: of the model's layers, by their names in its file.
        saturates: whether 8-bit products do (no VNNI or the like): weights then use 7 bits.

    Raises:
        RuntimeRefusal: it loses more than is allowed, with accuracy control too.
    """
    with _quiet(), same_signal_stack():
        import nncf

        return _within(core, model, calibration, names, saturates, nncf)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps nncf's progress bars, and what torch warns of when nncf imports it, off the terminal."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _within(
    core: Any, model: Any, calibration: Calibration, names: Mapping[str, str], saturates: bool, nncf: Any
) -> tuple[Any, str]:
    nncf.set_log_level(logging.ERROR)
    threads = physical_cores()
    images = nncf.Dataset(_one_by_one(calibration.images))
    advanced = nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE if saturates else nncf.OverflowFix.DISABLE
    )
    subset = len(calibration.images[0])
    preset = nncf.QuantizationPreset.MIXED
    floating = calibration.accuracy(OpenVinoSession(core, model, threads).run)
    made = nncf.quantize(model, images, preset=preset, subset_size=subset, advanced_parameters=advanced)
    by_rule = _in_float(made)
    found = plain = calibration.accuracy(OpenVinoSession(core, made, threads).run)
    if floating - plain > calibration.max_drop:
        made = nncf.quantize_with_accuracy_control(
            model,
            images,
            nncf.Dataset(list(zip(_one_by_one(calibration.validation), calibration.labels, strict=True))),
            _validate,
            max_drop=calibration.max_drop / 100,
            preset=preset,
            subset_size=subset,
            advanced_quantization_parameters=advanced,
        )
        found = calibration.accuracy(OpenVinoSession(core, made, threads).run)
    if floating - found > calibration.max_drop:
        raise RuntimeRefusal(
            f"openvino: int8 loses {floating - found:.1f} points on validation ({floating:.1f} to {found:.1f} %)"
            f", more than the {calibration.max_drop} allowed, with accuracy control too"
        )
    left = _in_float(made)
    text = f"{len(_layers(made)) - len(left)} of {len(_layers(made))} layers"
    if by_rule:
        text += f"; faster in float: {_listed(by_rule, names)}"
    if reverted := [name for name in left if name not in by_rule]:
        text += (
            f"; accuracy control left in float, as they cost the most accuracy: {_listed(reverted, names)} "
            f"({floating - plain:.1f} points lost without it, {floating - found:.1f} with it)"
        )
    return made, text


def _layers(model: Any) -> list[Any]:
    """Convolutions and matrix products."""
    return [node for node in model.get_ops() if node.get_type_name() in _LAYERS]


def _in_float(model: Any) -> list[str]:
    """Which layers' weights are stored in float."""
    return [node.get_friendly_name() for node in _layers(model) if not _has_8_bits(node.input_value(1).get_node())]


def _has_8_bits(weight: Any) -> bool:
    """Whether a weight is computed from a constant of 8 bits, by way of scales, shifts and reshapings."""
    while weight.get_type_name() != "Constant" and weight.get_input_size():
        weight = weight.input_value(0).get_node()
    return weight.get_output_element_type(0).get_type_name() in ("i8", "u8")


def _listed(layers: list[str], names: Mapping[str, str]) -> str:
    return ", ".join(names.get(layer.removesuffix("/WithoutBiases"), layer) for layer in layers)


def _one_by_one(images: tuple[Images, ...]) -> list[tuple[Images, ...]]:
    """Images (N, H, W, C) for each input as batches of one, (1, H, W, C) for each input."""
    return list(zip(*(each[:, None] for each in images), strict=True))


def _validate(model: Any, samples: Any) -> tuple[float, list[float]]:
    """Accuracy of a compiled model, and each sample's, as nncf asks for them."""
    hits = [float(model(images)[0].argmax() == label) for images, label in samples]
    return float(np.mean(hits)), hits
