"""The main job in a process of its own, which may be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

from fit50.runtimes.base import Bundle
from fit50.runtimes.verify import verify

_SAVING_EVERY_EPOCH = """
import sys
from functools import partial
from fit50.cli import main
from fit50.pipeline import realise
realise.train = partial(realise.train, save_seconds=0)
main(sys.argv[1:])
"""


def optimizing(config: Path, out: Path) -> subprocess.Popen[str]:
    """Starts ``fit50 optimize``, which keeps the state of its training after every epoch."""
    words = ["optimize", "--config", str(config), "--out", str(out), "--json"]
    command = [sys.executable, "-c", _SAVING_EVERY_EPOCH, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def models(out: Path) -> dict[str, bytes]:
    """The bytes of every finished checkpoint, by the name of its run."""
    return {path.parent.name: path.read_bytes() for path in (out / "steps").glob("*/model.safetensors")}


def check_everything_is_whole(out: Path) -> None:
    """Every checkpoint, log and bundle below ``out`` can be read."""
    for path in out.rglob("*.safetensors"):
        if not path.name.startswith("."):
            load_file(path)
    for path in out.rglob("log.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line)
    for path in out.rglob("bundle.json"):
        if ".part" not in str(path):
            verify(Bundle.open(path.parent), threads=1)
