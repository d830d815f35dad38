"""Networks that round as their int8 files will: made for training, and exported, by torchao's PT2E."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, cast

import onnx
import torch
from torch import Tensor, nn

from fit50.nn.resnet import ResNet
from fit50.runtimes.base import optional
from fit50.runtimes.graph import Weights, deployed_graph
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.numerics import Int8
from fit50.weights.checkpoint import Checkpoint


class Rounding(nn.Module):
    """A network that rounds weights and activations to 8 bits as it computes; gradients pass straight through.

    Weights are rounded with their batch norm folded in, each output channel in a range of its own, which is that of the
    weights as they are (Jacob et al. 2018). An activation has one range: a moving average over what was seen in
    training mode. Batch statistics stay as they are, and nothing is dropped, in training mode too.

    Its state dict has the network's keys behind ``graph.``, and there also what ``learned_ranges`` reads.
    """

    def __init__(self, checkpoint: Checkpoint, saturates: bool) -> None:
        """Prepares a copy of a checkpoint's module.

        Args:
            checkpoint: the network and its weights.
            saturates: whether 8-bit products do (no VNNI or the like): activations then use 7 bits.

        Raises:
            RuntimeRefusal: PT2E cannot take the network.
            MissingExtraError: torchao is not installed.
        """
        super().__init__()
        self.network = checkpoint.network
        fusion = self.network.fusion
        self._hides = fusion is not None and fusion.modality_dropout > 0
        with _quiet():
            self.graph = self._prepared(checkpoint.module(), saturates)

    def _prepared(self, module: nn.Module, saturates: bool) -> Any:
        x86 = _torchao(".quantizer.x86_inductor_quantizer")
        config = x86.get_default_x86_inductor_quantization_config(is_qat=True, reduce_range=saturates)
        inputs, batch = self.network.inputs, torch.export.Dim("batch")
        images = tuple(torch.zeros(2, each.channels, each.height, each.width) for each in inputs)
        shapes: dict[str, Any] = {"images": tuple({0: batch} for _ in inputs)}
        present = {}
        if self._hides:
            present, shapes["present"] = {"present": torch.ones(2, 2, dtype=torch.bool)}, {0: batch}
        try:
            program = torch.export.export(module, images, present, dynamic_shapes=shapes, strict=True)
            quantizer = x86.X86InductorQuantizer().set_global(config)
            graph = _torchao(".quantize_pt2e").prepare_qat_pt2e(_folded(_averaged(program.module())), quantizer)
        except Exception as error:  # what dynamo, torch.export and PT2E raise shares no base class
            reason = str(error).strip().partition("\n")[0]
            raise RuntimeRefusal(f"qat: torchao cannot prepare this network ({reason}); use method ptq") from error
        _name_once(graph)
        _leave_maxima(graph)
        for rounding in _roundings(graph).values():
            if rounding.is_per_channel:
                rounding.activation_post_process.averaging_constant = 1.0
        return graph

    def train(self, mode: bool = True) -> Rounding:
        """In training mode, the activations' ranges follow what passes."""
        self.training = mode
        for rounding in _roundings(self.graph).values():
            rounding.enable_observer(mode or rounding.is_per_channel)
        return self

    def forward(self, *images: Tensor, present: Tensor | None = None) -> Tensor:
        """Normalised images to logits (N, classes), as ``ResNet.forward``."""
        if present is None and self._hides:
            present = torch.ones(len(images[0]), 2, dtype=torch.bool, device=images[0].device)
        logits: Tensor = self.graph(*images, present=present) if self._hides else self.graph(*images)
        return logits


def refuse_missing() -> None:
    """Raises MissingExtraError where torchao is not installed."""
    _torchao("")


def trained_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's own tensors, by its own keys, from the state dict of a ``Rounding``; its norms count no batches."""
    own = {key.removeprefix("graph."): tensor for key, tensor in tensors.items()}
    return {key: tensor for key, tensor in own.items() if not key.startswith("activation_post_process")}


def learned_ranges(tensors: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
    """The least and the largest value of every rounded activation, from the state dict of a ``Rounding``."""
    least, largest = (f".activation_post_process.{end}_val" for end in ("min", "max"))
    names = [key.removesuffix(least) for key, tensor in tensors.items() if key.endswith(least) and tensor.ndim == 0]
    return {
        name.removeprefix("graph."): (float(tensors[name + least]), float(tensors[name + largest])) for name in names
    }


def int8_graph(checkpoint: Checkpoint, numerics: Int8, saturates: bool) -> bytes:
    """The deployed graph (uint8 images in, probabilities out, any batch) as a serialised ONNX model, weights in int8.

    The last one is kept, since several runtimes start from it.

    Args:
        checkpoint: with weights that were trained for it.
        numerics: the checkpoint's, with the activations' ranges.
        saturates: as for ``Rounding``.

    Raises:
        RuntimeRefusal: the ranges are those of other activations than this network's.
    """
    learned = numerics.learned
    assert learned is not None
    return _graph(Weights(checkpoint), tuple(learned.ranges.items()), saturates)


@lru_cache(maxsize=1)
def _graph(weights: Weights, ranges: tuple[tuple[str, tuple[float, float]], ...], saturates: bool) -> bytes:
    checkpoint = weights.checkpoint
    module = Rounding(checkpoint, saturates).eval()
    roundings = _roundings(module.graph)
    activations = {name: each for name, each in roundings.items() if not each.is_per_channel}
    if activations.keys() != {name for name, _ in ranges}:
        raise RuntimeRefusal(
            f"qat: expected ranges of {len(activations)} activations, found {len(ranges)}, or of others; they were "
            "learned for another network or by another version of torchao: install that, or quantise again into "
            "another folder"
        )
    for name, (least, largest) in ranges:
        observer = activations[name].activation_post_process
        observer.min_val.fill_(least)
        observer.max_val.fill_(largest)
    with torch.no_grad():  # ranges become scales and zero points; the weights' are found
        module(*(torch.zeros(2, each.channels, each.height, each.width) for each in checkpoint.network.inputs))
    for rounding in roundings.values():  # as in training, where the observers' own formula differs a little
        rounding.calculate_qparams = partial(_scale_and_zero, rounding)
    with _quiet():
        module.graph = _torchao(".quantize_pt2e").convert_pt2e(module.graph)
    return deployed_graph(cast(ResNet, module))  # for it takes and gives the same


def within(graph: bytes, numerics: Int8, found: float, name: str) -> str:
    """Which layers of an int8 graph compute so, and what that costs, in words.

    Args:
        graph: of ``int8_graph``.
        numerics: the checkpoint's, with the float network's accuracy.
        found: percent of the same images that the file answers correctly.
        name: of the runtime.

    Raises:
        RuntimeRefusal: less than is allowed.
    """
    assert numerics.learned is not None
    floating = numerics.learned.accuracy
    if floating - found > numerics.max_drop:
        raise RuntimeRefusal(
            f"{name}: int8 loses {floating - found:.1f} points of validation accuracy ({floating:.1f} to {found:.1f} "
            f"%), more than the {numerics.max_drop} allowed, after training through the rounding; train longer (epochs)"
        )
    rounded, every = _layers(graph)
    return f"{rounded} of {every} layers, trained through the rounding ({floating:.1f} to {found:.1f} % on validation)"


def _layers(graph: bytes) -> tuple[int, int]:
    """How many convolutions and matrix products of a graph have weights of 8 bits, and how many there are."""
    nodes = onnx.load_from_string(graph).graph.node
    rounded = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    weights = [node.input[1] for node in nodes if node.op_type in ("Conv", "Gemm", "MatMul")]
    return sum(weight in rounded for weight in weights), len(weights)


def _scale_and_zero(rounding: Any) -> tuple[Tensor, Tensor]:
    return rounding.scale, rounding.zero_point


def _averaged(module: Any) -> Any:
    """An exported module whose global average pooling is a mean, for which the file needs no gathering of elements."""
    graph = module.graph
    for pooling in graph.find_nodes(op="call_function", target=torch.ops.aten.adaptive_avg_pool2d.default):
        with graph.inserting_before(pooling):
            mean = graph.call_function(torch.ops.aten.mean.dim, (pooling.args[0], (2, 3), True))
        mean.meta = pooling.meta
        pooling.replace_all_uses_with(mean)
        graph.erase_node(pooling)
    return module


def _folded(module: Any) -> Any:
    """An exported module whose convolutions do what their batch norms did, as a function of the parameters of both.

    PT2E would fold them too, but slowly, and wrongly where a convolution that two inputs share has a norm for each.
    """
    graph = module.graph
    for norm in [node for node in graph.nodes if node.target is torch.ops.aten.batch_norm.default]:
        convolution, gain, shift, mean, var, _, _, eps, _ = norm.args
        x, weight, _, *settings = (*convolution.args, None)[: max(3, len(convolution.args))]
        with graph.inserting_before(convolution):
            scaled = graph.call_function(_weight, (weight, gain, var, eps))
            offset = graph.call_function(_bias, (shift, gain, mean, var, eps))
        scaled.meta["val"], offset.meta["val"] = weight.meta["val"], shift.meta["val"]
        convolution.args = (x, scaled, offset, *settings)
        norm.replace_all_uses_with(convolution)
        graph.erase_node(norm)
    module.recompile()
    return module


def _weight(weight: Tensor, gain: Tensor, var: Tensor, eps: float) -> Tensor:
    """A convolution's weight (O, I, K, K), its batch norm folded in."""
    return weight * (gain * (var + eps).rsqrt()).view(-1, 1, 1, 1)


def _bias(shift: Tensor, gain: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """What a convolution adds (O,), its batch norm folded in."""
    return shift - mean * gain * (var + eps).rsqrt()


def _roundings(graph: nn.Module) -> dict[str, Any]:
    """All that rounds weights (per channel) or activations, by name."""
    return {name: part for name, part in graph.named_modules() if hasattr(part, "fake_quant_enabled")}


def _name_once(graph: Any) -> None:
    """Leaves what rounds before and after a pooling alike one of its names, for one place in a file."""
    names = {part: name for name, part in graph.named_modules()}
    for node in graph.graph.nodes:
        if node.op == "call_module" and (name := names[graph.get_submodule(node.target)]) != node.target:
            graph.delete_submodule(node.target)
            node.target = name
    graph.recompile()


def _leave_maxima(graph: Any) -> None:
    """Rounds no maximum, alone or beside a mean: OpenVINO (2026.4) gives another where it rounds in the same pass."""
    concatenated = torch.ops.aten.cat.default
    for maximum in graph.graph.find_nodes(op="call_function", target=torch.ops.aten.amax.default):
        for value in (maximum, *(user for user in maximum.users if user.target is concatenated)):
            for rounding in [user for user in value.users if user.op == "call_module"]:
                rounding.replace_all_uses_with(value)
                graph.graph.erase_node(rounding)
                graph.delete_submodule(rounding.target)
    graph.recompile()


def _torchao(part: str) -> Any:
    """This part of torchao's PT2E. Raises MissingExtraError."""
    return optional(f"torchao.quantization.pt2e{part}", needed_for="quantisation-aware training", extra="qat")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what torch and torchao warn of each other off the terminal."""
    logger = logging.getLogger("torch.utils._pytree")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
