"""From a checkpoint to an ExecuTorch program: the half that needs ExecuTorch's compiler."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from operator import attrgetter
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from executorch.exir import to_edge_transform_and_lower
from executorch.exir.dialects._ops import ops
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from fit50.nn.deployed import Deployed
from fit50.runtimes.base import Images
from fit50.runtimes.executorch import BATCH
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

_LAYERS = (torch.ops.aten.conv1d.default, torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
_LOWERED = (ops.edge.aten.convolution.default, ops.edge.aten.linear.default, ops.edge.aten.addmm.default)


def floating(checkpoint: Checkpoint) -> ExportedProgram:
    """The deployed graph (uint8 images in, probabilities out, up to ``BATCH`` images) in float32."""
    return _exported(_untied(checkpoint), checkpoint.network)


def quantized(checkpoint: Checkpoint, images: tuple[Images, ...]) -> tuple[ExportedProgram, str]:
    """The deployed graph in int8, the ranges taken from images (N, H, W, C), and how many layers compute so."""
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(_untied(checkpoint), quantizer)
    with torch.inference_mode():
        for start in range(0, len(images[0]), BATCH):
            prepared(*(torch.from_numpy(each[start : start + BATCH]) for each in images))
    converted = convert_pt2e(prepared)
    layers = [node for node in converted.graph.nodes if node.target in _LAYERS]
    rounded = sum("dequantize" in str(layer.args[1].target) for layer in layers)
    return _exported(converted, checkpoint.network), f"{rounded} of {len(layers)} layers"


def lowered(graph: ExportedProgram, texts: Mapping[str, str]) -> bytes:
    """The program's bytes; each text is a method of its name that takes nothing and gives it."""
    made = to_edge_transform_and_lower(graph, partitioner=[XnnpackPartitioner()], constant_methods=dict(texts))
    left = [node.name for node in made.exported_program().graph.nodes if node.target in _LOWERED]
    assert not left, f"expected every layer to be XNNPACK's, which alone computes in int8, found {left} left to others"
    return bytes(made.to_executorch().buffer)


def _untied(checkpoint: Checkpoint) -> GraphModule:
    """The deployed graph, each call of a layer with parameters of its own: two inputs share them, and CBAM's poolings.

    ExecuTorch folds a batch norm into a parameter once, for the first call; so does torchao, which also rounds for that
    call only. Equal weights are stored once all the same.
    """
    model: GraphModule = _exported(Deployed(checkpoint.module()).eval(), checkpoint.network).module()
    for parameter in model.graph.find_nodes(op="get_attr"):
        for number, call in enumerate([user for user in parameter.users if user.target in _LAYERS][1:], 2):
            name = f"{parameter.target}_{number}".replace(".", "_")
            setattr(model, name, deepcopy(attrgetter(parameter.target)(model)))
            with model.graph.inserting_before(call):
                own = model.graph.node_copy(parameter)
            own.target = name
            call.replace_input_with(parameter, own)
    model.recompile()
    return model


def _exported(module: Any, network: Network) -> ExportedProgram:
    images = tuple(torch.zeros(2, each.height, each.width, each.channels, dtype=torch.uint8) for each in network.inputs)
    batch = {0: Dim("batch", min=1, max=BATCH)}
    dynamic = ((batch,) * len(images),) if isinstance(module, Deployed) else (batch,) * len(images)
    return torch.export.export(module, images, dynamic_shapes=dynamic)
