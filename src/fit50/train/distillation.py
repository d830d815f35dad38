"""What a teacher teaches: its answers, and its inner maps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fit50.nn.resnet import ResNet
from fit50.spec.errors import SpecError
from fit50.spec.network import Input
from fit50.spec.training import DIST, DKD, KD, AttentionTransfer, Features, Hint, Teacher
from fit50.spec.value import suggestion
from fit50.train.teachers import Teaching


def answers_loss(teacher: Teacher, student: Tensor, taught: Tensor, target: Tensor) -> Tensor:
    """The loss of ``teacher.method`` between two networks' answers, without its weight, in float32; a scalar.

    Args:
        teacher: the method and the temperature.
        student: logits (N, classes).
        taught: the teacher's logits (N, classes) for the same images.
        target: the labels' targets (N, classes); the largest is DKD's target class, of a mixed image too.
    """
    student, taught, temperature = student.float(), taught.float(), teacher.temperature
    match teacher.method:
        case KD(standardize=standardize):
            if standardize:
                student, taught = _z_scores(student), _z_scores(taught)
            loss = _divergence(F.log_softmax(student / temperature, 1), F.log_softmax(taught / temperature, 1))
        case DKD() as method:
            loss = _decoupled(method, student / temperature, taught / temperature, target.argmax(1, keepdim=True))
        case DIST(beta=beta, gamma=gamma):
            said, meant = (student / temperature).softmax(1), (taught / temperature).softmax(1)
            loss = beta * _uncorrelated(said, meant) + gamma * _uncorrelated(said.T, meant.T)
        case _:
            assert_never(teacher.method)
    return loss * temperature**2


def _divergence(student: Tensor, taught: Tensor) -> Tensor:
    """KL(taught || student) of logarithms of probabilities (N, ...), the mean over N."""
    return F.kl_div(student, taught, reduction="batchmean", log_target=True)


def _z_scores(logits: Tensor) -> Tensor:
    """Logits (N, classes) less each image's mean, over its standard deviation."""
    return F.layer_norm(logits, logits.shape[1:], eps=1e-7)


def _decoupled(method: DKD, student: Tensor, taught: Tensor, label: Tensor) -> Tensor:
    """Alpha * KL(target class or not) + beta * KL(among the other classes); the labels are (N, 1)."""
    others = torch.arange(student.shape[1] - 1, device=label.device)
    others = others + (others >= label)  # (N, classes - 1), all indices but the label
    binary, rest = [], []
    for logits in (student, taught):
        logs = F.log_softmax(logits, 1)
        binary.append(torch.cat([logs.gather(1, label), logs.gather(1, others).logsumexp(1, keepdim=True)], 1))
        rest.append(F.log_softmax(logits.gather(1, others), 1))
    return method.alpha * _divergence(*binary) + method.beta * _divergence(*rest)


def _uncorrelated(student: Tensor, taught: Tensor) -> Tensor:
    """1 - Pearson's correlation of each row (M, K) with the teacher's, the mean over M."""
    centred = student - student.mean(1, keepdim=True), taught - taught.mean(1, keepdim=True)
    return 1 - F.cosine_similarity(*centred, dim=1).mean()


class FeatureMatch(nn.Module):
    """The loss between maps of two networks' stages, as their last forward passes left them.

    It listens to the modules themselves, inside of whatever compiles or distributes them: to the student where
    gradients are computed, to the teacher where they are not. Of a stage that two inputs go through in turn, the first
    one's map counts. Maps of two sizes are both pooled to the smaller one, as Tian et al. 2020 do for attention.

    Its parameters, one 1x1 convolution for each hint between two widths (FitNets, Romero et al. 2015), are to be
    trained beside the student's; ``forward`` is ``loss``, for wrappers that know no other method.
    """

    def __init__(self, features: Features, student: ResNet, teacher: Teaching, inputs: Sequence[Input]) -> None:
        """Begins to listen; ``close`` ends it.

        Args:
            features: the loss, its weight, and the stages: those whose names both networks have (``layer3``), or the
                student's and the teacher's (``layer3:stages.2``); by default all of the student's.
            student: the network that is trained.
            teacher: has inner maps.
            inputs: the student's.

        Raises:
            SpecError: the teacher shows no inner maps, a stage is unknown, or the teacher's puts out no (N, C, H, W).
        """
        super().__init__()
        if teacher.module is None:
            raise SpecError("teacher.features: expected a teacher of fit50's or timm's, found one without inner maps")
        self.features = features
        pairs = [each.partition(":") for each in features.stages or student.names]
        self._names = {name: taught or name for name, _, taught in pairs}
        self._student, heard = _listened(student, self._names.keys(), gradients=True)
        self._teacher, heard_too = _listened(teacher.module, self._names.values(), gradients=False)
        self._hooks = [*heard, *heard_too]
        device = next(teacher.module.parameters()).device
        teacher.logits(*(torch.zeros(1, each.height, each.width, each.channels, device=device) for each in inputs))
        widths = {stage.name: stage.out for stage in student.network.stages}
        self.project = nn.ModuleDict({name: self._projection(widths, name) for name in self._names})

    def _projection(self, widths: Mapping[str, int], name: str) -> nn.Module:
        """What makes a student's map comparable with the teacher's."""
        if name not in widths:
            raise SpecError(f"teacher.features.stages: {name!r} is no stage of the student's{suggestion(name, widths)}")
        taught = self._teacher.get(self._names[name])
        if not isinstance(taught, Tensor) or taught.dim() != 4:
            raise SpecError(
                f"teacher.features.stages: expected a map (N, C, H, W) from the teacher's {self._names[name]!r}, found "
                f"{list(taught.shape) if isinstance(taught, Tensor) else type(taught).__name__}"
            )
        same = self.features.kind == "attention" or taught.shape[1] == widths[name]
        return nn.Identity() if same else nn.Conv2d(widths[name], taught.shape[1], 1)

    def loss(self) -> Tensor:
        """The loss times its weight, summed over the stages, in float32; a scalar."""
        losses = []
        for name, other in self._names.items():
            student, taught = self._student[name].float(), self._teacher[other].float()
            size = min(student.shape[2], taught.shape[2]), min(student.shape[3], taught.shape[3])
            student, taught = _pooled(student, size), _pooled(taught, size)
            match self.features:
                case Hint():
                    losses.append(F.mse_loss(self.project[name](student).float(), taught))
                case AttentionTransfer():
                    losses.append(F.mse_loss(_attention(student), _attention(taught)))
                case _:
                    assert_never(self.features)
        return self.features.weight * torch.stack(losses).sum()

    def forward(self) -> Tensor:
        return self.loss()

    def close(self) -> None:
        """Leaves both networks as they were."""
        for hook in self._hooks:
            hook.remove()


def _pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size)


def _attention(maps: Tensor) -> Tensor:
    """Where a map (N, C, H, W) is large: the mean over C of its squares, each image's of length 1; (N, H * W)."""
    return F.normalize(maps.square().mean(1).flatten(1))


def _listened(
    module: nn.Module, names: Collection[str], gradients: bool
) -> tuple[dict[str, Tensor], list[RemovableHandle]]:
    """What these parts of a module put out when it last ran with, or without, gradients; and the hooks that keep it."""
    maps: dict[str, Tensor] = {}

    def begin(_: nn.Module, __: object) -> None:
        if torch.is_grad_enabled() == gradients:
            maps.clear()

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            if torch.is_grad_enabled() == gradients:
                maps.setdefault(name, output)

        return hook

    parts = dict(module.named_modules())
    unknown = [name for name in names if name not in parts]
    if unknown:
        known = [name for name in parts if name.count(".") < 2]
        raise SpecError(f"teacher.features.stages: {unknown[0]!r} is no part of it{suggestion(unknown[0], known)}")
    hooks = [parts[name].register_forward_hook(keep(name)) for name in names]
    return maps, [module.register_forward_pre_hook(begin), *hooks]
