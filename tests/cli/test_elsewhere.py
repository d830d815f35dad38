"""Verbs that reach a device over ssh."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Fit50
from tests.sshd import Sshd

from fit50.runtimes.place import Place


def test_benchmark(fit50: Fit50, bundle: Path, server: Sshd) -> None:
    words = ("--rounds", "1", "--threads", "1", "--batches", "1", "--json")
    found = json.loads(fit50("benchmark", bundle, "--device", server.device().name, *words).out)
    assert found["environment"] == json.loads(Place().environment(1).model_dump_json())
    assert [each["file"] for each in found["measured"]] == [str(bundle)]


def test_verify(fit50: Fit50, bundle: Path, server: Sshd) -> None:
    found = json.loads(fit50("verify", bundle, "--device", server.device().name, "--json").out)
    assert (found["bundle"], found["same_answers"]) == (str(bundle), 4)


def given(verb: str, bundle: Path, photos: Path) -> list[Path]:
    """What the verb takes; no file of weights is read before the device is known."""
    return {"optimize": [photos], "probe": [Path("any.safetensors"), photos]}.get(verb, [bundle])


@pytest.mark.parametrize("verb", ["verify", "benchmark", "probe", "optimize"])
def test_a_device_that_is_not_there(fit50: Fit50, bundle: Path, photos: Path, server: Sshd, verb: str) -> None:
    name = server.device(port=1).name
    ended = fit50(verb, *given(verb, bundle, photos), "--device", name)
    assert ended.code == 2
    assert ended.err.startswith(f"error: {name}: expected a connection, found: ")


@pytest.mark.parametrize("verb", ["verify", "benchmark", "probe", "optimize"])
def test_a_device_that_is_none(fit50: Fit50, bundle: Path, photos: Path, verb: str) -> None:
    ended = fit50(verb, *given(verb, bundle, photos), "--device", "camera")
    assert ended.code == 2
    assert "expected cpu or ssh://user@host[:port]" in ended.err


def test_a_device_in_a_file_stays_unless_another_is_given(fit50: Fit50, config: Path, tmp_path: Path) -> None:
    path = tmp_path / "request.yaml"
    path.write_text(config.read_text(encoding="utf-8").replace("threads: 1", "name: ssh://pi@camera, threads: 1"))
    found = [
        json.loads(fit50("optimize", "--config", path, *words, "--dry-run", "--json").out)["device"]
        for words in ((), ("--device", "cpu"))
    ]
    assert found == [{"name": "ssh://pi@camera", "threads": 1}, {"threads": 1}]
