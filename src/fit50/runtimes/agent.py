"""What runs on a device that is reached over ssh: ``python -m fit50.runtimes.agent`` does one thing and ends.

On standard input comes a tar: ``ask.json``, the files of the bundles (``0/model.onnx``), then chunks of images
(``images/0.npz``). On standard output go lines of JSON, each with the version of fit50: a greeting, the progress, and
the answers, or what is wrong. Nothing stays on the device.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, Literal, assert_never

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from fit50.runtimes.base import Bundle, Images
from fit50.runtimes.place import Place
from fit50.spec.benchmark import Load, Until
from fit50.spec.errors import UserError
from fit50.spec.monitor import Monitor
from fit50.spec.value import Value


class AskFacts(Value):
    """What the device is."""

    kind: Literal["facts"] = "facts"


class AskMeasure(Value):
    """Scores of the bundles that come with it."""

    kind: Literal["measure"] = "measure"
    threads: PositiveInt
    rounds: PositiveInt
    batch: PositiveInt
    memory: bool


class AskBenchmark(Value):
    """The thorough measurement of the bundles that come with it."""

    kind: Literal["benchmark"] = "benchmark"
    loads: tuple[Load, ...]
    until: Until


class AskVerify(Value):
    """Whether the bundle that comes with it is what it says."""

    kind: Literal["verify"] = "verify"
    threads: PositiveInt


class AskAnswers(Value):
    """What the bundles that come with it answer on each chunk of images that comes after them."""

    kind: Literal["answers"] = "answers"
    threads: PositiveInt


Ask = AskFacts | AskMeasure | AskBenchmark | AskVerify | AskAnswers


class Request(Value):
    """What is asked, how the bundles that come with it are called, in their order, and how many files they have."""

    ask: Annotated[Ask, Field(discriminator="kind")]
    bundles: tuple[str, ...] = ()
    files: NonNegativeInt = 0


Reply = Callable[[str, Any], None]


class _Told(Monitor):
    """Tells the other side of the progress."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def progress(self, label: str, done: int, total: int) -> None:
        self._reply("progress", (label, done, total))


def in_tar(index: int, file: str = "") -> str:
    """Where a bundle, or one of its files, lies in the tar and below the folder that it is unpacked into."""
    return f"{index:04}/{file}"


def serve(given: IO[bytes], reply: Reply) -> None:
    """Reads one request and replies to it; the bundles are kept as long as that takes."""
    with tempfile.TemporaryDirectory(prefix="fit50-") as name, tarfile.open(fileobj=given, mode="r|") as tar:
        members, folder = iter(tar), Path(name)
        request = Request.model_validate_json(_bytes(tar, next(members)))
        for member in islice(members, request.files):
            path = folder / member.name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_bytes(tar, member))
        folders = {called: folder / in_tar(index) for index, called in enumerate(request.bundles)}
        try:
            bundles = {called: Bundle.open(path) for called, path in folders.items()}
            _answer(request.ask, bundles, (_images(tar, member) for member in members), reply)
        except UserError as error:
            text = str(error)
            for called, path in folders.items():
                text = text.replace(str(path), called)
            reply("error", text)


def _answer(ask: Ask, bundles: Mapping[str, Bundle], chunks: Iterator[tuple[Images, ...]], reply: Reply) -> None:
    place, told = Place(), _Told(reply)
    match ask:
        case AskFacts():
            reply("answer", place.facts.model_dump())
        case AskMeasure(threads=threads, rounds=rounds, batch=batch, memory=memory):
            scores = place.measure(bundles, threads, rounds=rounds, batch=batch, memory=memory, monitor=told)
            reply("answer", {name: score.model_dump() for name, score in scores.items()})
        case AskBenchmark(loads=loads, until=until):
            reply("answer", place.benchmark(bundles, loads, until, told).model_dump())
        case AskVerify(threads=threads):
            (bundle,) = bundles.values()
            reply("answer", vars(place.verify(bundle, threads)))
        case AskAnswers(threads=threads):
            for found in place.answers(bundles, chunks, threads):
                reply("answer", {name: base64.b64encode(each.tobytes()).decode() for name, each in found.items()})
        case _:
            assert_never(ask)


def _images(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[Images, ...]:
    with np.load(io.BytesIO(_bytes(tar, member)), allow_pickle=False) as data:
        return tuple(data[name] for name in data.files)


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def main() -> None:
    """Serves standard input. What runtimes print goes to standard error, so that it is not taken for a reply."""
    lines, own = os.fdopen(os.dup(1), "w", encoding="utf-8"), version("fit50")
    os.dup2(2, 1)

    def reply(kind: str, content: Any) -> None:
        print(json.dumps({"fit50": own, kind: content}), file=lines, flush=True)

    reply("greeting", None)
    serve(sys.stdin.buffer, reply)


if __name__ == "__main__":
    main()
