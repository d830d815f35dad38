"""Losses between two networks: answers against their papers' formulas, inner maps against what the networks compute."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fit50.nn.compose import compose
from fit50.nn.resnet import ResNet
from fit50.spec.errors import SpecError
from fit50.spec.network import Fusion, Input, Network
from fit50.spec.presets import resnet
from fit50.spec.training import DIST, DKD, KD, AttentionTransfer, Hint, Method, Teacher
from fit50.train.distillation import FeatureMatch, answers_loss
from fit50.train.losses import targets
from fit50.train.teachers import Average, ModuleTeacher

Narrow = Callable[..., Network]
N, CLASSES = 6, 5
METHODS = (KD(), KD(standardize=True), DKD(), DIST())


def logits(seed: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(seed))


STUDENT, TAUGHT = logits(0), logits(1)
LABELS = torch.arange(N) % CLASSES
TARGETS = targets(LABELS, CLASSES, 0.1)


def found(method: Method, student: Tensor = STUDENT, taught: Tensor = TAUGHT, temperature: float = 3.0) -> Tensor:
    return answers_loss(Teacher(after=1, method=method, temperature=temperature), student, taught, TARGETS)


def softmax(row: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp(row.astype(np.float64) / temperature)
    return powers / powers.sum()


def divergence(taught: np.ndarray, student: np.ndarray) -> float:
    return float(sum(t * math.log(t / s) for t, s in zip(taught, student, strict=True)))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_kd_is_the_divergence_summed_by_hand(temperature: float) -> None:
    pairs = zip(STUDENT.numpy(), TAUGHT.numpy(), strict=True)
    total = sum(divergence(softmax(taught, temperature), softmax(said, temperature)) for said, taught in pairs)
    assert float(found(KD(), temperature=temperature)) == pytest.approx(temperature**2 * total / N, rel=1e-5)


def test_standardised_kd_takes_z_scores_first() -> None:
    """By the mean and the standard deviation over classes, in their population form as Sun et al. write them."""
    total = 0.0
    for said, taught in zip(STUDENT.numpy(), TAUGHT.numpy(), strict=True):
        scores = [(row - row.mean()) / row.std() for row in (said, taught)]
        total += divergence(softmax(scores[1], 3), softmax(scores[0], 3))
    assert float(found(KD(standardize=True))) == pytest.approx(9 * total / N, rel=1e-4)


def test_standardised_kd_does_not_ask_for_the_teachers_scale() -> None:
    method = KD(standardize=True)
    assert float(found(method, student=0.3 * TAUGHT + 2)) == pytest.approx(0, abs=1e-5)
    assert float(found(KD(), student=0.3 * TAUGHT + 2)) > 0.1


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 8.0), (2.0, 0.0), (0.0, 1.0)])
def test_dkd_is_its_two_parts_summed_by_hand(alpha: float, beta: float) -> None:
    total = 0.0
    for said, taught, label in zip(STUDENT.numpy(), TAUGHT.numpy(), LABELS.numpy(), strict=True):
        s, t = softmax(said, 3), softmax(taught, 3)
        binary = [np.array([p[label], 1 - p[label]]) for p in (t, s)]
        rest = [np.delete(p, label) / (1 - p[label]) for p in (t, s)]
        total += alpha * divergence(*binary) + beta * divergence(*rest)
    assert float(found(DKD(alpha=alpha, beta=beta))) == pytest.approx(9 * total / N, rel=1e-4)


def test_kd_decomposes_as_dkd_says() -> None:
    """KD = TCKD + (1 - p_t) NCKD for each image, p_t the teacher's probability of the target class (their eq. 7)."""
    chance = (TAUGHT / 3).softmax(1).gather(1, LABELS.unsqueeze(1)).squeeze(1)
    for i in range(N):
        row = slice(i, i + 1)

        def one(method: Method, row: slice = row) -> float:
            step = Teacher(after=1, method=method, temperature=3)
            return float(answers_loss(step, STUDENT[row], TAUGHT[row], TARGETS[row]))

        both = one(DKD(alpha=1, beta=0)) + (1 - float(chance[i])) * one(DKD(alpha=0, beta=1))
        assert one(KD()) == pytest.approx(both, rel=1e-4)


def test_the_larger_share_of_a_mixed_image_is_dkds_target() -> None:
    mixed = 0.6 * TARGETS + 0.4 * TARGETS.roll(1, 0)
    step = Teacher(after=1, method=DKD(), temperature=3)
    assert float(answers_loss(step, STUDENT, TAUGHT, mixed)) == float(found(DKD()))


def test_dkd_of_two_classes_has_no_others() -> None:
    step = Teacher(after=1, method=DKD(alpha=0, beta=8), temperature=3)
    two = [each[:, :2] for each in (STUDENT, TAUGHT, TARGETS)]
    assert float(answers_loss(step, *two)) == 0


@pytest.mark.parametrize(("beta", "gamma"), [(1.0, 1.0), (2.0, 0.0), (0.0, 2.0)])
def test_dist_is_correlations_over_classes_and_over_images(beta: float, gamma: float) -> None:
    said, taught = (np.array([softmax(row, 3) for row in each.numpy()]) for each in (STUDENT, TAUGHT))
    inter = 1 - np.mean([np.corrcoef(said[i], taught[i])[0, 1] for i in range(N)])
    intra = 1 - np.mean([np.corrcoef(said[:, k], taught[:, k])[0, 1] for k in range(CLASSES)])
    assert float(found(DIST(beta=beta, gamma=gamma))) == pytest.approx(9 * (beta * inter + gamma * intra), rel=1e-4)


def test_dist_asks_for_probabilities_up_to_shift_and_scale() -> None:
    wanted = (TAUGHT / 3).softmax(1)
    flatter = 0.4 * wanted + 0.6 / CLASSES  # of each image, hence also of each class
    assert float(found(DIST(), student=3 * flatter.log())) == pytest.approx(0, abs=1e-5)
    assert float(found(KD(), student=3 * flatter.log())) > 0.01


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_equal_answers_cost_nothing(method: Method) -> None:
    assert float(found(method, student=TAUGHT + 7)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4], ids=["constant", "usual", "enormous"])
def test_gradients_of_half_precision_are_finite(method: Method, scale: float) -> None:
    student = logits(2, scale).bfloat16().requires_grad_()
    loss = found(method, student=student, taught=logits(3, scale).bfloat16())
    loss.backward()
    assert loss.dtype == torch.float32 and bool(loss.isfinite())
    assert student.grad is not None and bool(student.grad.isfinite().all())


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_descent_brings_the_student_to_the_teacher(method: Method) -> None:
    student = STUDENT.clone().requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.1)
    before = float(found(method))
    for _ in range(50):
        optimizer.zero_grad()
        found(method, student=student).backward()
        optimizer.step()
    assert float(found(method, student=student.detach())) < before / 5


# Inner maps

INPUTS = (Input(height=16, width=16, resize="stretch"),)


def shown(seed: int = 0, n: int = 3) -> Tensor:
    """uint8 (N, H, W, C)."""
    return torch.randint(0, 256, (n, 16, 16, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def pair(narrow: Narrow, width: int = 16, size: int = 16, stages: int = 2) -> tuple[ResNet, ModuleTeacher]:
    """A student, and a teacher of another width for images of another size."""
    inputs = (INPUTS[0].model_copy(update={"height": size, "width": size}),)
    student, taught = (compose(narrow((1,) * stages, width=each), seed=seed) for seed, each in enumerate((16, width)))
    return student.train(), ModuleTeacher(taught, inputs)


def prepared(teacher: ModuleTeacher, x: Tensor) -> Tensor:
    """Images as the teacher's module takes them."""
    (prepare,) = teacher._prepare
    return prepare(x)


def maps(student: ResNet, teacher: ModuleTeacher, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What the stages of both put out, by another way than hooks."""
    module = teacher.module
    assert isinstance(module, ResNet)
    with torch.no_grad():
        ours, theirs = student.maps(normal(x)), module.maps(prepared(teacher, x))
    return [(ours[name], theirs[name]) for name in student.names]


def normal(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2) / 255


def value(match: FeatureMatch) -> float:
    return float(match.loss().detach())


def test_hints_between_equal_widths_are_mean_squares(narrow: Narrow) -> None:
    student, teacher = pair(narrow)
    match = FeatureMatch(Hint(weight=2), student, teacher, INPUTS)
    assert not list(match.parameters())
    x = shown()
    teacher.logits(x)
    student(normal(x))
    expected = sum(float((one - other).detach().square().mean()) for one, other in maps(student, teacher, x))
    assert value(match) == pytest.approx(2 * expected, rel=1e-4)
    assert float(match().detach()) == value(match)


def test_hints_between_other_widths_are_learned(narrow: Narrow) -> None:
    student, teacher = pair(narrow, width=24)
    match = FeatureMatch(Hint(), student, teacher, INPUTS)
    shapes = [tuple(parameter.shape) for parameter in match.parameters() if parameter.dim() == 4]
    assert shapes == [(96, 64, 1, 1)] * 2
    x = shown()
    teacher.logits(x)
    optimizer = torch.optim.Adam([*student.parameters(), *match.parameters()], lr=0.01)
    losses = []
    for _ in range(15):
        student(normal(x))
        optimizer.zero_grad()
        loss = match.loss()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    assert all(p.grad is not None for name, p in student.named_parameters() if not name.startswith("fc"))
    assert all(parameter.grad is None for parameter in teacher.module.parameters())


def test_attention_is_where_squares_are_large(narrow: Narrow) -> None:
    student, teacher = pair(narrow, width=24, size=24)
    match = FeatureMatch(AttentionTransfer(weight=10, stages=("layer2",)), student, teacher, INPUTS)
    assert not list(match.parameters())
    x = shown()
    teacher.logits(x)
    student(normal(x))
    one, other = maps(student, teacher, x)[1]
    assert other.shape[2:] > one.shape[2:]
    large = []
    for each in (one, F.adaptive_avg_pool2d(other, one.shape[2:])):
        squares = each.square().mean(1).flatten(1)
        large.append(squares / squares.norm(dim=1, keepdim=True))
    assert value(match) == pytest.approx(10 * float((large[0] - large[1]).square().mean()), rel=1e-4)


def test_of_an_equal_network_nothing_is_to_be_learned(narrow: Narrow) -> None:
    student, _ = pair(narrow)
    teacher = ModuleTeacher(copy.deepcopy(student), INPUTS)
    for features in (Hint(), AttentionTransfer()):
        match = FeatureMatch(features, student.eval(), teacher, INPUTS)
        teacher.logits(shown())
        student(prepared(teacher, shown()))
        assert value(match) == pytest.approx(0, abs=1e-6)


def test_evaluation_in_between_is_not_heard(narrow: Narrow) -> None:
    """Nor is a copy made for averaging, nor more images through the student without gradients."""
    student, teacher = pair(narrow)
    match = FeatureMatch(Hint(), student, teacher, INPUTS)
    average = copy.deepcopy(student)
    teacher.logits(shown())
    student(normal(shown()))
    before = value(match)
    with torch.inference_mode():
        student(normal(shown(1, 7)))
        average(normal(shown(2, 5)))
    assert value(match) == before
    student(normal(shown(1)))
    assert value(match) != before
    match.close()
    student(normal(shown()))
    assert value(match) != before


def test_a_compiled_student_is_heard(narrow: Narrow) -> None:
    student, teacher = pair(narrow, stages=1)
    match = FeatureMatch(AttentionTransfer(), student, teacher, INPUTS)
    teacher.logits(shown())
    found = []
    for model in (student, torch.compile(student, backend="aot_eager")):
        student.zero_grad()
        for seed in (0, 1):
            model(normal(shown(seed)))
            match.loss().backward()
        stages = [each.parameters() for each in (student.conv1, student.layer1)]
        found.append([parameter.grad.clone() for parameter in chain(*stages)])
    assert found[0][0].abs().max() > 0
    torch.testing.assert_close(*found)


def test_of_two_inputs_the_firsts_maps_count() -> None:
    network = resnet((1, 1), widths=(8, 8))
    inputs = tuple(INPUTS[0].model_copy(update={"name": name}) for name in ("rgb", "thermal"))
    network = network.model_copy(update={"inputs": inputs, "fusion": Fusion(width=8)})
    student, taught = compose(network, seed=0).eval(), compose(network, seed=1)
    teacher = ModuleTeacher(taught, inputs)
    match = FeatureMatch(Hint(stages=("layer1",)), student, teacher, inputs)
    first, second = shown(0), shown(1)
    teacher.logits(first, second)
    student(normal(first), normal(second))
    pairs = [(student, normal(first)), (taught, teacher._prepare[0](first))]
    one, other = (module.layer1(module.stem(x)).detach() for module, x in pairs)
    assert value(match) == pytest.approx(float((one - other).square().mean()), rel=1e-4)


def test_stages_may_have_two_names(narrow: Narrow) -> None:
    student, teacher = pair(narrow)
    match = FeatureMatch(Hint(stages=("layer2:layer1",)), student, teacher, INPUTS)
    teacher.logits(shown())
    student(normal(shown()))
    assert match.loss() > 0


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("layer3", "'layer3' is no part of it; did you mean 'layer"),
        ("conv1", "'conv1' is no stage of the student's; known: layer1, layer2"),
        ("layer1:fc", r"expected a map \(N, C, H, W\) from the teacher's 'fc', found \[1, 4\]"),
    ],
)
def test_stages_are_maps_of_both(narrow: Narrow, stage: str, said: str) -> None:
    student, teacher = pair(narrow)
    with pytest.raises(SpecError, match=said):
        FeatureMatch(Hint(stages=(stage,)), student, teacher, INPUTS)


def test_a_teacher_must_show_its_maps(narrow: Narrow) -> None:
    student, teacher = pair(narrow)
    with pytest.raises(SpecError, match="found one without inner maps"):
        FeatureMatch(Hint(), student, Average([teacher, teacher], 4), INPUTS)
