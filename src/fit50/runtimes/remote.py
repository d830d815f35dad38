"""A device that is reached by the system's OpenSSH client, with the user's own configuration, keys and agent."""

from __future__ import annotations

import base64
import io
import json
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import IO, Any

import numpy as np

from fit50.runtimes.agent import Ask, AskAnswers, AskBenchmark, AskFacts, AskMeasure, AskVerify, Request, in_tar
from fit50.runtimes.base import Bundle, Images, Probabilities
from fit50.runtimes.place import Facts, Place
from fit50.runtimes.verify import Verification
from fit50.spec.benchmark import Benchmark, Load, Until
from fit50.spec.errors import DeviceError
from fit50.spec.monitor import Monitor
from fit50.spec.outcome import Score
from fit50.spec.request import Device, Ssh

_OPTIONS = (  # which never ask for a password, and give up on a device that does not respond for a minute
    *("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=4"),
    *("RequestTTY=no", "RemoteCommand=none"),
)
_LOST = 255  # ssh's own exit status; any other is the shell's there, or Python's
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
_HINTS = {
    "Permission denied": "give the device your key (ssh-copy-id), and unlock it with ssh-agent if it has a passphrase",
    "Host key verification failed": "connect once by hand, and accept the device's key if it is the right one",
    "": "check the address, and that the device is on and runs an ssh server",
}


def place_of(device: Device, runtimes: Iterable[str] = ()) -> Place:
    """Where a device's files run.

    Raises DeviceError where it cannot be reached, or lacks one of ``runtimes``, or this machine, which makes the files,
    does.
    """
    wanted, here = tuple(runtimes), Place()
    _refuse_missing(wanted, here, "this machine", "here")
    if device.ssh is None:
        return here
    there = Remote(device.name, device.ssh)
    _refuse_missing(wanted, there, device.name, "there")
    return there


def _refuse_missing(runtimes: tuple[str, ...], place: Place, name: str, where: str) -> None:
    known = [each for each in place.facts.runtimes if each != "torch"]
    for runtime in runtimes:
        if runtime not in known:
            package = "onnxruntime-gpu" if runtime == "onnxruntime-cuda" else f"'fit50[{runtime}]'"
            others = ", ".join(each for each in runtimes if each in known)
            without = f", or leave it out (--set 'runtimes=[{others}]')" if others else ""
            raise DeviceError(
                f"{name}: expected the runtime {runtime}, found {', '.join(known) or 'none'}; install it {where} "
                f"(pip install {package}){without}"
            )


@dataclass(frozen=True)
class Remote(Place):
    """Runs files on another machine, which needs fit50's base, of this version, and the files' runtimes.

    Each question is a process of its own there, and takes along what it needs. All raise DeviceError.
    """

    name: str
    ssh: Ssh

    @cached_property
    def facts(self) -> Facts:
        """What the device is; found out once."""
        return Facts.parse(self._answer(AskFacts(), {}), self.name)

    def measure(
        self,
        bundles: Mapping[str, Bundle],
        threads: int,
        *,
        rounds: int = 12,
        batch: int = 16,
        memory: bool = True,
        monitor: Monitor | None = None,
    ) -> dict[str, Score]:
        """Scores of several bundles, as ``runtimes.measure`` takes them there."""
        ask = AskMeasure(threads=threads, rounds=rounds, batch=batch, memory=memory)
        found = self._answer(ask, bundles, monitor)
        return {name: Score.parse(found[name], self.name) for name in bundles}

    def benchmark(
        self, bundles: Mapping[str, Bundle], loads: Sequence[Load], until: Until, monitor: Monitor | None = None
    ) -> Benchmark:
        """The thorough measurement, as ``runtimes.benchmark`` takes it there."""
        ask = AskBenchmark(loads=tuple(loads), until=until)
        return Benchmark.parse(self._answer(ask, bundles, monitor), self.name)

    def verify(self, bundle: Bundle, threads: int) -> Verification:
        """Whether a bundle is what it says, and answers there as it did where it was made."""
        return Verification(**self._answer(AskVerify(threads=threads), {str(bundle.folder): bundle}))

    def answers(
        self, bundles: Mapping[str, Bundle], chunks: Iterable[tuple[Images, ...]], threads: int
    ) -> Iterator[dict[str, Probabilities]]:
        """What each bundle answers there, chunk by chunk: probabilities (N, classes)."""
        classes = {name: len(bundle.manifest.classes) for name, bundle in bundles.items()}
        for found in self._answers(AskAnswers(threads=threads), bundles, chunks):
            yield {
                name: np.frombuffer(base64.b64decode(found[name]), np.float32).reshape(-1, count)
                for name, count in classes.items()
            }

    def _answer(self, ask: Ask, bundles: Mapping[str, Bundle], monitor: Monitor | None = None) -> Any:
        (found,) = self._answers(ask, bundles, (), monitor)
        return found

    def _answers(
        self,
        ask: Ask,
        bundles: Mapping[str, Bundle],
        chunks: Iterable[tuple[Images, ...]],
        monitor: Monitor | None = None,
    ) -> Iterator[Any]:
        """Asks once; gives each answer as it comes."""
        greeted = False
        with tempfile.TemporaryFile() as said, _started(self.ssh, said) as process, ThreadPoolExecutor(1) as sender:
            assert process.stdin and process.stdout
            sent = sender.submit(_send, process.stdin, ask, bundles, chunks)
            try:
                for reply in self._replies(process.stdout):
                    greeted = True
                    match reply:
                        case {"progress": (str(label), int(done), int(total))} if monitor:
                            monitor.progress(label, done, total)
                        case {"error": text}:
                            raise DeviceError(f"{self.name}: {text}")
                        case {"answer": found}:
                            yield found
                ended = process.wait()
            finally:
                process.kill()
            sent.result()
            if ended or not greeted:
                said.seek(0)
                words = said.read().decode(errors="replace").strip()
                raise DeviceError(f"{self.name}: {_failure(self.ssh, ended, words, greeted)}")

    def _replies(self, lines: IO[bytes]) -> Iterator[dict[str, Any]]:
        """What the agent says, whatever else the shell there prints. Raises DeviceError where it is another version."""
        for line in lines:
            if not line.startswith(b'{"fit50": '):
                continue
            reply = json.loads(line)
            if (found := reply["fit50"]) != (own := version("fit50")):
                raise DeviceError(
                    f"{self.name}: expected fit50 {own} as here, found {found}; "
                    f"install it there: {self.ssh.python} -m pip install fit50=={own}"
                )
            yield reply


def _started(ssh: Ssh, said: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts the agent on the device, what it and ssh say on standard error going to ``said``. Raises DeviceError."""
    options = [word for option in _OPTIONS for word in ("-o", option)]
    agent = f"{shlex.quote(ssh.python)} -m fit50.runtimes.agent"
    command = ["ssh", *options, *ssh.words, agent]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
    except FileNotFoundError:
        raise DeviceError("expected OpenSSH's client ssh on this machine, found none; install it") from None


def _send(stream: IO[bytes], ask: Ask, bundles: Mapping[str, Bundle], chunks: Iterable[tuple[Images, ...]]) -> None:
    """Writes the agent's standard input, and leaves off where nobody reads it any more."""
    files = [
        (path, in_tar(index, path.name))
        for index, bundle in enumerate(bundles.values())
        for path in sorted(bundle.folder.iterdir())
        if path.is_file()
    ]
    request = Request(ask=ask, bundles=tuple(bundles), files=len(files))
    try:
        with stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            _add(tar, "ask.json", request.model_dump_json().encode())
            for path, name in files:
                tar.add(path, name)
            for index, images in enumerate(chunks):
                packed = io.BytesIO()
                np.savez(packed, *images)
                _add(tar, f"images/{index}.npz", packed.getvalue())
    except BrokenPipeError:
        return


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _failure(ssh: Ssh, status: int, said: str, greeted: bool) -> str:
    """What was expected, what was found instead, and what to do."""
    found = "\n  ".join(said.splitlines()[-8:]) or "nothing"
    install = f"install it there: {ssh.python} -m pip install 'fit50[openvino]=={version('fit50')}'"
    if status == _LOST and greeted:
        lost = "the connection lost, or Python killed there, as happens where memory runs out"
        return f"expected an answer, found {lost}: {found}; run the same command again"
    if status == _LOST:
        hint = next(hint for words, hint in _HINTS.items() if words in said)
        return f"expected a connection, found: {found}; {hint}; ssh {' '.join(ssh.words)} must work without a password"
    if status in (_NOT_EXECUTABLE, _NOT_FOUND):
        return (
            f"expected Python at {ssh.python}, found: {found}; install it, or name another by ?python=/path/of/python"
        )
    if "No module named 'fit50'" in said:
        return f"expected fit50 for {ssh.python}, found none; {install}"
    if "No module named fit50.runtimes.agent" in said:
        return f"expected fit50 {version('fit50')} as here, found an older one; {install}"
    return f"expected an answer of fit50's agent, found that it ended with exit status {status}: {found}"
