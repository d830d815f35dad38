"""Training learns, and repeated or resumed it ends with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fit50.data.dataset import Dataset, Images
from fit50.evaluate.metrics import correct
from fit50.nn.compose import compose
from fit50.nn.deployed import Deployed
from fit50.spec.blocks import SE, Swish
from fit50.spec.digest import edit
from fit50.spec.errors import CheckpointError, DataError, TrainingDiverged
from fit50.spec.monitor import Monitor
from fit50.spec.network import Network
from fit50.spec.training import SGD, AdamW, Augment, Teacher, Train
from fit50.train import loop, train
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

    def progress(self, label: str, done: int, total: int) -> None:
        self.steps.append((done, total))
        if done == self.stop:
            raise KeyboardInterrupt

    def record(self, event: str, facts: Mapping[str, object]) -> None:
        assert event == "epoch"
        self.epochs.append(facts)
        if facts["epoch"] == self.after:
            raise KeyboardInterrupt


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
    undisturbed = run(start, step, few, tmp_path / "never", save_seconds=0)
    saved = tmp_path / "saved"
    with pytest.raises(KeyboardInterrupt):
        run(start, step, few, saved, Listener(stop=8), save_seconds=0)  # the second batch of the third epoch
    rest = Listener()
    resumed = run(start, step, few, saved, rest)
    assert [facts["epoch"] for facts in rest.epochs] == [3]
    assert rest.steps[0] == (7, 9)
    assert identical(resumed, undisturbed)


def test_a_training_killed_at_the_end_of_an_epoch_is_resumed(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    """The epoch was recorded and not yet kept: it is done again, with the same bits."""
    saved = tmp_path / "saved"
    with pytest.raises(KeyboardInterrupt):
        run(start, SHORT, few, saved, Listener(after=2), save_seconds=0)
    rest = Listener()
    resumed = run(start, SHORT, few, saved, rest)
    assert [facts["epoch"] for facts in rest.epochs] == [2, 3]
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

    monkeypatch.setattr(loop, "averaged", spy)
    after = run(start, SHORT.model_copy(update={"ema": 0.9}), few, tmp_path / "saved")
    assert [int(average.n_averaged) for average in made] == [9]
    assert torch.equal(after.tensors["fc.weight"], made[0].module.fc.weight)


def test_a_teacher_teaches(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    """A student that hears only its teacher, which says class 2 of everything, says so too."""

    class Stubborn(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.requires_grad is False
            return torch.tensor([0.0, 0.0, 50.0, 0.0]).expand(len(x), 4)

    step = SHORT.model_copy(update={"teacher": Teacher(after=1, weight=1.0), "epochs": 6})
    taught = run(start, step, few, tmp_path / "a", teacher=Stubborn().eval())
    share = float((few.split("train").labels == 2).mean())
    assert accuracy(taught, few.split("train")) == pytest.approx(share)
    assert not identical(taught, run(start, SHORT.model_copy(update={"epochs": 6}), few, tmp_path / "b"))


@pytest.mark.parametrize(
    "change",
    [{"label_smoothing": 0.5}, {"clip": 0.01}, {"clip": None}, {"augment": Augment(flip=0, erase=4)}, {"warmup": 0.9}],
    ids=str,
)
def test_every_setting_matters(start: Checkpoint, few: Dataset, tmp_path: Path, change: dict[str, object]) -> None:
    step = SHORT.model_copy(update={"epochs": 1, "optimizer": SGD(lr=0.1)})
    assert not identical(
        run(start, step, few, tmp_path / "a"), run(start, step.model_copy(update=change), few, tmp_path / "b")
    )


def test_a_loss_that_is_no_longer_finite_stops_the_training(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    step = SHORT.model_copy(update={"optimizer": SGD(lr=1e9), "clip": None, "epochs": 6, "warmup": 0.0})
    with pytest.raises(TrainingDiverged, match=r"lower the learning rate \(found 1000000000.0\) or clip the gradient"):
        run(start, step, few, tmp_path / "saved", save_seconds=1000)


def test_a_batch_larger_than_the_dataset_is_the_dataset(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    listener = Listener()
    run(start, SHORT.model_copy(update={"batch": 1000, "epochs": 2}), few, tmp_path / "saved", listener)
    assert listener.steps == [(1, 2), (2, 2)]


def test_one_image_is_too_few(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    one = replace(few, splits={**few.splits, "train": few.split("train").take(1, 0)})
    with pytest.raises(DataError, match="expected at least 2 training images"):
        run(start, SHORT, one, tmp_path / "saved")


@pytest.mark.parametrize(
    ("wanted", "native", "expected"),
    [
        ("auto", True, "bf16-mixed"),
        ("auto", False, "32-true"),
        ("float32", True, "32-true"),
        ("bf16", False, "bf16-mixed"),
    ],
)
def test_precision_is_the_steps(wanted: str, native: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(loop, "has_bf16", lambda: native)
    assert loop.precision(Train.parse({"precision": wanted})) == expected


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

    modules: list[nn.Module] = []
    compose_ = Checkpoint.module

    def kept(self: Checkpoint) -> nn.Module:
        modules.append(compose_(self))
        return modules[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "module", kept)
        after = run(waiting, SHORT, few, tmp_path / "training", Watcher())
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

    monkeypatch.setattr(loop, "averaged", kept)
    waiting = start.with_(network=edit(start.network, "activation", Swish(start=1000.0)))
    run(waiting, SHORT.model_copy(update={"ema": 0.9}), few, tmp_path / "training")
    assert averages[0].module.relu.beta == 1


def test_what_another_training_left_is_refused(start: Checkpoint, few: Dataset, tmp_path: Path) -> None:
    saved = tmp_path / "training"
    with pytest.raises(KeyboardInterrupt):
        run(start, SHORT, few, saved, Listener(stop=7), save_seconds=0)
    with pytest.raises(CheckpointError, match="holds 2 epochs of another training; remove it"):
        run(start, SHORT.model_copy(update={"epochs": 2}), few, saved)
