"""One step of a training: from a batch of images to new weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fit50.data.augment import augment, mix
from fit50.data.draws import draw
from fit50.data.split import Batch
from fit50.data.stream import Stream
from fit50.nn.activation import anneal
from fit50.nn.deployed import Normalize
from fit50.nn.resnet import ResNet
from fit50.spec.errors import OutOfMemory
from fit50.spec.monitor import Monitor
from fit50.spec.network import Input
from fit50.spec.training import Train
from fit50.train.devices import summed, with_global_norms
from fit50.train.distillation import FeatureMatch, answers_loss
from fit50.train.feed import Feed, Indices, drawn
from fit50.train.losses import class_weights, supervised, targets
from fit50.train.optim import averaged, freeze, frozen, optimizer, rate, set_drop_path, sharpened
from fit50.train.snapshot import State
from fit50.train.statistics import SETTLED
from fit50.train.teachers import Teaching, cached
from fit50.weights.checkpoint import Checkpoint

LOWER = 0.25
"""The factor on the learning rate after a loss that was not finite."""
_SIZES = 4
"""How many sizes of images progressive resizing goes through, over two thirds of the training."""
_FULL = ("can't allocate memory", "not enough memory", "out of memory")


class Learner:
    """A network, its optimizer, and what a batch does to them.

    Attributes:
        state: all that changes.
        rate: the learning rate of the last step.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        step: Train,
        feed: Feed,
        fabric: Fabric,
        monitor: Monitor,
        teaching: Teaching | None = None,
        build: Callable[[Checkpoint], ResNet] = Checkpoint.module,
    ) -> None:
        self.step, self.feed, self.fabric, self.monitor, self.teaching = step, feed, fabric, monitor, teaching
        self.inputs, self.classes = checkpoint.network.inputs, checkpoint.network.head.classes
        self.normalize = [Normalize(image).to(fabric.device) for image in self.inputs]
        labels = torch.from_numpy(feed.images.labels)
        self.weights = class_weights(labels, self.classes).to(fabric.device) if step.balance == "weights" else None

        module = build(checkpoint).train()
        if step.drop_path is not None:
            set_drop_path(module, step.drop_path)
        if fabric.world_size > 1:
            with_global_norms(module)
        module = module.to(fabric.device).to(memory_format=torch.channels_last)
        average = averaged(module, step.ema) if step.ema is not None else None
        self.taught, self.match = self._taught(), self._matched(module)
        self.beside = list(self.match.parameters()) if self.match else []
        optim = optimizer(module, step, self.beside)
        model = module if step.compile == "none" else cast(nn.Module, torch.compile(module, mode=step.compile))
        self.model, self.optimizer = fabric.setup(model, optim)
        loss = torch.zeros((), device=fabric.device)
        self.state = State(module, optim, average, self.match, loss, pieces=step.accumulate)
        self.rate, self.frozen = 0.0, False

    def learn(self, index: int, chosen: Indices, batch: Batch) -> None:
        """The step of this number.

        Args:
            index: decides with the seed everything random.
            chosen: which training images the batch holds.
            batch: this process's part of the whole batch.

        Raises:
            OutOfMemory: a batch does not fit, even in pieces.
        """
        state, position = self.state, (index + 1) / self.feed.total
        self.rate = self.step.optimizer.lr * rate(position, self.step) * LOWER**state.lowered
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["scale"]
        self._freeze(frozen(position, self.step))
        anneal(state.module, position / self.step.anneal)
        torch.manual_seed(drawn(self.feed.seed, f"dropout {self.fabric.global_rank}", index).initial_seed())
        images, soft = self._prepared(index, position, batch)
        loss = self._gradients(images, soft, chosen)
        if self.step.sam is not None:
            with sharpened(state.module, self.step.sam):
                for parameter in self.beside:
                    parameter.grad = None
                self._gradients(images, soft, chosen)
        for parameter in self.beside:
            assert parameter.grad is not None
            parameter.grad = summed(self.fabric, parameter.grad) / self.fabric.world_size
        if self.step.clip is not None:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.step.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if state.average is not None:
            state.average.update_parameters(state.module)
        state.loss += loss
        state.done = index + 1

    @contextmanager
    def evaluating(self) -> Iterator[Callable[..., Tensor]]:
        """uint8 images (N, H, W, C) for each input to logits, by the weights that would be kept now."""
        kept = self._kept()
        anneal(kept, self.state.done / self.feed.total / self.step.anneal)
        kept.eval()
        yield lambda *images: kept(*(f(image) for f, image in zip(self.normalize, images, strict=True)))
        self.state.module.train()
        self._freeze(self.frozen, again=True)

    def result(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint with what was learned; every activation has reached its end."""
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in self._kept().state_dict().items()}
        return checkpoint.with_(network=checkpoint.network.settled(), tensors=tensors)

    @property
    def settled(self) -> bool:
        """Whether the batch statistics can be believed: held ones can, and those of many steps."""
        learns = any(isinstance(part, _BatchNorm) for part in self.state.module.modules())
        return not learns or frozen(1.0, self.step) or self.feed.total >= SETTLED

    def close(self) -> None:
        """Leaves the teacher as it was."""
        if self.match is not None:
            self.match.close()
        if self.step.compile != "none":
            torch._dynamo.reset()  # what was compiled does not notice other hooks on the same code

    def _kept(self) -> nn.Module:
        return self.state.average.module if self.state.average is not None else self.state.module

    def _freeze(self, now: bool, again: bool = False) -> None:
        if now != self.frozen or (now and again):
            freeze(self.state.module, now)
        self.frozen = now

    def _taught(self) -> Tensor | None:
        """What the teacher says of every training image (N, classes), where these never change."""
        step = self.step
        if self.teaching is None:
            return None
        self.teaching.to(self.fabric.device)
        streamed = isinstance(self.feed.images, Stream)
        changing = step.augment.draws or step.size or step.start_size or streamed
        if changing or (step.teacher and step.teacher.features):
            return None
        with self.fabric.autocast():
            return cached(self.teaching, self.feed.images, self.fabric.device)

    def _matched(self, module: ResNet) -> FeatureMatch | None:
        """What compares inner maps with the teacher's, where the step asks for it."""
        features = self.step.teacher.features if self.step.teacher else None
        if features is None or self.teaching is None:
            return None
        torch.manual_seed(drawn(self.feed.seed, "beside", 0).initial_seed())
        return FeatureMatch(features, module, self.teaching, self.inputs).to(self.fabric.device)

    def _prepared(self, index: int, position: float, batch: Batch) -> tuple[tuple[Tensor, ...], Tensor]:
        """Augmented images, uint8 or 0..255 (N, H, W, C) for each input, and soft targets (N, classes)."""
        how, device = self.step.augment, self.fabric.device
        first = self.inputs[0]
        draws = draw(
            self.feed.batch,
            how,
            (first.height, first.width),
            size(self.step, first, position),
            drawn(self.feed.seed, "augment", index),
        )[self.feed.own]
        images = tuple(each.to(device, non_blocking=True) for each in batch.images)
        images = augment(images, how, draws)
        soft = targets(batch.labels.to(device, non_blocking=True), self.classes, self.step.label_smoothing)
        return mix(images, soft, how, draws) if how.mixes else (images, soft)

    def _gradients(self, images: tuple[Tensor, ...], soft: Tensor, chosen: Indices) -> Tensor:
        """Adds the mean loss's gradients to the parameters; in more pieces from now on where memory runs out."""
        while True:
            try:
                return self._in_pieces(images, soft, torch.from_numpy(chosen))
            except RuntimeError as error:
                if not isinstance(error, torch.OutOfMemoryError) and not any(text in str(error) for text in _FULL):
                    raise
                reason = str(error).splitlines()[0]
            self.optimizer.zero_grad()
            pieces = 2 * self.state.pieces
            if self.fabric.world_size > 1 or pieces > len(soft) // 2:
                raise OutOfMemory(
                    f"train: {len(soft)} images for one device do not fit into memory in {self.state.pieces} pieces "
                    f"({reason}); raise train.accumulate, or take a smaller train.batch or --image-size"
                )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.monitor.say(f"out of memory: batches of {len(soft)} go through in {pieces} pieces from here on")
            self.state.pieces = pieces

    def _in_pieces(self, images: tuple[Tensor, ...], soft: Tensor, chosen: Tensor) -> Tensor:
        """The mean loss (), whose gradients were added; the teacher sees each piece as the student does."""
        total = torch.zeros((), device=soft.device)
        pieces = min(self.state.pieces, max(1, len(soft) // 2))
        split = [tensor.tensor_split(pieces) for tensor in (soft, chosen, *images)]
        for number, (wanted, indices, *part) in enumerate(zip(*split, strict=True)):
            waits = self.fabric.world_size > 1 and number + 1 < pieces
            with self.fabric.no_backward_sync(self.model) if waits else nullcontext():
                logits = self.model(*(f(image) for f, image in zip(self.normalize, part, strict=True)))
                objective = self._loss(logits.float(), wanted, indices, part) * (len(wanted) / len(soft))
                self.fabric.backward(objective)
            total += objective.detach()
        return total

    def _loss(self, logits: Tensor, wanted: Tensor, indices: Tensor, images: list[Tensor]) -> Tensor:
        """The labels' loss, weighted with the teacher's where there is one."""
        loss, teacher = supervised(self.step, logits, wanted, self.weights), self.step.teacher
        if teacher is None or self.teaching is None:
            return loss
        if self.taught is not None:
            taught = self.taught[indices].to(logits.device)
        else:
            with self.fabric.autocast():
                taught = self.teaching.logits(*images)
        loss = (1 - teacher.weight) * loss + teacher.weight * answers_loss(teacher, logits, taught, wanted)
        return loss + self.match.loss() if self.match is not None else loss


def size(step: Train, image: Input, position: float) -> tuple[int, int]:
    """(height, width) of the training images at a position from 0 to 1 in the training."""
    short = min(image.height, image.width)
    last = step.size or short
    first = step.start_size or last
    grown = min(1.0, int(1.5 * position * (_SIZES - 1)) / (_SIZES - 1))
    side = round(first + grown * (last - first))
    return round(image.height * side / short), round(image.width * side / short)
