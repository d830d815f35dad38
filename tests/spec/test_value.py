"""Reading, writing and refusing values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from fit50.spec import presets
from fit50.spec.digest import digest
from fit50.spec.errors import SpecError
from fit50.spec.network import Network
from fit50.spec.recipe import Edit, Load, Morph, Prune, Quantize, Recipe
from fit50.spec.request import Budget, Device, Request
from fit50.spec.training import SGD, AdamW, Augment, Teacher, Train
from fit50.spec.value import Value, suggestion

RECIPE = Recipe(
    steps=(
        Load(network=presets.network("resnet26", classes=3), weights="weights/früh.pth", sha256="1e100"),
        Morph(depths=(2, 3, 2, 2), edits=(Edit(path="activation", value={"kind": "swish", "beta": 1e-05}),)),
        Train(
            epochs=5,
            optimizer=SGD(lr=1e-05, nesterov=False),
            ema=None,
            clip=None,
            teacher=Teacher(weights="no.pth", temperature=2),
            augment=Augment(flip=0, shift=4),
            precision="bf16",
        ),
        Prune(keep=0.3, importance="bn", floor=1),
        Train(optimizer=AdamW(betas=(0.5, 0.9)), teacher=Teacher(after=3)),
        Quantize(method="qat", max_drop=0),
    ),
    seed=2**40,
)
REQUEST = Request(
    data="yes",
    edits=(Edit(path="head.dropout", value=0.5), Edit(path="neck", value=None)),
    device=Device(threads=4),
    budget=Budget(latency="1.5ms", max_drop=None),
    runtimes=("onnxruntime",),
    effort=presets.EFFORTS["full"],
)
VALUES = [*(preset.make() for preset in presets.NETWORKS.values()), RECIPE, REQUEST]
NAMES = [*presets.NETWORKS, "recipe", "request"]


@pytest.mark.parametrize("value", VALUES, ids=NAMES)
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_every_value_survives_a_file(value: Value, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"value.{suffix}"
    path.write_text(value.yaml() if suffix == "yaml" else json.dumps(value.canonical()), encoding="utf-8")
    again = type(value).read(path)
    assert again == value
    assert digest(again) == digest(value)


@pytest.mark.parametrize("value", VALUES, ids=NAMES)
def test_the_full_dump_says_the_same(value: Value) -> None:
    assert type(value).model_validate_json(value.model_dump_json()) == value


def test_json_is_read_as_json(tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    path.write_text('{\n\t"weights": "\\ud83d\\ude80.pth"\n}')  # a tab and a surrogate pair, which YAML refuses
    assert Load.read(path).weights == "🚀.pth"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: [1", "expected a readable YAML or JSON file"),
        ("epoch: 3", "unknown field 'epoch'; did you mean 'epochs'"),
        ("epochs: 0", "epochs: Input should be greater than 0, found 0"),
        ("- epochs: 3", "Input should be a valid dictionary"),
        ("optimizer: {kind: sdg}", "optimizer"),
        ("clip: .nan", "clip: Input should be a finite number"),
    ],
)
def test_a_file_at_fault_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        Train.read(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa", b"{"])
def test_an_unreadable_file_is_a_spec_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "train.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError, match="expected a readable YAML or JSON file"):
        Train.read(path)


def test_every_fault_has_its_line() -> None:
    with pytest.raises(SpecError) as caught:
        Train.parse({"epochs": 0, "batch": -1, "ema": 1.0}, "config")
    lines = str(caught.value).splitlines()
    assert [line.split(":")[:2] for line in lines][:2] == [["config", " epochs"], ["config", " batch"]]
    assert all(line.startswith("config: ") for line in lines)


def test_an_element_at_fault_is_not_said_to_be_missing_too() -> None:
    with pytest.raises(SpecError) as caught:
        Recipe.parse({"steps": [{"kind": "load"}]}, "recipe")
    (line,) = str(caught.value).splitlines()
    assert "expected a network, a weights file, or both" in line
    with pytest.raises(SpecError, match="at least 1 item"):
        Recipe.parse({"steps": []}, "recipe")


def test_a_value_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Train().epochs = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        presets.network("resnet50").head.classes = 3  # type: ignore[misc]


def test_equal_values_are_one_key() -> None:
    assert {presets.network("resnet50"): 1}[presets.resnet()] == 1


def test_yaml_is_short_and_keeps_the_order_of_the_fields() -> None:
    assert yaml.safe_load(Train(batch=32, epochs=3).yaml()) == {"kind": "train", "epochs": 3, "batch": 32}
    assert list(yaml.safe_load(RECIPE.yaml())) == ["steps", "seed"]


def test_suggestion_offers_the_closest_or_all() -> None:
    assert suggestion("resnet5", presets.NETWORKS) == "; did you mean 'resnet50'?"
    assert suggestion("x", ["b", "a"]) == "; known: a, b"


def test_parse_takes_what_dump_gives() -> None:
    network = presets.network("m-mffnet")
    assert Network.parse(network.model_dump()) == network
