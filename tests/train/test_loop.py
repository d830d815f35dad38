"""Training learns, and repeated or resumed it ends with the same bits."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from fit50.data.dataset import Dataset
from fit50.data.images import Images
from fit50.evaluate.metrics import correct
from fit50.nn.compose import compose
from fit50.nn.deployed import Deployed
from fit50.nn.resnet import ResNet
from fit50.spec.blocks import SE, Swish
from fit50.spec.digest import edit
from fit50.spec.errors import CheckpointError, DataError, OutOfMemory, Stopped, StorageError, TrainingDiverged
from fit50.spec.monitor import Monitor
from fit50.spec.network import Fusion, Input, Network
from fit50.spec.training import LAMB, SGD, AdamW, Augment, Steps, Teacher, Train, TrivialAugment
from fit50.train import learner, train
from fit50.train.optim import averaged
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
SHORT = Train(epochs=3, batch=8, optimizer=AdamW(lr=0.003), ema=None, warmup=0.2, precision="float32")


class Listener(Monitor):
    """Keeps what it is told, and stops the training where it is asked to."""

    def __init__(self, stop: int | None = None, after: int | None = None) -> None:
        self.stop, self.after = stop, after
        self.steps: list[tuple[int, int]] = []
        self.epochs: list[Mapping[str, object]] = []
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, label: str, done: int, total: int) -> None:
        self.steps.append((done, total))
        if done == self.stop:
            raise KeyboardInterrupt

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        if event != "epoch":
            return
        self.epochs.append(facts)
        if facts["epoch"] == self.after:
            raise KeyboardInterrupt


class Spoken:
    """A teacher of whom only answers are known."""

    module = None

    def to(self, device: torch.device) -> Self:
        return self


@pytest.fixture
def start(narrow: Narrow) -> Checkpoint:
    network = narrow((1, 1), dropout=0.2, attention=SE(reduction=4))
    return Checkpoint(network, compose(network).state_dict(), ("digit0", "digit1", "digit2", "digit3"))


@pytest.fixture
def few(digits: Dataset) -> Dataset:
    """26 images to learn from, three batches of 8 and two left over; 12 to watch."""
    splits = {"train": digits.split("train").take(26, 0), "val": digits.split("val").take(12, 0)}
    return replace(digits, splits=splits)


def run(
    start: Checkpoint, step: Train, data: Dataset, saved: Path, listener: Monitor | None = None, **options: object
) -> Checkpoint:
    return train(start, step, data, seed=3, saved=saved, monitor=listener or Monitor(), **options)  # type: ignore[arg-type]


def identical(first: Checkpoint, second: Checkpoint) -> bool:
    assert set(first.tensors) == set(second.tensors)
    return all(torch.equal(tensor, second.tensors[key]) for key, tensor in first.tensors.items())


def accuracy(checkpoint: Checkpoint, images: Images) -> float:
    return float(correct(Deployed(checkpoint.module()), images).mean())


def test_training_learns_digits(start: Checkpoint, digits: Dataset, tmp_path: Path) -> None:
    listener = Listener()
    step = Train(epochs=8, batch=8, optimizer=AdamW(lr=0.01), ema=0.9, augment=Augment(flip=0, shift=1))
    after = run(start, step, digits, tmp_path / "saved", listener)
    losses = [float(str(facts["loss"])) for facts in listener.epochs]
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy(start, digits.split("test")) < 0.5
    assert accuracy(after, digits.split("test")) > 0.7
    assert listener.epochs[-1]["val"] == pytest.approx(accuracy(after, digits.split("val")), abs=0.02)
    assert (after.network, after.classes) == (start.network, start.classes)
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in after.tensors.values())


def test_progress_counts_every_step(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    listener = Listener()
    run(start, SHORT, few, tmp_path / "saved", listener)
    assert listener.steps == [(step, 9) for step in range(1, 10)]
    assert [facts["epoch"] for facts in listener.epochs] == [1, 2, 3]


def test_the_seed_decides_everything(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = run(start, SHORT, few, tmp_path / "a")
    torch.manual_seed(2)
    assert identical(first, run(start, SHORT, few, tmp_path / "b"))
    other = train(start, SHORT, few, seed=4, saved=tmp_path / "c", monitor=Monitor())
    assert not identical(first, other)


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize(
    "optimizer", [SGD(lr=0.05), SGD(lr=0.05, momentum=0), AdamW(lr=0.003)], ids=["sgd", "sgd-plain", "adamw"]
)
def test_a_resumed_training_ends_with_the_same_bits(
    start: Checkpoint, few: Dataset, tmp_path: Path, optimizer: SGD | AdamW, ema: float | None
) -> None:
    step = SHORT.model_copy(update={"optimizer": optimizer, "ema": ema})
    calm = Listener()
    undisturbed = run(start, step, few, tmp_path / "never", calm, save_seconds=1000)
    saved = tmp_path / "saved"
    with pytest.raises(KeyboardInterrupt):
        run(start, step, few, saved, Listener(stop=6), save_seconds=0)  # the last batch of the second epoch
    rest = Listener()
    resumed = run(start, step, few, saved, rest)
    assert [facts["epoch"] for facts in rest.epochs] == [2, 3]
    assert rest.steps[0] == (6, 9)
    assert [facts["loss"] for facts in rest.epochs] == [facts["loss"] for facts in calm.epochs[1:]]
    assert identical(resumed, undisturbed)


MIXED = Augment(crop=(0.5, 1.0), policy=TrivialAugment(), erasing=0.3, mixup=0.5, cutmix=1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": LAMB(lr=0.01), "augment": MIXED},
        {"optimizer": SGD(lr=0.05), "sam": 0.05, "drop_path": 0.5},
        {"optimizer": SGD(lr=0.05), "frozen": 0.4, "stage_decay": 0.5},
        {"balance": "sampling", "start_size": 8, "accumulate": 2},
        {"balance": "weights", "loss": "bce", "repeats": 2},
    ],
    ids=lambda change: ", ".join(change),
)
def test_whatever_is_resumed_ends_with_the_same_bits(
    start: Checkpoint, few: Dataset, tmp_path: Path, change: dict[str, object]
) -> None:
    step = SHORT.model_copy(update={"ema": 0.9, **change})
    undisturbed = run(start, step, few, tmp_path / "never")
    for stop in (2, 5, 9):
        saved = tmp_path / f"stopped {stop}"
        with pytest.raises(KeyboardInterrupt):
            run(start, step, few, saved, Listener(stop=stop), save_seconds=0)
        torch.manual_seed(stop)
        assert identical(run(start, step, few, saved), undisturbed)


def test_a_training_killed_at_the_end_of_an_epoch_is_resumed(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    """The epoch was recorded and not yet kept: it is done again, with the same bits."""
    saved = tmp_path / "saved"
    with pytest.raises(KeyboardInterrupt):
        run(start, SHORT, few, saved, Listener(after=2), save_seconds=0)
    rest = Listener()
    resumed = run(start, SHORT, few, saved, rest)
    assert [facts["epoch"] for facts in rest.epochs] == [2, 3]
    assert rest.steps[0] == (6, 9)
    assert identical(resumed, run(start, SHORT, few, tmp_path / "never"))


def test_nothing_is_kept_before_its_time(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    run(start, SHORT, few, tmp_path / "saved", save_seconds=1000)
    assert list(tmp_path.iterdir()) == []


def test_the_average_is_what_is_kept(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    last = run(start, SHORT, few, tmp_path / "a")
    mean = run(start, SHORT.model_copy(update={"ema": 0.9}), few, tmp_path / "b")
    assert not torch.equal(last.tensors["fc.weight"], mean.tensors["fc.weight"])
    assert not torch.equal(last.tensors["bn1.running_mean"], mean.tensors["bn1.running_mean"])
    assert torch.equal(last.tensors["bn1.num_batches_tracked"], mean.tensors["bn1.num_batches_tracked"])


def test_every_step_is_averaged(
    start: Checkpoint, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def spy(module: nn.Module, decay: float) -> nn.Module:
        made.append(averaged(module, decay))
        return made[-1]

    monkeypatch.setattr(learner, "averaged", spy)
    after = run(start, SHORT.model_copy(update={"ema": 0.9}), few, tmp_path / "saved")
    assert [int(average.n_averaged) for average in made] == [9]
    assert torch.equal(after.tensors["fc.weight"], made[0].module.fc.weight)


def test_a_teacher_teaches(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    """A student that hears only its teacher, which says class 2 of everything, says so too."""

    class Stubborn(Spoken):
        def logits(self, *images: torch.Tensor) -> torch.Tensor:
            assert images[0].dtype == torch.uint8
            return torch.tensor([0.0, 0.0, 50.0, 0.0]).expand(len(images[0]), 4)

    step = SHORT.model_copy(update={"teacher": Teacher(after=1, weight=1.0), "epochs": 6})
    taught = run(start, step, few, tmp_path / "a", teaching=Stubborn())
    share = float((few.split("train").labels == 2).mean())
    assert accuracy(taught, few.split("train")) == pytest.approx(share)
    assert not identical(taught, run(start, SHORT.model_copy(update={"epochs": 6}), few, tmp_path / "b"))


@pytest.mark.parametrize(
    "change",
    [
        {"label_smoothing": 0.5},
        {"clip": 0.01},
        {"clip": None},
        {"augment": Augment(flip=0, erase=4)},
        {"augment": Augment(crop=(0.3, 1.0))},
        {"augment": Augment(policy=TrivialAugment())},
        {"augment": Augment(mixup=1.0)},
        {"augment": Augment(cutmix=1.0)},
        {"augment": Augment(erasing=1.0)},
        {"warmup": 0.9},
        {"schedule": Steps(at=(0.1,))},
        {"optimizer": LAMB()},
        {"loss": "bce"},
        {"sam": 0.05},
        {"stage_decay": 0.5},
        {"frozen": 0.5},
        {"drop_path": 0.9},
        {"balance": "weights"},
        {"balance": "sampling"},
        {"size": 6},
        {"start_size": 6},
        {"ema": 0.5},
    ],
    ids=str,
)
def test_every_setting_matters(start: Checkpoint, few: Dataset, tmp_path: Path, change: dict[str, object]) -> None:
    step = SHORT.model_copy(update={"epochs": 1, "optimizer": SGD(lr=0.1)})
    assert not identical(
        run(start, step, few, tmp_path / "a"), run(start, step.model_copy(update=change), few, tmp_path / "b")
    )


def test_a_loss_that_never_is_finite_again_stops_the_training(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    step = SHORT.model_copy(update={"optimizer": SGD(lr=1e9), "clip": None, "epochs": 6, "warmup": 0.0})
    listener = Listener()
    with pytest.raises(TrainingDiverged, match=r"lowered 3 times, to 1.56e\+07; lower the learning rate"):
        run(start, step, few, tmp_path / "saved", listener, save_seconds=1000)
    assert [line.split(":")[1] for line in listener.said] == [
        f" back to its beginning, at {factor} of the learning rate" for factor in ("0.25", "0.0625", "0.015625")
    ]


class Explosion(Spoken):
    """A teacher whose answers to one batch are not finite."""

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0

    def logits(self, *images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return torch.full((len(images[0]), 4), float("nan") if self.calls == self.at else 0.0)


def test_a_loss_that_is_not_finite_takes_the_training_back_with_a_lower_rate(
    start: Checkpoint, few: Dataset, tmp_path: Path
) -> None:
    step = SHORT.model_copy(update={"teacher": Teacher(after=1)})
    listener, teacher, saved = Listener(), Explosion(at=5), tmp_path / "saved"
    after = run(start, step, few, saved, listener, teaching=teacher, save_seconds=0)
    back = "back to what was kept in saved, at 0.25 of the learning rate"
    assert listener.said[0] == f"the loss is no longer finite: {back}"
    assert listener.steps[:8] == [(1, 9), (2, 9), (3, 9), (4, 9), (5, 9), (6, 9), (5, 9), (6, 9)]
    assert [facts["epoch"] for facts in listener.epochs] == [1, 2, 3]
    assert all(np.isfinite(float(str(facts["loss"]))) for facts in listener.epochs)
    assert all(tensor.isfinite().all() for tensor in after.tensors.values())
    calm = Listener()
    run(start, step, few, tmp_path / "calm", calm, teaching=Explosion(at=0))
    lowered, usual = (float(str(each.epochs[-2]["lr"])) for each in (listener, calm))
    assert lowered == pytest.approx(usual / 4)


def test_weights_that_the_last_step_broke_are_no_result(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    """The loss, which came before, was finite."""
    modules: list[ResNet] = []

    def kept(checkpoint: Checkpoint) -> ResNet:
        modules.append(checkpoint.module())
        return modules[-1]

    class Breaking(Listener):
        def progress(self, label: str, done: int, total: int) -> None:
            super().progress(label, done, total)
            if done == total and len(modules) == 1:
                modules[0].fc.bias.data.fill_(float("inf"))

    listener = Breaking()
    step = SHORT.model_copy(update={"epochs": 1, "clip": None})
    after = run(start, step, few, tmp_path / "saved", listener, build=kept)
    assert all(tensor.isfinite().all() for tensor in after.tensors.values())
    assert ["no longer finite" in line for line in listener.said] == [True, False]


def test_a_batch_larger_than_the_dataset_is_the_dataset(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    listener = Listener()
    run(start, SHORT.model_copy(update={"batch": 1000, "epochs": 2}), few, tmp_path / "saved", listener)
    assert listener.steps == [(1, 2), (2, 2)]


def test_one_image_is_too_few(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    one = replace(few, splits={**few.splits, "train": few.split("train").take(1, 0)})
    with pytest.raises(DataError, match="expected at least 2 training images"):
        run(start, SHORT, one, tmp_path / "saved")


def test_bf16_trains_close_to_float32(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    step = SHORT.model_copy(update={"epochs": 1, "batch": 13})
    single = run(start, step, few, tmp_path / "a")
    half = run(start, step.model_copy(update={"precision": "bf16"}), few, tmp_path / "b")
    assert not identical(single, half)
    assert {tensor.dtype for tensor in half.tensors.values()} == {torch.float32, torch.int64}
    found, expected = half.tensors["fc.weight"].numpy(), single.tensors["fc.weight"].numpy()
    assert np.abs(found - expected).max() < 0.02


def test_the_checkpoint_that_was_trained_is_unchanged(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    before = {key: tensor.clone() for key, tensor in start.tensors.items()}
    run(start, SHORT, few, tmp_path / "saved")
    assert all(torch.equal(start.tensors[key], tensor) for key, tensor in before.items())


def test_swish_is_annealed_and_then_plain(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    """beta is on its way in the first half of the training, and afterwards the network is an ordinary one."""
    waiting = start.with_(network=edit(start.network, "activation", Swish(start=1000.0)))
    seen: list[float] = []

    class Watcher(Monitor):
        def progress(self, label: str, done: int, total: int) -> None:
            module = next(m for m in modules if not isinstance(m.relu, nn.ReLU))
            seen.append(float(module.relu.beta))

    modules: list[ResNet] = []

    def kept(checkpoint: Checkpoint) -> ResNet:
        modules.append(checkpoint.module())
        return modules[-1]

    after = run(waiting, SHORT, few, tmp_path / "training", Watcher(), build=kept)
    positions = [(i + 1) / 9 for i in range(9)]
    expected = [((1 - min(1, 2 * p)) / 1000**2 + min(1, 2 * p)) ** -0.5 for p in positions]
    assert seen == pytest.approx(expected)
    assert after.network == edit(start.network, "activation", Swish())
    assert isinstance(after.module().relu, nn.SiLU)


def test_an_annealing_that_is_resumed_ends_with_the_same_bits(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    waiting = start.with_(network=edit(start.network, "activation", Swish(start=1000.0)))
    step = SHORT.model_copy(update={"ema": 0.9, "epochs": 4})
    whole = run(waiting, step, few, tmp_path / "whole")
    for after in (1, 3):
        saved = tmp_path / f"stopped {after}"
        with pytest.raises(KeyboardInterrupt):
            run(waiting, step, few, saved, Listener(stop=3 * after + 1), save_seconds=0)
        assert identical(run(waiting, step, few, saved), whole)


def test_the_averaged_network_is_annealed_too(
    start: Checkpoint, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its validation accuracy is what the log shows."""
    averages: list[nn.Module] = []

    def kept(module: nn.Module, decay: float) -> nn.Module:
        averages.append(averaged(module, decay))
        return averages[-1]

    monkeypatch.setattr(learner, "averaged", kept)
    waiting = start.with_(network=edit(start.network, "activation", Swish(start=1000.0)))
    run(waiting, SHORT.model_copy(update={"ema": 0.9}), few, tmp_path / "training")
    assert averages[0].module.relu.beta == 1


def test_what_another_training_left_is_refused(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    saved = tmp_path / "training"
    with pytest.raises(KeyboardInterrupt):
        run(start, SHORT, few, saved, Listener(stop=7), save_seconds=0)
    kept = saved.read_bytes()
    others = {
        "recipe": (start, SHORT.model_copy(update={"epochs": 20}), few),
        "network": (start.with_(network=edit(start.network, "activation", Swish())), SHORT, few),
        "data": (start, SHORT, replace(few, identity="others")),
    }
    for checkpoint, step, data in others.values():
        with pytest.raises(CheckpointError, match="found 6 steps of one with another recipe, network, seed or data"):
            run(checkpoint, step, data, saved)
    assert saved.read_bytes() == kept


def test_a_request_to_stop_keeps_the_last_step(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    """SIGTERM in the middle of an epoch; what is resumed ends with the same bits."""

    class Terminator(Listener):
        def progress(self, label: str, done: int, total: int) -> None:
            super().progress(label, done, total)
            if done == 5:
                signal.raise_signal(signal.SIGTERM)

    before, saved = signal.getsignal(signal.SIGTERM), tmp_path / "saved"
    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        run(start, SHORT, few, saved, Terminator(), save_seconds=1000)
    assert signal.getsignal(signal.SIGTERM) is before
    rest = Listener()
    resumed = run(start, SHORT, few, saved, rest)
    assert rest.steps[0] == (6, 9)
    assert identical(resumed, run(start, SHORT, few, tmp_path / "never"))


def test_a_request_in_the_last_step_loses_nothing(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    class Late(Listener):
        def progress(self, label: str, done: int, total: int) -> None:
            if done == total:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped):
        run(start, SHORT, few, tmp_path / "a", Late())
    rest = Listener()
    after = run(start, SHORT, few, tmp_path / "a", rest)
    assert rest.steps == []
    assert identical(after, run(start, SHORT, few, tmp_path / "b"))


@pytest.mark.parametrize("content", [b"", b"no safetensors", save({"loss": torch.zeros(1)})])
def test_a_file_that_is_no_state_is_refused(content: bytes, start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    (tmp_path / "saved").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected the state of (a|this) training.*remove it"):
        run(start, SHORT, few, tmp_path / "saved")


def test_ctrl_c_keeps_the_last_step_too(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    class Impatient(Listener):
        def progress(self, label: str, done: int, total: int) -> None:
            if done == 2:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(start, SHORT, few, tmp_path / "saved", Impatient(), save_seconds=1000)
    rest = Listener()
    run(start, SHORT, few, tmp_path / "saved", rest)
    assert rest.steps[0] == (3, 9)


def test_a_full_disk_keeps_the_last_good_state(
    start: Checkpoint, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, writes = tmp_path / "saved", [0]
    whole = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        writes[0] += 1
        if writes[0] == 5:
            whole(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="disk is full"):
        run(start, SHORT, few, saved, save_seconds=0)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    rest = Listener()
    resumed = run(start, SHORT, few, saved, rest)
    assert rest.steps[0] == (5, 9)
    assert identical(resumed, run(start, SHORT, few, tmp_path / "never"))


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 12")],
    ids=lambda error: type(error).__name__,
)
def test_a_batch_too_large_for_memory_goes_through_in_pieces(
    start: Checkpoint, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    forward, seen = ResNet.forward, []

    def small(self: ResNet, *images: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
        if self.training:
            seen.append(len(images[0]))
            if len(images[0]) > 3:
                raise error
        return forward(self, *images, present=present)

    monkeypatch.setattr(ResNet, "forward", small)
    listener = Listener()
    step = SHORT.model_copy(update={"epochs": 1})
    found = run(start, step, few, tmp_path / "a", listener)
    assert seen == [8, 4, *[2] * 12]
    assert [line.split(": ")[1] for line in listener.said[:-1]] == [
        f"batches of 8 go through in {pieces} pieces from here on" for pieces in (2, 4)
    ]
    accumulated = run(start, step.model_copy(update={"accumulate": 4}), few, tmp_path / "b")
    assert identical(found, accumulated)


def test_memory_that_is_never_enough_is_named(
    start: Checkpoint, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ResNet, *images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ResNet, "forward", full)
    with pytest.raises(OutOfMemory, match="8 images for one device do not fit into memory in 4 pieces"):
        run(start, SHORT, few, tmp_path / "saved")


def test_other_errors_are_not_taken_for_memory(
    start: Checkpoint, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ResNet, *images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(ResNet, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(start, SHORT, few, tmp_path / "saved")


def test_accumulated_gradients_are_the_whole_batchs(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    """But for the batch norms, which see pieces: with fixed statistics the weights are the same."""
    step = SHORT.model_copy(update={"epochs": 1, "frozen": 1.0, "optimizer": SGD(lr=0.1)})
    plain = start.with_(network=edit(start.network, "head.dropout", 0))
    whole = run(plain, step, few, tmp_path / "a").tensors["fc.weight"]
    pieces = run(plain, step.model_copy(update={"accumulate": 3}), few, tmp_path / "b").tensors["fc.weight"]
    assert not torch.equal(whole, start.tensors["fc.weight"])
    assert torch.allclose(whole, pieces, atol=1e-6)


def test_frozen_weights_and_statistics_stay(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    after = run(start, SHORT.model_copy(update={"frozen": 1.0}), few, tmp_path / "saved")
    changed = {key for key, tensor in after.tensors.items() if not torch.equal(tensor, start.tensors[key])}
    assert changed == {"fc.weight", "fc.bias"}


def test_two_inputs_are_trained(digits: Dataset, narrow: Narrow, tmp_path: Path) -> None:
    """The label is in the second image alone: the first one's are all of one digit."""
    network = narrow((1, 1))
    image = network.inputs[0]
    second = image.model_copy(update={"name": "second"})
    network = network.model_copy(
        update={"inputs": (image, second), "fusion": Fusion(width=16, modality_dropout=0.2, norm="per-input")}
    )

    def paired(split: str) -> Images:
        images = digits.split(split).take(200, 0)
        return Images((np.repeat(images.pixels[0][:1], len(images), 0), *images.pixels), images.labels, images.names)

    data = replace(digits, splits={split: paired(split) for split in ("train", "val")})
    start = Checkpoint(network, compose(network, seed=0).state_dict(), digits.classes)
    step = Train(epochs=8, batch=8, optimizer=AdamW(lr=0.01), ema=None, augment=Augment(flip=0, shift=1))
    listener = Listener()
    run(start, step, data, tmp_path / "saved", listener)
    assert float(str(listener.epochs[-1]["val"])) > 0.5  # of four classes


@pytest.mark.parametrize(("position", "expected"), [(0.1, 16), (0.3, 21), (0.5, 27), (0.7, 32), (1.0, 32)])
def test_images_grow_in_steps(position: float, expected: int) -> None:
    image = Input(height=32, width=64)
    assert learner.size(Train(start_size=16), image, position) == (expected, 2 * expected)
    assert learner.size(Train(size=24), image, position) == (24, 48)
    assert learner.size(Train(), image, position) == (32, 64)
