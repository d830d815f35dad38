"""On how many devices and machines a training runs, through lightning-fabric."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Literal, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fit50.nn.resnet import PerInputNorm
from fit50.spec.errors import NotBuiltError, SpecError
from fit50.spec.machine import has_bf16
from fit50.spec.network import Network
from fit50.spec.training import Train


class Devices(NamedTuple):
    """``local`` devices on each of ``nodes`` machines: GPUs where there are any, else processes on the processor."""

    local: int = 1
    nodes: int = 1


ONE = Devices()


def devices(local: int | None = None, nodes: int | None = None) -> Devices:
    """What a person asked for; by default what torchrun has started, or else one device."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # torchrun alone sets it
    every = int(os.environ["WORLD_SIZE"]) if "LOCAL_WORLD_SIZE" in os.environ else here
    return Devices(here if local is None else local, every // here if nodes is None else nodes)


def precision(step: Train, network: Network | None = None) -> Literal["bf16-mixed", "32-true"]:
    """Fabric's name for the precision in which a network is trained on this machine.

    On the CPU, torch's gradient of a strided convolution on a map of one pixel's width is wrong in bf16 (2.14.1:
    parts of it are not initialised), hence float32 there. Raises SpecError where bf16 was asked for.
    """
    gpu = torch.cuda.is_available()
    narrow = not gpu and network is not None and narrowest(network, step) < 2
    if narrow and step.precision == "bf16":
        raise SpecError(
            "train.precision: expected auto or float32, for in bf16 torch's gradients are wrong on maps that are one "
            "pixel wide, as this network's become; or use larger images, or network.stem=low-resolution"
        )
    native = torch.cuda.is_bf16_supported() if gpu else has_bf16()
    wanted = step.precision == "bf16" or (step.precision == "auto" and native)
    return "bf16-mixed" if wanted and not narrow else "32-true"


def narrowest(network: Network, step: Train) -> int:
    """Pixels of the shorter side of the smallest map that a convolution with a stride sees in a training."""
    image = network.inputs[0]
    short = min(image.height, image.width)
    side = narrow = min(step.size or short, step.start_size or short, short)
    side = -(-side // network.stem.stride)
    for stage in network.stages:
        for block in stage.blocks:
            if block.stride > 1:
                narrow, side = min(narrow, side), -(-side // block.stride)
    return narrow


def launched(devices: Devices, step: Train | None = None, network: Network | None = None) -> Fabric:
    """Fabric with its processes running: those that torchrun or SLURM started, or else new ones of this machine.

    The first call in a process that starts others runs its command line again in each of them.

    Args:
        devices: how many.
        step: what they shall train; None only to have them.
        network: likewise.

    Raises:
        SpecError: torchrun or SLURM started another number of processes; or see ``precision``.
    """
    step = step or Train()
    started = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
    if started not in (1, devices.local * devices.nodes):
        raise SpecError(
            f"devices: expected the {started} processes that were started, found {devices.local} devices of "
            f"{devices.nodes} machines; give --devices and --nodes to match, or leave both out with torchrun"
        )
    for noise in ("rank_zero", "distributed"):  # each run's precision, each process's rank
        logging.getLogger(f"lightning_fabric.utilities.{noise}").setLevel(logging.WARNING)
    if devices == ONE:
        return Fabric(accelerator="auto", devices=1, precision=precision(step, network))
    strategy = "ddp_find_unused_parameters_true" if step.frozen else "ddp"
    fabric = Fabric(
        accelerator="auto",
        devices=devices.local,
        num_nodes=devices.nodes,
        strategy=strategy,
        precision=precision(step, network),
    )
    fabric.launch()
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")  # of 1x1 kernels
    return fabric


class _Mean(torch.autograd.Function):
    """The mean over all processes, through which gradients flow to each of them."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(x)
        return x / torch.distributed.get_world_size()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return _Mean.forward(ctx, gradient)


class GlobalBatchNorm(nn.BatchNorm2d):
    """A batch norm over the batches of all processes, on any device (torch's own SyncBatchNorm needs a GPU)."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        values = x.float()
        n = torch.distributed.get_world_size() * x.numel() // x.shape[1]
        mean: Tensor = _Mean.apply(values.mean((0, 2, 3)))
        centred = values - mean.view(1, -1, 1, 1)
        var: Tensor = _Mean.apply(centred.square().mean((0, 2, 3)))
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / (n - 1), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)


def with_global_norms(module: nn.Module) -> None:
    """Lets every batch norm in a module see the batches of all processes; state-dict keys stay.

    Raises NotBuiltError for norms of each input.
    """
    if any(isinstance(part, PerInputNorm) for part in module.modules()):
        raise NotBuiltError("train: norms of each input (fusion.norm: per-input) need one device; use --devices 1")
    if torch.cuda.is_available():
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return
    for parent in list(module.modules()):
        for name, norm in parent.named_children():
            if type(norm) is nn.BatchNorm2d:
                spread = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum)
                spread.load_state_dict(norm.state_dict())
                setattr(parent, name, spread)


def summed(fabric: Fabric, value: Tensor) -> Tensor:
    """The sum over all processes, which all ask for it at the same time."""
    found = fabric.all_reduce(value, reduce_op="sum")
    assert isinstance(found, Tensor)
    return found


def anyone(fabric: Fabric, flag: bool) -> bool:
    """Whether the flag is up in any process; all ask at the same time."""
    return bool(summed(fabric, torch.tensor(float(flag), device=fabric.device)) > 0) if fabric.world_size > 1 else flag
