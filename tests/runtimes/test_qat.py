"""What rounds in training is what the file rounds."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
import torch
from tests.contracts.networks import KINDS, network, photographs, stage
from tests.runtimes.conftest import trained

from fit50.nn.deployed import Deployed, Normalize
from fit50.runtimes import qat, runtime
from fit50.runtimes.base import Calibration, Images, Probabilities, saturates
from fit50.runtimes.qat import Rounding, int8_graph, learned_ranges, trained_tensors
from fit50.spec.blocks import CBAM, SE, Swish
from fit50.spec.errors import MissingExtraError, RuntimeRefusal
from fit50.spec.machine import isa
from fit50.spec.numerics import Int8, Learned
from fit50.spec.runtimes import RuntimeName
from fit50.weights.checkpoint import Checkpoint


def seen(checkpoint: Checkpoint, images: list[Images]) -> Rounding:
    """A module that has seen some images, and rounds as this processor's files do."""
    module = Rounding(checkpoint, saturates(isa())).train()
    normalize = [Normalize(each) for each in checkpoint.network.inputs]
    with torch.no_grad():
        module(*(f(torch.from_numpy(array)) for f, array in zip(normalize, images, strict=True)))
    return module.eval()


def rounded(checkpoint: Checkpoint, module: Rounding, accuracy: float = 100.0, max_drop: float = 100.0) -> Checkpoint:
    """The checkpoint as a training through the rounding leaves it."""
    learned = Learned(ranges=learned_ranges(module.state_dict()), accuracy=accuracy)
    return replace(checkpoint, numerics=Int8(dataset="some", samples=8, max_drop=max_drop, learned=learned))


def answers(module: Rounding, images: list[Images]) -> Probabilities:
    with torch.inference_mode():
        found: Probabilities = Deployed(module)(*map(torch.from_numpy, images)).numpy()  # type: ignore[arg-type]
    return found


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return trained(network(stage(2, attention=SE(width=3)), activation=Swish(beta=1.5)))


@pytest.fixture(scope="module")
def images(checkpoint: Checkpoint) -> list[Images]:
    return photographs(checkpoint.network)


@pytest.fixture(scope="module")
def form(checkpoint: Checkpoint, images: list[Images], tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Rounded, saved and read again."""
    path = tmp_path_factory.mktemp("qat") / "model.safetensors"
    rounded(checkpoint, seen(checkpoint, images)).save(path)
    return Checkpoint.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_is_rounded_and_learns(kind: str) -> None:
    checkpoint, images = trained(KINDS[kind]), photographs(KINDS[kind])
    module = seen(checkpoint, images)
    plain = answers(module, [array[:1] for array in images])
    assert np.abs(plain - answers(module, images)[:1]).max() < 1e-5, "any batch"
    module.train()
    module(
        *(torch.rand(2, each.channels, each.height, each.width) for each in checkpoint.network.inputs)
    ).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    own = trained_tensors(module.state_dict())
    left = {key for key in checkpoint.tensors if not key.endswith("num_batches_tracked")}
    assert own.keys() == left
    assert all(torch.equal(own[key], checkpoint.tensors[key]) for key in left)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_every_kind_of_network_runs_as_int8(name: RuntimeName, kind: str, tmp_path: Path) -> None:
    checkpoint, images = trained(KINDS[kind]), photographs(KINDS[kind])
    module = seen(checkpoint, images)
    calibration = Calibration(tuple(images), tuple(images), np.zeros(len(images[0]), np.int64), 100)
    bundle = runtime(name).export(rounded(checkpoint, module), tmp_path / "bundle", calibration)
    found = runtime(name).open(bundle, 1).run(*images)
    assert np.abs(found - answers(module, images)).mean() < 0.06


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_weights_are_int8_in_the_file(
    name: RuntimeName, form: Checkpoint, checkpoint: Checkpoint, images: list[Images], tmp_path: Path
) -> None:
    calibration = Calibration(tuple(images), tuple(images), np.zeros(len(images[0]), np.int64), 100)
    bundle = runtime(name).export(form, tmp_path / "bundle", calibration)
    if name == "onnxruntime":
        initializers = onnx.load(bundle.file(".onnx")).graph.initializer
        eight = sum(int(np.prod(one.dims)) for one in initializers if one.data_type == onnx.TensorProto.INT8)
    else:
        nodes = ov.Core().read_model(bundle.file(".xml")).get_ops()
        constants = [node.output(0) for node in nodes if node.get_type_name() == "Constant"]
        eight = sum(int(np.prod(one.shape)) for one in constants if one.get_element_type() == ov.Type.i8)
    weights = sum(tensor.numel() for tensor in checkpoint.tensors.values() if tensor.ndim > 1)
    assert eight >= weights
    expected = answers(seen(checkpoint, images), images)
    session = runtime(name).open(bundle, 1)
    for count in (1, 3):
        assert np.abs(session.run(images[0][:count]) - expected[:count]).max() < 0.05


def test_maxima_are_those_of_training_in_openvino(tmp_path: Path) -> None:
    """Which would be off by tenths, were they rounded."""
    checkpoint = trained(network(stage(1, attention=CBAM(width=3, kernel=3))))
    images = photographs(checkpoint.network)
    module = seen(checkpoint, images)
    calibration = Calibration(tuple(images), tuple(images), np.zeros(len(images[0]), np.int64), 100)
    bundle = runtime("openvino").export(rounded(checkpoint, module), tmp_path / "bundle", calibration)
    assert np.abs(runtime("openvino").open(bundle, 1).run(*images) - answers(module, images)).max() < 0.02


def test_a_file_that_loses_too_much_is_refused(form: Checkpoint, images: list[Images], tmp_path: Path) -> None:
    assert isinstance(form.numerics, Int8)
    strict = replace(form, numerics=form.numerics.model_copy(update={"max_drop": 1.0}))
    wrong = (answers(seen(form, images), images).argmax(1) + 1) % 4
    calibration = Calibration(tuple(images), tuple(images), wrong.astype(np.int64), 1)
    with pytest.raises(RuntimeRefusal, match=r"onnxruntime: int8 loses .* points .* after training through"):
        runtime("onnxruntime").export(strict, tmp_path / "bundle", calibration)
    assert list(tmp_path.iterdir()) == []


def test_activations_have_7_bits_where_products_saturate(checkpoint: Checkpoint) -> None:
    for seven, steps in ((False, 255), (True, 127)):
        found = {each.quant_max for each in qat._roundings(Rounding(checkpoint, seven)).values()}
        assert found == {steps, 127}


def test_the_int8_graph_of_the_same_weights_and_ranges_is_made_once(
    form: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(qat, "deployed_graph", lambda module: made.append(module) or b"graph")
    monkeypatch.setattr(qat, "_graph", lru_cache(maxsize=1)(qat._graph.__wrapped__))
    numerics = form.numerics
    assert isinstance(numerics, Int8) and numerics.learned is not None
    strict = numerics.model_copy(update={"max_drop": numerics.max_drop / 2})
    wider = {name: (least - 1, largest) for name, (least, largest) in numerics.learned.ranges.items()}
    other = numerics.model_copy(update={"learned": numerics.learned.model_copy(update={"ranges": wider})})
    for given, count in ((numerics, 1), (strict, 1), (other, 2)):
        assert int8_graph(form, given, False) == b"graph"
        assert len(made) == count
    int8_graph(form, other, True)
    assert len(made) == 3


def test_ranges_of_another_network_are_refused(form: Checkpoint) -> None:
    assert isinstance(form.numerics, Int8)
    other = form.numerics.model_copy(update={"learned": Learned(ranges={"a": (0, 1)}, accuracy=1)})
    with pytest.raises(RuntimeRefusal, match=r"expected ranges of \d+ activations, found 1, or of others"):
        int8_graph(form, other, False)


def test_what_torchao_cannot_take_is_refused(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **named: object) -> None:
        raise ValueError("Input partition has more than one output node\nand more")

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(RuntimeRefusal, match=r"cannot prepare this network \(Input .* node\); use method ptq"):
        Rounding(checkpoint, False)


def test_torchao_is_an_extra(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("fit50.runtimes.base.import_module", missing)
    with pytest.raises(MissingExtraError, match="qat"):
        Rounding(checkpoint, False)
