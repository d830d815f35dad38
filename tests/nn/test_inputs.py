"""Two inputs: how they meet, what they share, and what happens where one is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fit50.nn import Deployed, compose
from fit50.nn.fusion import input_fusion
from fit50.nn.resnet import hide
from fit50.spec.digest import edit, edit_all
from fit50.spec.network import Fusion, Input, Network
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]
Two = Callable[..., Checkpoint]
SIDE = 16


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def two(narrow: Narrow, lived_in: LivedIn) -> Two:
    """Makes a checkpoint for two inputs, the second of so many channels."""

    def make(channels: int = 3, neck: object = None, **fusion: Any) -> Checkpoint:
        statistics = {"mean": (0.5,) * channels, "std": (0.25,) * channels}
        first = Input(name="rgb", height=SIDE, width=SIDE)
        second = Input(name="other", channels=channels, height=SIDE, width=SIDE, **statistics)
        fusion = {"width": 8, **fusion}
        network = edit_all(
            narrow((1, 2, 1)),
            [("inputs", [first.model_dump(), second.model_dump()]), ("fusion", fusion), ("neck", neck)],
        )
        return lived_in(network)

    return make


def images(channels: int = 3, count: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    return noise(count, 3, SIDE, SIDE, seed=seed), noise(count, channels, SIDE, SIDE, seed=seed + 1)


def answers(module: nn.Module, *inputs: Tensor, present: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return module(*inputs, present=present)


def affine(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution, as a matrix product at every place."""
    return torch.einsum("oi,nihw->nohw", layer.weight[:, :, 0, 0], x) + layer.bias[:, None, None]


def test_concatenation_is_the_listings() -> None:
    module, a, b = input_fusion(Fusion(width=5), 6), noise(2, 6, 3, 4), noise(2, 6, 3, 4, seed=1)
    both = torch.cat((affine(module.conv1, a), affine(module.conv2, b)), 1)
    torch.testing.assert_close(module(a, b, None), affine(module.fusion, both))


def test_the_gated_sum_starts_as_the_first_map() -> None:
    module, a, b = input_fusion(Fusion(kind="gated", width=5), 6), noise(2, 6, 3, 4), noise(2, 6, 3, 4, seed=1)
    assert torch.equal(module(a, b, None), a)
    module.gamma.data = gamma = torch.linspace(-1, 1, 6)
    pooled = torch.cat((a, b), 1).mean((2, 3))
    hidden = F.linear(pooled, module.fc1.weight.flatten(1), module.fc1.bias).relu()
    gate = F.linear(hidden, module.fc2.weight.flatten(1), module.fc2.bias).sigmoid()
    expected = a + (gamma * gate)[:, :, None, None] * affine(module.conv, b)
    assert module.fc1.out_channels == 5
    torch.testing.assert_close(module(a, b, None), expected)


@pytest.mark.parametrize("after", ["layer1", "layer2", "layer3"])
@pytest.mark.parametrize("kind", ["concat", "gated"])
def test_inputs_meet_after_the_said_stage(kind: str, after: str, two: Two) -> None:
    module, (a, b) = two(kind=kind, after=after).module(), images()
    names = ["layer1", "layer2", "layer3"]
    apart = names[: names.index(after) + 1]
    with torch.no_grad():
        maps = module.maps(a, b)
        alone = [module.run(module.stem(x), apart)[after] for x in (a, b)]
        expected = module.fusion(*alone, None)
        rest = module.run(expected, names[len(apart) :])
    assert list(maps) == ["stem", *names]
    assert maps[after].shape[1] == (8 if kind == "concat" else 64)
    torch.testing.assert_close(maps[after], expected)
    for name, value in rest.items():
        torch.testing.assert_close(maps[name], value)


@pytest.mark.parametrize("backbone", ["shared", "separate"])
def test_a_gated_second_input_changes_no_prediction_at_first(backbone: str, two: Two, narrow: Narrow) -> None:
    whole = two(channels=1, kind="gated", backbone=backbone)
    drawn = compose(whole.network).state_dict()["fusion.gamma"]
    whole = whole.with_(tensors={**whole.tensors, "fusion.gamma": drawn})
    own = {key: t for key, t in whole.tensors.items() if not key.startswith(("second.", "fusion."))}
    a, b = images(channels=1)
    assert torch.equal(answers(whole.module(), a, b), answers(Checkpoint(narrow((1, 2, 1)), own).module(), a))


def test_every_input_is_asked_for(two: Two, narrow: Narrow) -> None:
    a, b = images()
    with pytest.raises(TypeError, match="expected 2 inputs, found 1"):
        two().module()(a)
    with pytest.raises(TypeError, match="expected 1 inputs, found 2"):
        compose(narrow())(a, b)


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in module.state_dict().items() if "running" in key}


def moved(two: Checkpoint, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """The running statistics after a forward pass in training."""
    module = two.module().train()
    module(a, b)
    return statistics(module)


def changed(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> set[str]:
    return {key for key, tensor in first.items() if not torch.equal(tensor, second[key])}


@pytest.mark.parametrize("channels", [1, 3])
def test_norms_for_each_input_see_only_theirs(channels: int, two: Two) -> None:
    """All before the fusion is split; after it, and in a stem that one input alone has, there is nothing to split."""
    checkpoint, (a, b) = two(channels=channels, after="layer2", norm="per-input"), images(channels)
    other, third = images(channels, seed=7)
    late = {key for key in statistics(checkpoint.module()) if key.startswith("layer3.")}
    theirs = {key for key in statistics(checkpoint.module()) if ".second." in key or key.startswith("second.")}
    if channels == 3:
        theirs |= {"bn1.second.running_mean", "bn1.second.running_var"}
    ours = set(statistics(checkpoint.module())) - theirs - late
    before = moved(checkpoint, a, b)
    assert len(theirs) == len(ours)
    assert changed(before, moved(checkpoint, a, third)) == theirs | late
    assert changed(before, moved(checkpoint, other, b)) == ours | late


def test_the_first_inputs_norms_are_those_of_a_network_for_it_alone(two: Two, narrow: Narrow) -> None:
    checkpoint, (a, b) = two(kind="gated", norm="per-input"), images()
    alone = compose(
        narrow((1, 2, 1)), {key: checkpoint.tensors[key] for key in compose(narrow((1, 2, 1))).state_dict()}
    )
    alone(a)
    found = moved(checkpoint, a, b)
    assert all(torch.equal(found[key], tensor) for key, tensor in statistics(alone).items())


def test_shared_norms_see_both_inputs(two: Two) -> None:
    checkpoint, (a, b) = two(), images()
    other, third = images(seed=7)
    before = moved(checkpoint, a, b)
    everything = set(before)
    assert changed(before, moved(checkpoint, a, third)) == changed(before, moved(checkpoint, other, b)) == everything
    assert not any("second" in key for key in everything)


def test_inputs_that_change_places_with_all_their_parts_are_answered_the_same(two: Two) -> None:
    checkpoint, (a, b) = two(norm="per-input"), images()
    tensors = checkpoint.tensors

    def other(key: str) -> str:
        """The key of the same part for the other input."""
        owner, _, leaf = key.rpartition(".")
        exchanged = {"fusion.conv1": "fusion.conv2", "fusion.conv2": "fusion.conv1"}.get(owner, f"{owner}.second")
        other = f"{exchanged}.{leaf}" if ".second." not in key else key.replace(".second.", ".")
        return other if other in tensors else key

    changed_places = {key: tensors[other(key)] for key in tensors}
    changed_places["fusion.fusion.weight"] = tensors["fusion.fusion.weight"].roll(8, 1)
    swapped, expected = checkpoint.with_(tensors=changed_places).module(), answers(checkpoint.module(), a, b)
    torch.testing.assert_close(answers(swapped, b, a), expected)
    assert not torch.allclose(answers(swapped, a, b), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("channels", "fusion", "own", "shared"),
    [
        (3, {}, set(), {"conv1", "bn1", "layer1", "layer2", "layer3"}),
        (1, {}, {"second.conv1", "second.bn1"}, {"layer1", "layer2", "layer3"}),
        (1, {"after": "layer2"}, {"second.conv1", "second.bn1"}, {"layer1", "layer2"}),
        (
            3,
            {"backbone": "separate", "after": "layer2"},
            {"second.conv1", "second.bn1", "second.layer1", "second.layer2"},
            set(),
        ),
        (
            1,
            {"backbone": "separate"},
            {"second.conv1", "second.bn1", "second.layer1", "second.layer2", "second.layer3"},
            set(),
        ),
    ],
)
def test_the_second_input_goes_its_own_way(
    channels: int, fusion: dict[str, str], own: set[str], shared: set[str], two: Two
) -> None:
    module, (a, b) = two(channels=channels, **fusion).module(), images(channels)
    module(a, b, present=torch.tensor([[False, True]] * 4)).sum().backward()  # the first input says nothing
    names = [name.split(".") for name, p in module.named_parameters() if p.grad is not None and p.grad.any()]
    moved = {".".join(name[: 1 + (name[0] == "second")]) for name in names}
    assert moved == own | shared | {"fusion", "fc", *module.together}
    said = {".".join(name.split(".")[:2]) for name in module.state_dict() if name.startswith("second.")}
    assert said == own
    assert module.conv1.in_channels == 3
    assert (module.second.conv1 if own else module.conv1).in_channels == channels


@pytest.mark.parametrize("kind", ["concat", "gated"])
def test_what_is_missing_says_nothing(kind: str, two: Two) -> None:
    module, (a, b) = two(kind=kind, modality_dropout=0.5).module(), images()
    other, third = images(seed=7)
    without_second = torch.tensor([[True, False]] * 4)
    without_first = without_second.flip(1)
    assert torch.equal(answers(module, a, b, present=without_second), answers(module, a, third, present=without_second))
    assert torch.equal(answers(module, a, b, present=without_first), answers(module, other, b, present=without_first))
    whole = answers(module, a, b)
    assert torch.equal(answers(module, a, b, present=torch.ones(4, 2, dtype=torch.bool)), whole)
    assert not torch.allclose(answers(module, a, third), whole, atol=1e-4)
    mixed = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
    found = answers(module, a, b, present=mixed)
    torch.testing.assert_close(found[[0, 3]], whole[[0, 3]])
    torch.testing.assert_close(found[1], answers(module, a, b, present=without_second)[1])
    torch.testing.assert_close(found[2], answers(module, a, b, present=without_first)[2])


def test_without_a_second_input_the_gated_network_is_the_firsts(two: Two, narrow: Narrow) -> None:
    checkpoint, (a, b) = two(kind="gated"), images()
    alone = {key: t for key, t in checkpoint.tensors.items() if not key.startswith("fusion.")}
    found = answers(checkpoint.module(), a, b, present=torch.tensor([[True, False]] * 4))
    torch.testing.assert_close(found, answers(Checkpoint(narrow((1, 2, 1)), alone).module(), a))


def test_modality_dropout_hides_one_input_at_its_rate() -> None:
    torch.manual_seed(0)
    left = hide(None, torch.zeros(20_000, 1), 0.4)
    assert left.any(1).all()
    assert (~left).float().mean(0).tolist() == pytest.approx([0.2, 0.2], abs=0.01)


def test_modality_dropout_leaves_the_only_input() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[True, False], [False, True], [True, True]]).repeat(2000, 1)
    left = hide(present, torch.zeros(6000, 1), 0.9)
    assert torch.equal(left[0::3], present[0::3])
    assert torch.equal(left[1::3], present[1::3])
    assert left.any(1).all() and not left[2::3].all()


def test_modality_dropout_is_for_training(two: Two) -> None:
    checkpoint, (a, b) = two(modality_dropout=0.9), images()
    torch.manual_seed(0)
    module = checkpoint.module()
    assert torch.equal(answers(module, a, b), answers(module, a, b))
    for part in module.modules():
        part.training = part is module  # what else training changes is left out
    found = {tuple(answers(module, a, b).flatten().tolist()) for _ in range(6)}
    assert len(found) > 1


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_an_image_of_zeros_is_missing_where_training_hid_some(rate: float, two: Two) -> None:
    checkpoint = two(channels=1, modality_dropout=rate)
    generator = torch.Generator().manual_seed(0)
    pixels = [torch.randint(0, 256, (3, SIDE, SIDE, c), dtype=torch.uint8, generator=generator) for c in (3, 1)]
    pixels[1][1] = 0
    first, second = (x.permute(0, 3, 1, 2).float() / 255 for x in pixels)
    rgb = checkpoint.network.inputs[0]
    first = (first - torch.tensor(rgb.mean).view(3, 1, 1)) / torch.tensor(rgb.std).view(3, 1, 1)
    present = torch.tensor([[True, True], [True, not rate], [True, True]])
    module = checkpoint.module()
    second = (second - 0.5) / 0.25
    expected = answers(module, first, second, present=present).softmax(1)
    assert torch.allclose(answers(module, first, second).softmax(1), expected, atol=1e-3) == (not rate)
    with torch.no_grad():
        torch.testing.assert_close(Deployed(module)(*pixels), expected, rtol=1e-4, atol=1e-6)


def test_a_pyramid_begins_where_the_inputs_have_met(two: Two) -> None:
    neck = {"kind": "fpn", "form": "plain", "width": 8, "levels": ["layer2", "layer3"]}
    module, (a, b) = two(after="layer2", neck=neck).module(), images()
    with torch.no_grad():
        levels = module.neck(module.maps(a, b))
    assert {name: tuple(level.shape) for name, level in levels.items()} == {
        "layer2": (4, 8, 8, 8),
        "layer3": (4, 8, 4, 4),
    }
    assert module.neck.lateral["layer2"].in_channels == 8
    third = images(seed=7)[1]
    assert not torch.allclose(answers(module, a, b), answers(module, a, third), atol=1e-4)


@pytest.mark.parametrize("norm", ["shared", "per-input"])
def test_new_blocks_start_as_their_shortcuts_for_both_inputs(norm: str, two: Two) -> None:
    network = edit(two().network, "fusion.norm", norm)
    module = compose(network).eval()
    x = noise(2, 64, 8, 8).abs()
    with torch.no_grad():
        for current in (0, 1):
            for part in module.modules():
                if hasattr(part, "current"):
                    part.current = current
            assert torch.equal(module.layer2[1](x), x)
