"""What holds of every network that can be said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from tests.networks import networks
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fit50.nn import compose, cost
from fit50.spec.digest import diff, digest
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

LivedIn = Callable[..., Checkpoint]
forty = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def images(network: Network, count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, i.channels, i.height, i.width, generator=generator) for i in network.inputs]


@forty
@given(networks())
def test_it_learns_with_all_its_parameters(lived_in: LivedIn, network: Network) -> None:
    torch.manual_seed(0)
    module = compose(network, lived_in(network).tensors)
    answers = module(*images(network, 2))
    assert answers.shape == (2, network.head.classes)
    answers.square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    moved = [name for name, buffer in module.named_buffers() if name.endswith("num_batches_tracked") and buffer > 0]
    assert len(moved) == sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@forty
@given(networks())
def test_its_value_survives_being_written(network: Network) -> None:
    again = Network.parse(json.loads(json.dumps(network.canonical())))
    assert again == network
    assert (digest(again), hash(again), diff(again, network)) == (digest(network), hash(network), ())
    assert Network.model_validate_json(network.model_dump_json()) == network


@forty
@given(networks())
def test_its_file_gives_the_same_answers(
    lived_in: LivedIn, tmp_path_factory: pytest.TempPathFactory, network: Network
) -> None:
    checkpoint = lived_in(network, classes=tuple(map(str, range(network.head.classes))))
    path: Path = tmp_path_factory.getbasetemp() / "property.safetensors"
    checkpoint.save(path)
    again = Checkpoint.load(path)
    assert (again.network, again.classes) == (network, checkpoint.classes)
    assert set(again.tensors) == set(checkpoint.tensors)
    assert all(torch.equal(again.tensors[key], tensor) for key, tensor in checkpoint.tensors.items())
    with torch.no_grad():
        first, second = (c.module()(*images(network, 2)) for c in (checkpoint, again))
    assert first.isfinite().all()
    assert torch.equal(first, second)


@forty
@given(networks())
def test_its_cost_is_what_its_layers_do(network: Network) -> None:
    """Counted by torch, and by every layer's own output: each number of it takes one product a weight of its filter."""
    module = compose(network).eval()
    products = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        products.append(output.numel() * layer.weight[0].numel())

    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
            part.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*images(network, 1))
    found = cost(network)
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert round(found.gmacs * 1e9) == sum(products) == counter.get_total_flops() // 2


def test_the_networks_are_of_every_kind() -> None:
    """A strategy that missed a part would prove nothing of it."""
    seen: set[str] = set()

    @settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(networks())
    def collect(network: Network) -> None:
        blocks = [block for stage in network.stages for block in stage.blocks]
        fusion = network.fusion
        seen.update({network.stem.kind, f"neck {network.neck and network.neck.form}", f"{len(network.stages)} stages"})
        seen.update(f"attention {block.attention and block.attention.kind}" for block in blocks)
        seen.update({block.kind for block in blocks} | {block.shortcut for block in blocks})
        seen.update(f"hff {stage.fusion and stage.fusion.form}" for stage in network.stages)
        seen.update({"drop_path"} if any(block.drop_path for block in blocks) else ())
        if fusion:
            seen.update({fusion.kind, fusion.backbone, fusion.norm, f"from {fusion.after and 'a stage'}"})
            seen.add(f"channels {network.inputs[0].channels == network.inputs[1].channels}")
            seen.update({"modality_dropout"} if fusion.modality_dropout else ())

    collect()
    expected = {"7x7", "deep", "7x7+3x3x3", "light", "low-resolution", "basic", "bottleneck", "drop_path"}
    expected |= {"identity", "projection", "average-projection", "1 stages", "2 stages", "3 stages"}
    expected |= {"attention None", "attention se", "attention cbam", "attention eca"}
    expected |= {"hff None", "hff paper", "hff squeeze", "hff gated", "neck None", "neck plain", "neck gated"}
    expected |= {"concat", "gated", "shared", "separate", "per-input", "modality_dropout"}
    expected |= {"from None", "from a stage", "channels True", "channels False"}
    assert seen == expected
