"""Teachers of every kind, each against the answers of the network that it is made from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from fit50.data.images import Images
from fit50.runtimes.graph import onnx_graph
from fit50.spec.errors import CheckpointError, MissingExtraError, SpecError
from fit50.spec.network import Input, Network
from fit50.spec.training import Answers, Teacher
from fit50.train.teachers import Average, ModuleTeacher, Teaching, cached, teaching
from fit50.weights.checkpoint import Checkpoint
from fit50.weights.origin import local_file

Narrow = Callable[..., Network]
LivedIn = Callable[..., Checkpoint]
CLASSES = ("a", "b", "c", "d")
STUDENT = (Input(height=16, width=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),)
CPU = torch.device("cpu")


def shown(n: int = 3, size: int = 16) -> Tensor:
    """uint8 (N, H, W, C)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, size, size, 3), generator=generator, dtype=torch.uint8)


def by_hand(image: Input, x: Tensor) -> Tensor:
    """Normalised images (N, C, H, W)."""
    x = x.float() / 255
    if image.order == "bgr":
        x = x[..., [2, 1, 0]]
    return ((x - torch.tensor(image.mean)) / torch.tensor(image.std)).permute(0, 3, 1, 2)


@pytest.fixture
def checkpoint(narrow: Narrow, lived_in: LivedIn) -> Checkpoint:
    """A network with images in an order and of a mean of its own."""
    image = STUDENT[0].model_copy(update={"mean": (0.1, 0.2, 0.3), "order": "bgr"})
    return lived_in(narrow((1,)).model_copy(update={"inputs": (image,)}), classes=CLASSES)


@pytest.fixture
def file(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "teacher.safetensors")
    return tmp_path / "teacher.safetensors"


def taught(weights: str | Path, classes: tuple[str, ...] = CLASSES) -> Teaching:
    return teaching(Teacher(weights=str(weights)), None, STUDENT, classes)


def test_a_checkpoint_prepares_images_for_itself(checkpoint: Checkpoint, file: Path) -> None:
    with torch.no_grad():
        expected = checkpoint.module()(by_hand(checkpoint.network.inputs[0], shown()))
    torch.testing.assert_close(taught(file).logits(shown()), expected)
    torch.testing.assert_close(taught(file).logits(shown().float()), expected)
    after = teaching(Teacher(after=1), checkpoint, STUDENT, CLASSES)
    torch.testing.assert_close(after.logits(shown()), expected)
    assert after.module is not None and not after.module.training
    assert not any(parameter.requires_grad for parameter in after.module.parameters())


@pytest.mark.parametrize("size", [8, 12, 40])
def test_images_of_another_size_are_resized(size: int) -> None:
    """As Pillow's bilinear filter does it, which averages where images shrink, and rounds to whole numbers."""
    teacher = ModuleTeacher(nn.Identity(), (Input(height=16, width=20, mean=(0, 0, 0), std=(1, 1, 1)),))
    found = teacher.logits(shown(size=size)).permute(0, 2, 3, 1) * 255
    for image, ours in zip(shown(size=size), found, strict=True):
        expected = Image.fromarray(image.numpy()).resize((20, 16), Image.Resampling.BILINEAR)
        torch.testing.assert_close(ours, torch.from_numpy(np.array(expected)).float(), atol=1.01, rtol=0)


def test_no_gradients_flow_but_a_loss_may_use_the_answers(file: Path) -> None:
    answers = taught(file).logits(shown())
    assert not answers.requires_grad and not answers.is_inference()


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("a", "b", "c"), "expected the data's classes a, b, c, found a, b, c, d"),
        (("a", "b", "d", "c"), "expected the data's classes a, b, d, c, found a, b, c, d"),
    ],
)
def test_a_checkpoint_must_know_the_classes(file: Path, classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        taught(file, classes=classes)


def test_inputs_are_the_students(checkpoint: Checkpoint, file: Path) -> None:
    grey = (Input(channels=1, mean=(0.5,), std=(0.5,)),)
    for teacher, after in ((Teacher(weights=str(file)), None), (Teacher(after=2), checkpoint)):
        with pytest.raises(CheckpointError, match=r"expected inputs of \[1\] channels, as the student's, found \[3\]"):
            teaching(teacher, after, grey, CLASSES)


# ONNX


def test_a_deployed_file_says_what_its_network_says(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_graph(checkpoint))
    module = ModuleTeacher(checkpoint.module(), checkpoint.network.inputs)
    student = tuple(image.model_copy(update={"order": "bgr"}) for image in STUDENT)
    found = teaching(Teacher(weights=str(path)), None, student, CLASSES)
    for x in (shown(), shown().float(), shown() * 0.9):
        wanted = module.logits(x.round()).log_softmax(1)
        torch.testing.assert_close(found.logits(x), wanted, atol=1e-4, rtol=1e-4)
    assert found.module is None
    with pytest.raises(CheckpointError, match=r"expected 3 answers, one for each class, found \[1, 4\]"):
        taught(path, classes=("a", "b", "c"))


def graph(
    path: Path,
    shape: tuple[int | str, ...] = ("n", 3, "h", "w"),
    element: int = TensorProto.FLOAT,
    said: dict[str, str] | None = None,
    softmax: bool = False,
    outputs: int = 1,
) -> Path:
    """A file of another's: the mean of each channel, and their sum; of so many outputs."""
    weight = np.concatenate([np.eye(3), np.ones((1, 3))]).T.astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
        helper.make_node("Softmax" if softmax else "Identity", ["scores"], ["y0"]),
        *(helper.make_node("Identity", ["scores"], [f"y{i}"]) for i in range(1, outputs)),
    ]
    if element != TensorProto.FLOAT:
        nodes.insert(0, helper.make_node("Cast", ["raw"], ["x"], to=TensorProto.FLOAT))
    name = "x" if element == TensorProto.FLOAT else "raw"
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, element, shape)],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ("n", 4)) for i in range(outputs)],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (said or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def scores(image: Input, x: Tensor) -> Tensor:
    means = by_hand(image, x).mean((2, 3))
    return torch.cat([means, means.sum(1, keepdim=True)], 1)


def test_anothers_file_is_given_normalised_images(tmp_path: Path) -> None:
    found = taught(graph(tmp_path / "m.onnx")).logits(shown())
    torch.testing.assert_close(found, scores(STUDENT[0], shown()), atol=1e-4, rtol=1e-4)


def test_metadata_say_otherwise(tmp_path: Path) -> None:
    said = {"mean": "[0, 0, 0]", "std": "[0.5, 1, 1]", "order": "bgr", "author": "someone"}
    found = taught(graph(tmp_path / "m.onnx", said=said)).logits(shown())
    image = Input(mean=(0, 0, 0), std=(0.5, 1, 1), order="bgr")
    torch.testing.assert_close(found, scores(image, shown()), atol=1e-4, rtol=1e-4)
    with pytest.raises(SpecError, match=r"m\.onnx: metadata.*std"):
        taught(graph(tmp_path / "m.onnx", said={"std": "[0, 1, 1]"}))


def test_anothers_probabilities_are_taken_as_such(tmp_path: Path) -> None:
    found = taught(graph(tmp_path / "m.onnx", softmax=True)).logits(shown())
    torch.testing.assert_close(found, scores(STUDENT[0], shown()).log_softmax(1), atol=1e-4, rtol=1e-4)


def test_a_file_of_one_size_gets_it(tmp_path: Path) -> None:
    found = taught(graph(tmp_path / "m.onnx", shape=("n", 3, 8, 8))).logits(shown())
    assert found.shape == (3, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": (1, 3, 16, 16)}, r"found tensor\(float\) \[1, 3, 16, 16\]; export it with a dynamic batch"),
        ({"shape": ("n", 3)}, r"expected images for any N, .* found tensor\(float\) \['n', 3\]"),
        ({"element": TensorProto.INT32}, r"found tensor\(int32\)"),
        ({"shape": ("n", 5, 16, 16)}, "expected images of 3 channels, found"),
        ({"outputs": 2}, r"expected 1 input\(s\) and one output, found 1 and 2"),
    ],
)
def test_other_graphs_are_refused(tmp_path: Path, options: dict[str, object], said: str) -> None:
    shape = options.get("shape")
    if shape in (("n", 3), ("n", 5, 16, 16)):
        path = bare(tmp_path / "m.onnx", shape)  # type: ignore[arg-type]
    else:
        path = graph(tmp_path / "m.onnx", **options)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=said):
        taught(path)


def bare(path: Path, shape: tuple[int | str, ...]) -> Path:
    """A graph that puts out what it is given."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    made = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"m\.onnx: expected an ONNX file, found"):
        taught(tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match=r"none\.onnx: expected a weights file"):
        taught(tmp_path / "none.onnx")


@pytest.mark.parametrize(("missing", "weights"), [("onnxruntime", "m.onnx"), ("timm", "timm:test_vit:m.pth")])
def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, weights: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    graph(tmp_path / "m.onnx")
    with pytest.raises(MissingExtraError, match=rf"m\..* needs the package '{missing}'.*fit50\[train\]"):
        taught(weights.replace("m.", f"{tmp_path}/m."))


# timm's


def saved(path: Path, name: str, classes: int = 4) -> Path:
    torch.manual_seed(0)
    save_file(timm.create_model(name, num_classes=classes).state_dict(), path)
    return path


@pytest.mark.parametrize(("name", "size"), [("test_vit", 160), ("test_convnext", 32)])
def test_any_model_of_timms_teaches(tmp_path: Path, name: str, size: int) -> None:
    """With images of the student's size where it takes any, and with its own mean and standard deviation."""
    path = saved(tmp_path / "m.safetensors", name)
    torch.manual_seed(0)
    module = timm.create_model(name, num_classes=4).eval()
    student = (STUDENT[0].model_copy(update={"height": 32, "width": 32}),)
    found = teaching(Teacher(weights=f"timm:{name}:{path}"), None, student, CLASSES)
    x = F.interpolate(shown(size=32).permute(0, 3, 1, 2) / 127.5 - 1, (size, size), mode="bilinear", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(found.logits(shown(size=32)), module(x), atol=1e-3, rtol=1e-3)


def test_a_name_of_timms_is_looked_up_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gets images of the size that it was trained on."""
    path, asked = saved(tmp_path / "m.safetensors", "test_convnext"), []

    def fetched(repository: str, file: str, text: str) -> Path:
        asked.append((repository, file))
        return path

    monkeypatch.setattr("fit50.weights.origin.fetched", fetched)
    named = taught("timm:test_convnext.r160_in1k")
    assert asked == [("timm/test_convnext.r160_in1k", "model.safetensors")]
    assert local_file("timm:test_convnext.r160_in1k") == local_file(f"timm:test_convnext:{path}") == path
    assert named.module is not None
    large = F.interpolate(shown().permute(0, 3, 1, 2) / 127.5 - 1, (160, 160), mode="bilinear", antialias=True)
    torch.testing.assert_close(named.logits(shown()), named.module(large), atol=1e-3, rtol=1e-3)


def test_what_does_not_fit_timms_model_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.safetensors", "test_convnext", classes=7)
    with pytest.raises(CheckpointError, match=r"expected tensors of test_convnext for 4 classes, found: .*head\.fc"):
        taught(f"timm:test_convnext:{path}")
    with pytest.raises(CheckpointError, match="expected a model of timm's, found: Unknown model"):
        taught(f"timm:nonesuch:{path}")
    with pytest.raises(CheckpointError, match=r"gone\.pth: expected a weights file"):
        taught(f"timm:test_convnext:{tmp_path}/gone.pth")
    with pytest.raises(CheckpointError, match="expected a teacher of 2 inputs, found timm's, of one"):
        teaching(Teacher(weights=f"timm:test_convnext:{path}"), None, STUDENT * 2, CLASSES)


# Several


def test_several_teachers_are_averaged_where_they_are_soft(checkpoint: Checkpoint, file: Path, tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx")
    teacher = Teacher(after=1, others=(Answers(weights=str(file)), Answers(weights=str(path))), temperature=2.5)
    found = teaching(teacher, checkpoint, STUDENT, CLASSES)
    ours, other = taught(file).logits(shown()), taught(path).logits(shown())
    mean = (2 * (ours / 2.5).softmax(1) + (other / 2.5).softmax(1)) / 3
    torch.testing.assert_close((found.logits(shown()) / 2.5).softmax(1), mean)
    assert found.module is None


def test_one_teacher_alone_is_its_own_average(file: Path) -> None:
    one = taught(file)
    found = Average([one, one], 4).logits(shown())
    torch.testing.assert_close(found.log_softmax(1), one.logits(shown()).log_softmax(1), atol=1e-4, rtol=1e-4)


def test_a_teacher_moves_and_stays_itself(file: Path, tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx")
    for each in (taught(file), taught(path), Average([taught(path)], 4)):
        before = each.logits(shown())
        torch.testing.assert_close(each.to(CPU).logits(shown()), before)


def test_answers_are_cached_in_the_splits_order(file: Path) -> None:
    x = shown(7)
    split = Images((x.numpy(),), np.zeros(7, np.int64), tuple(map(str, range(7))))
    found = cached(taught(file), split, CPU, batch=3)
    torch.testing.assert_close(found, taught(file).logits(x), atol=1e-5, rtol=1e-5)
