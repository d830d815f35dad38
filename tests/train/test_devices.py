"""Several processes learn together what one alone would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fit50.spec import presets
from fit50.spec.digest import edit
from fit50.spec.errors import SpecError
from fit50.spec.training import Train
from fit50.train import devices
from fit50.weights.checkpoint import Checkpoint

_TRAINING = """
import json
import sys
from pathlib import Path
import numpy as np, torch
from fit50.data.audit import Audit, Sizes
from fit50.data.dataset import Dataset
from fit50.data.images import Images
from fit50.nn.compose import compose
from fit50.spec import presets
from fit50.spec.digest import edit
from fit50.spec.monitor import Monitor
from fit50.spec.network import Classifier, Input, Stem
from fit50.spec.training import SGD, Augment, Hint, Teacher, Train
from fit50.train import train
from fit50.train.devices import Devices
from fit50.train.teachers import ModuleTeacher
from fit50.weights.checkpoint import Checkpoint

torch.set_num_threads(1)
network = presets.resnet((1, 1), widths=(8, 8), stem=Stem(kind="low-resolution", out=8))
image = Input(height=12, width=12, resize="stretch")
network = network.model_copy(update={"inputs": (image,), "head": Classifier(classes=3)})
random = np.random.default_rng(0)
def images(n):
    pixels = random.integers(0, 256, (n, 12, 12, 3), dtype=np.uint8)
    return Images((pixels,), random.integers(0, 3, n), tuple(map(str, range(n))))
data = Dataset(("a", "b", "c"), {"train": images(26), "val": images(7)}, None, "none")
start = Checkpoint(network, compose(network, seed=0).state_dict(), data.classes)
step = Train(epochs=3, batch=8, optimizer=SGD(lr=0.05), ema=0.9, precision="float32", clip=1.0,
    augment=Augment(flip=0.5, crop=(0.5, 1.0), mixup=0.5, cutmix=1.0), **eval(sys.argv[3]))
teacher = ModuleTeacher(start.module(), network.inputs) if step.teacher else None
told = []
class Log(Monitor):
    def record(self, event, facts):
        told.append([facts["loss"], facts["val"]])
after = train(start, step, data, seed=1, saved=Path(sys.argv[1]) / "saved", monitor=Log(), teaching=teacher,
    devices=Devices(int(sys.argv[2])), save_seconds=0)
rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
after.save(Path(sys.argv[1]) / f"{sys.argv[2]} {rank}.safetensors")
(Path(sys.argv[1]) / f"{sys.argv[2]} {rank}.json").write_text(json.dumps(told))
"""


def trained(folder: Path, count: int, options: str, *launcher: str) -> list[torch.Tensor]:
    """Trains in a process of its own that starts the others, or by a launcher; each one's (loss, val) by epoch."""
    script = folder / "training.py"
    script.write_text(_TRAINING, encoding="utf-8")
    command = [*(launcher or (sys.executable,)), str(script), str(folder), str(count), options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "saved").unlink(missing_ok=True)
    files = [folder / f"{count} {rank}.json" for rank in range(count)]
    return [torch.tensor(json.loads(file.read_text(encoding="utf-8"))) for file in files]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("{'teacher': Teacher(after=1, features=Hint())}", id="hint"),
        pytest.param("{}", id="plain", marks=pytest.mark.slow),
        pytest.param("{'accumulate': 2, 'frozen': 1.0}", id="accumulated", marks=pytest.mark.slow),
    ],
)
def test_two_processes_learn_what_one_does(tmp_path: Path, options: str) -> None:
    (one,) = trained(tmp_path, 1, options)
    assert one.shape == (3, 2)
    for each in trained(tmp_path, 2, options):
        assert torch.allclose(each, one, atol=1e-4)
    alone = Checkpoint.load(tmp_path / "1 0.safetensors").tensors
    for rank in (0, 1):
        together = Checkpoint.load(tmp_path / f"2 {rank}.safetensors").tensors
        for key, tensor in alone.items():
            assert torch.allclose(tensor.float(), together[key].float(), atol=1e-4), key


@pytest.mark.slow
def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517")
    (one,) = trained(tmp_path, 1, "{}")
    for each in trained(tmp_path, 2, "{}", *launcher):
        assert torch.allclose(each, one, atol=1e-4)


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
    monkeypatch.setattr(devices, "has_bf16", lambda: native)
    assert devices.precision(Train.parse({"precision": wanted})) == expected


@pytest.mark.parametrize(
    ("size", "stem", "step", "expected"),
    [
        (17, "7x7", {}, "bf16-mixed"),
        (16, "7x7", {}, "32-true"),
        (32, "7x7", {"start_size": 16}, "32-true"),
        (32, "7x7", {"size": 12}, "32-true"),
        (16, "light", {}, "bf16-mixed"),
        (8, "light", {}, "32-true"),
    ],
)
def test_maps_of_one_pixel_are_not_trained_in_bf16(
    size: int, stem: str, step: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There torch's gradients of strided convolutions are wrong on the CPU, at times not even finite."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "has_bf16", lambda: True)
    network = edit(presets.network("resnet50").sized(size), "stem", stem)
    assert devices.precision(Train.parse(step), network) == expected
    if expected == "32-true":
        with pytest.raises(SpecError, match="expected auto or float32"):
            devices.precision(Train.parse({**step, "precision": "bf16"}), network)


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_other_numbers_of_processes_are_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "4")
    with pytest.raises(SpecError, match="expected the 4 processes that were started, found 2 devices of 1 machines"):
        devices.launched(devices.Devices(2))


def test_what_torchrun_started_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.devices() == devices.Devices(1, 1)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert devices.devices(8) == devices.Devices(8, 1)  # those that fit50 started itself
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert devices.devices() == devices.Devices(4, 2)


def test_global_norms_keep_the_keys_and_the_answers(narrow: object, lived_in: object) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4))).eval()
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    before, keys = module(x), list(module.state_dict())
    devices.with_global_norms(module)
    assert list(module.state_dict()) == keys
    assert torch.equal(module.eval()(x), before)
    assert sum(isinstance(part, devices.GlobalBatchNorm) for part in module.modules()) == 2
