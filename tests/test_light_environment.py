"""What a device installs: the base package and one runtime, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.photos import COLOURS, tiny_request, write_photos
from tests.sshd import Sshd

from fit50.nn.compose import compose
from fit50.optimize import job_folder, optimize
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.runtimes.remote import place_of
from fit50.spec.errors import DeviceError
from fit50.spec.monitor import Monitor
from fit50.spec.network import Network
from fit50.weights.checkpoint import Checkpoint

ROOT = Path(__file__).parent.parent
EXTRAS = ("openvino", "onnxruntime")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.parametrize("light", EXTRAS, indirect=True)]


@pytest.fixture(scope="module")
def light(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A runtime, and the folder of the commands of an environment where the base package and it are installed."""
    folder = tmp_path_factory.mktemp("light")
    commands = folder / "venv" / "bin"
    run(sys.executable, "-m", "venv", folder / "venv")
    install = ("--quiet", "--constraint", ROOT / "constraints.txt", f"{ROOT}[{request.param}]")
    run(commands / "python", "-m", "pip", "install", *install)
    return request.param, commands


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def bundle(light: tuple[str, Path], narrow: Callable[..., Network], tmp_path: Path) -> Bundle:
    network = narrow(classes=len(COLOURS))
    checkpoint = Checkpoint(network, compose(network).state_dict(), tuple(COLOURS))
    return runtime(light[0]).export(checkpoint, tmp_path / "bundle")


def test_a_device_needs_no_torch(light: tuple[str, Path], bundle: Bundle, tmp_path: Path) -> None:
    extra, commands = light
    Image.fromarray(np.full((30, 30, 3), 100, np.uint8)).save(tmp_path / "photo.png")
    listed = json.loads(run(commands / "python", "-m", "pip", "list", "--format", "json"))
    installed = {each["name"].lower() for each in listed}
    assert {"fit50", extra} <= installed
    assert not {"torch", "safetensors", "lightning-fabric", "scipy", "nncf"} & installed

    fit50 = commands / "fit50"
    assert json.loads(run(fit50, "verify", bundle.folder, "--json"))["same_answers"] == 4
    (answer,) = json.loads(run(fit50, "predict", bundle.folder, "photo.png", "--json", cwd=tmp_path))["images"]
    assert {found["name"] for found in answer["classes"]} == set(COLOURS)
    found = json.loads(run(fit50, "benchmark", bundle.folder, "--rounds", "2", "--json"))
    (file,) = found["files"].values()
    assert [each["latency"]["n"] for each in found["measured"]] == [20, 4]
    assert 20 < file["memory"] < 400
    refused = subprocess.run(
        [fit50, "optimize", "fashion-mini"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "pip install 'fit50[train]'" in refused.stderr


def test_a_device_over_ssh_needs_no_torch(light: tuple[str, Path], bundle: Bundle, server: Sshd) -> None:
    extra, commands = light
    device = server.device(commands / "python")
    place = place_of(device, [extra])
    assert place.facts.runtimes == (extra,)
    assert not {"torch", "nncf"} & place.facts.environment.versions.keys()
    assert place.verify(bundle, 1).same_answers == 4
    score = place.measure({"it": bundle}, 1, rounds=2)["it"]
    assert score.memory is not None and 20 < score.memory < 400
    assert score.latency is not None and score.latency.n == 20
    with pytest.raises(DeviceError, match=f"expected the runtime .*, found {extra}; install it there"):
        place_of(device, EXTRAS)


def test_the_main_job_over_ssh(light: tuple[str, Path], server: Sshd, tmp_path: Path) -> None:
    extra, commands = light
    tiny = tiny_request(write_photos(tmp_path / "photos"))
    device = server.device(commands / "python").model_copy(update={"threads": 1})
    effort = tiny.effort.model_copy(update={"techniques": (), "keeps": ()})
    request = tiny.model_copy(update={"device": device, "runtimes": (extra,), "effort": effort})
    outcome = optimize(request, tmp_path / "runs", Monitor())
    assert "torch" not in outcome.environment.versions
    assert {c.runtime for c in outcome.candidates} == {extra}
    best = Bundle.open(job_folder(request, tmp_path / "runs") / "best")
    assert best.manifest.environment == outcome.environment
    assert best.manifest.score.memory is not None
    assert place_of(device).verify(best, 1).same_answers == 4
