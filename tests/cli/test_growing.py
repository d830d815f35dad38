"""The verb that grows a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Fit50

from fit50.weights.checkpoint import Checkpoint

GATES = "stages[*].blocks[*].attention=cbam"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_morph_grows_and_says_what_changed(fit50: Fit50, weights: Path, photos: Path) -> None:
    ended = fit50("morph", weights, photos, "--set", GATES, "--output", "grown.safetensors", "--json")
    assert ended.code == 0, ended.err
    facts = json.loads(ended.out)
    assert facts["morph"] == "attention (exact)"
    assert facts["morph_difference"].startswith("a logit by at most 0 on ")
    before, after = Checkpoint.load(weights), Checkpoint.load(Path("grown.safetensors"))
    assert after.network.stages[0].blocks[0].attention is not None
    assert after.classes == before.classes
    again = fit50("train", photos, "--start", "grown.safetensors", "--train.epochs", "1", "--json")
    assert again.code == 0, again.err


def test_morph_takes_depth_width_and_edits_together(fit50: Fit50, weights: Path, photos: Path) -> None:
    before = Checkpoint.load(weights).network
    depths = ",".join(str(len(stage.blocks) + 1) for stage in before.stages)
    ended = fit50("morph", weights, photos, "--depths", depths, "--widening", "2", "--set", "activation=swish")
    assert ended.code == 0, ended.err
    assert "widths (rounding); depth (exact); activation (rounding)" in ended.out
    after = Checkpoint.load(Path("grown.safetensors")).network
    assert [len(stage.blocks) for stage in after.stages] == [len(stage.blocks) + 1 for stage in before.stages]


def test_morph_dry_run_plans(fit50: Fit50, weights: Path, photos: Path) -> None:
    ended = fit50("morph", weights, photos, "--set", GATES, "--dry-run")
    assert ended.code == 0
    assert "would grow attention (exact) by:" in ended.out
    assert not Path("grown.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "activation=relu"], "expected --depths, --widening or --set to add something"),
        (["--set", "neck={kind: fpn, form: plain}"], "use form: gated"),
        (["--set", "stem.kind=light"], "is not built yet"),
        (["--depths", "many"], "morph.depths"),
        (["--widening", "0.5"], "widening"),
        (["--set", "stages[*].blocks[*].attention=see"], "attention"),
    ],
)
def test_morph_refuses_with_a_reason(fit50: Fit50, weights: Path, photos: Path, words: list[str], message: str) -> None:
    ended = fit50("morph", weights, photos, *words)
    assert ended.code == 2
    assert message in ended.err.replace(": depths", ".depths")
    assert not Path("grown.safetensors").exists()


def test_a_network_of_two_inputs_wants_pairs(fit50: Fit50, weights: Path, photos: Path) -> None:
    image = Checkpoint.load(weights).network.inputs[0].model_dump_json()
    other = json.dumps({**json.loads(image), "name": "thermal"})
    words = ["--set", f"inputs=[{image}, {other}]", "--set", "fusion=gated"]
    assert "train it with: fit50 train " in (grown := fit50("morph", weights, photos, *words).out)
    assert "--pair FOLDER" in grown
    ended = fit50("train", photos, "--start", "grown.safetensors")
    assert ended.code == 2
    assert (
        "each input of the network (image and thermal), found 1 in each example; give a second folder (--pair)"
        in ended.err
    )
