"""One safetensors file that says what it is."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fit50.spec.blocks import SE
from fit50.spec.digest import edit
from fit50.spec.errors import CheckpointError, StorageError
from fit50.spec.network import Network
from fit50.spec.numerics import Float32, Int8
from fit50.weights.checkpoint import Checkpoint

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]


@pytest.fixture
def checkpoint(narrow: Narrow, lived_in: LivedIn) -> Checkpoint:
    network = narrow((1, 2), attention=SE(reduction=4))
    made = lived_in(network, classes=("cat", "dög", "owl", "🦊"))
    return replace(made, numerics=Int8(dataset="ab", samples=3, max_drop=0.5), provenance={"recipe": "cd"})


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path)
    return path


def logits(checkpoint: Checkpoint) -> torch.Tensor:
    with torch.no_grad():
        return checkpoint.module()(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))


def test_a_checkpoint_survives_its_file(checkpoint: Checkpoint, saved: Path) -> None:
    again = Checkpoint.load(saved)
    assert (again.network, again.numerics, again.classes, again.provenance) == (
        checkpoint.network,
        checkpoint.numerics,
        checkpoint.classes,
        checkpoint.provenance,
    )
    assert set(again.tensors) == set(checkpoint.tensors)
    assert all(torch.equal(tensor, checkpoint.tensors[key]) for key, tensor in again.tensors.items())
    assert torch.equal(logits(again), logits(checkpoint))
    assert Checkpoint(checkpoint.network, checkpoint.tensors).numerics == Float32()


def test_tensors_of_any_layout_are_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    module = checkpoint.module().to(memory_format=torch.channels_last)
    checkpoint.with_(tensors=module.state_dict()).save(tmp_path / "a.safetensors")
    assert torch.equal(logits(Checkpoint.load(tmp_path / "a.safetensors")), logits(checkpoint))


def test_the_header_is_json_that_needs_no_torch(saved: Path) -> None:
    code = """
import json, struct, sys
file = open(sys.argv[1], "rb")
header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
from fit50.spec.network import Network
value = json.loads(header["__metadata__"]["fit50"])
network = Network.parse(value["network"])
assert "torch" not in sys.modules
print(json.dumps([[s.name for s in network.stages], value["classes"], value["numerics"]["kind"], len(header) - 1]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True)
    count = len(Checkpoint.load(saved).tensors)
    assert json.loads(done.stdout) == [["layer1", "layer2"], ["cat", "dög", "owl", "🦊"], "int8", count]


def test_the_module_has_tensors_of_its_own(checkpoint: Checkpoint) -> None:
    module = checkpoint.module()
    assert not module.training
    before = logits(checkpoint)
    with torch.no_grad():
        module.fc.weight.zero_()
    assert torch.equal(logits(checkpoint), before)


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_a_truncated_file_is_refused(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="expected a safetensors file") as caught:
        Checkpoint.load(saved)
    assert str(saved) in str(caught.value)


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="expected a safetensors file"):
            Checkpoint.load(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "expected a header that fit50 wrote, found none"),
        ({"fit50": "{"}, "the header cannot be read"),
        ({"fit50": "[]"}, "the header cannot be read"),
        ({"fit50": '{"netwerk": {}}'}, "unknown field 'netwerk'; did you mean 'network'"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, metadata: dict[str, str] | None, message: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(path)


def test_tensors_that_do_not_fit_the_header_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.with_(network=edit(checkpoint.network, "head.classes", 5)).save(path)
    with pytest.raises(CheckpointError, match=r"fc.weight: expected shape \(5, 64\), found \(4, 64\)"):
        Checkpoint.load(path)


def test_a_full_disk_keeps_the_old_file(checkpoint: Checkpoint, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="the disk is full"):
        checkpoint.with_(tensors={key: tensor * 2 for key, tensor in checkpoint.tensors.items()}).save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]
