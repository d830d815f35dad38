"""Files measured, verified and asked on a device that a real OpenSSH server guards."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.sshd import Sshd, client, script

from fit50.runtimes.base import Bundle, Images
from fit50.runtimes.onnxruntime import OnnxRuntime
from fit50.runtimes.place import BATCH, Facts, Place
from fit50.runtimes.remote import Remote, place_of
from fit50.spec.benchmark import Load, Until
from fit50.spec.errors import DataError, DeviceError
from fit50.spec.machine import environment
from fit50.spec.monitor import Monitor
from fit50.spec.request import Device
from fit50.weights.checkpoint import Checkpoint

PYTHON = shlex.quote(sys.executable)
HIDING = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.split(".")[0] in ("onnxruntime", "openvino", "executorch", "tensorrt", "torch")
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""
Reached = Callable[[str], Remote]


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return OnnxRuntime().export(checkpoint, tmp_path_factory.mktemp("remote") / "bundle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the device keeps temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def remote(server: Sshd, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Remote:
    """The device, whose shell is as talkative as some are."""
    line = f'echo welcome; TMPDIR={folder} exec {PYTHON} "$@"'
    return reached(server.device(script(tmp_path_factory.mktemp("python") / "python 3", line)))


@pytest.fixture
def pretended(server: Sshd, tmp_path: Path) -> Reached:
    """Makes a device whose Python is a line of shell."""
    return lambda line: reached(server.device(script(tmp_path / "python", line)))


def reached(device: Device) -> Remote:
    assert device.ssh is not None
    return Remote(device.name, device.ssh)


def facts(remote: Remote) -> Facts:
    return remote.facts


def test_this_machine_is_a_place_of_its_own() -> None:
    place = place_of(Device(), ("onnxruntime", "openvino"))
    assert type(place) is Place
    assert place.environment(3) == environment(3)
    assert set(place.facts.runtimes) >= {"onnxruntime", "openvino", "torch"}


def test_facts_are_the_devices(remote: Remote) -> None:
    assert remote.facts == Place().facts
    assert remote.facts is remote.facts, "asked once"
    assert remote.environment(3).threads == 3


def test_files_are_measured_there(remote: Remote, bundle: Bundle, folder: Path) -> None:
    told: list[tuple[str, int, int]] = []

    class Listener(Monitor):
        def progress(self, label: str, done: int, total: int) -> None:
            told.append((label, done, total))

    scores = remote.measure({"one": bundle, "two": bundle}, 1, rounds=2, batch=3, monitor=Listener())
    assert list(scores) == ["one", "two"]
    for score in scores.values():
        assert score.latency is not None and score.throughput is not None and score.memory is not None
        assert (score.latency.n, score.throughput.n, score.throughput.batch) == (20, 2, 3)
        assert score.size == bundle.size
        assert 20 < score.memory < 300
    assert told == [("measure", 1, 2), ("measure", 2, 2)]
    assert list(folder.glob("fit50-*")) == [], "nothing stays on the device"


def test_files_are_benchmarked_there(remote: Remote, bundle: Bundle) -> None:
    found = remote.benchmark({"one": bundle}, [Load(threads=1)], Until(rounds=1))
    assert found.measured[0].latency.n == 10
    assert found.environment == remote.environment(1)
    assert found.files["one"].cold_start.median > 0


def test_a_file_is_verified_there(remote: Remote, bundle: Bundle, tmp_path: Path) -> None:
    assert remote.verify(bundle, 1) == Place().verify(bundle, 1)
    changed = bundle.copy(tmp_path / "changed")
    changed.file(".onnx").write_bytes(b"other")
    with pytest.raises(DeviceError) as error:
        remote.verify(changed, 1)
    assert str(error.value).startswith(f"{remote.name}: {changed.folder}/model.onnx: expected SHA-256")


def test_answers_are_those_of_the_file_chunk_by_chunk(
    remote: Remote, kinds: dict[str, Checkpoint], bundle: Bundle
) -> None:
    random = np.random.default_rng(0)
    height, width, channels = bundle.golden()[0][0].shape[1:]
    chunks = [(random.integers(0, 256, (n, height, width, channels), np.uint8),) for n in (BATCH + 7, 5)]
    bundles = {"one": bundle, "two": bundle}
    there, here = (list(place.answers(bundles, iter(chunks), 1)) for place in (remote, Place()))
    assert [found["one"].shape for found in there] == [(BATCH + 7, 4), (5, 4)]
    whole = OnnxRuntime().open(bundle, 1).run(*chunks[0])
    assert np.allclose(here[0]["one"], whole, atol=1e-5)
    for mine, theirs in zip(here, there, strict=True):
        assert all(np.array_equal(mine[name], theirs[name]) for name in bundles)


def test_images_that_cannot_be_read_are_reported(remote: Remote, bundle: Bundle) -> None:
    def chunks() -> Iterator[tuple[Images, ...]]:
        raise DataError("photo.png: broken")
        yield

    with pytest.raises(DataError, match=r"photo\.png: broken"):
        list(remote.answers({"one": bundle}, chunks(), 1))


def test_a_connection_that_is_lost_in_the_middle(server: Sshd, remote: Remote, bundle: Bundle, folder: Path) -> None:
    class Cutter(Monitor):
        def progress(self, label: str, done: int, total: int) -> None:
            server.cut()

    with pytest.raises(DeviceError, match=r"(?s)expected an answer, found the connection lost, .* run the same"):
        remote.measure({"one": bundle}, 1, rounds=100_000, memory=False, monitor=Cutter())
    left = [
        each for each in psutil.process_iter(["environ"]) if (each.info["environ"] or {}).get("TMPDIR") == str(folder)
    ]
    assert not psutil.wait_procs(left, timeout=20)[1], "the agent ends when nobody listens"
    assert list(folder.glob("fit50-*")) == []


def test_a_port_where_nobody_listens(server: Sshd) -> None:
    with pytest.raises(DeviceError, match=r"found: .*Connection refused\s*; check the .*; ssh -p 1 .*@127"):
        facts(reached(server.device(port=1)))


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ("key", r"Permission denied.*; give the device your key"),
        ("host", r"Host key verification failed\..*; connect once"),
    ],
)
def test_a_stranger_is_not_asked_for_anything(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str, message: str
) -> None:
    key, hosts = (server.folder / name for name in ("user", "known_hosts"))
    client(tmp_path, tmp_path / "none" if lacks == "key" else key, tmp_path / "none" if lacks == "host" else hosts)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    with pytest.raises(DeviceError, match=rf"(?s)expected a connection, found: .*{message}.*without a password"):
        facts(reached(server.device()))


def test_without_a_client(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="expected OpenSSH's client ssh on this machine, found none; install it"):
        facts(reached(server.device()))


def test_without_python(server: Sshd, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"expected Python at .*/nowhere, found: .*; install it, or name"):
        facts(reached(server.device(tmp_path / "nowhere")))


def test_without_fit50(pretended: Reached) -> None:
    with pytest.raises(DeviceError, match=r"expected fit50 for .*, found none; install it there: .* -m pip install"):
        facts(pretended(f'exec {PYTHON} -I -S "$@"'))


def test_with_another_version(pretended: Reached) -> None:
    with pytest.raises(DeviceError, match=rf"expected fit50 {version('fit50')} as here, found 0\.0\.9; install it"):
        facts(pretended("""echo '{"fit50": "0.0.9", "greeting": null}'"""))


def test_with_a_version_that_knows_no_agent(pretended: Reached, tmp_path: Path) -> None:
    for package in ("fit50", "fit50/runtimes"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    with pytest.raises(DeviceError, match=rf"expected fit50 {version('fit50')} as here, found an older one; install"):
        facts(pretended(f'PYTHONPATH={tmp_path} exec {PYTHON} -S "$@"'))


@pytest.mark.parametrize(("line", "status"), [("echo out of order >&2; exit 3", 3), ("true", 0)])
def test_an_agent_that_says_nothing(pretended: Reached, line: str, status: int) -> None:
    with pytest.raises(DeviceError, match=f"expected an answer of fit50's agent, found that it ended .* {status}: "):
        facts(pretended(line))


def test_without_the_runtime(server: Sshd, pretended: Reached, tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDING, encoding="utf-8")
    bare = pretended(f'PYTHONPATH={tmp_path} exec {PYTHON} "$@"')
    with pytest.raises(DeviceError, match=r"needs the package 'onnxruntime', .* pip install 'fit50\[onnxruntime\]'"):
        bare.verify(bundle, 1)
    assert bare.facts.runtimes == ()
    with pytest.raises(DeviceError, match=r"expected the runtime onnxruntime, found none; install it there \(pip"):
        place_of(Device(name=bare.name), ("onnxruntime",))


@pytest.mark.parametrize(
    ("runtime", "package"), [("tensorrt", r"'fit50\[tensorrt\]'"), ("onnxruntime-cuda", "onnxruntime-gpu")]
)
def test_a_runtime_that_is_missing_here(runtime: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fit50.runtimes.place._installed", lambda name: name != runtime)
    found = f"this machine: expected the runtime {runtime}, found openvino, onnxruntime"
    hint = r"or leave it out \(--set 'runtimes=\[openvino\]'\)"
    with pytest.raises(DeviceError, match=rf"{found}.*; install it here \(pip install {package}\), {hint}"):
        place_of(Device(), ("openvino", runtime))
    with pytest.raises(DeviceError, match=rf"{found}.*; install it here \(pip install {package}\)$"):
        place_of(Device(), (runtime,))
