"""Run as a fresh process: opens a bundle, predicts one image, prints the peak memory of the process as JSON."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.runtimes.verify import sample


def main(folder: str, threads: str) -> None:
    """Prints ``{"peak_mb": ...}``."""
    bundle = Bundle.open(Path(folder))
    runtime(bundle.manifest.runtime).open(bundle, int(threads)).run(*sample(bundle, 1))
    print(json.dumps({"peak_mb": _peak_bytes() / 1e6}))


def _peak_bytes() -> int:
    """The most memory that this process ever held. On Linux, getrusage would count the parent's before exec too."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


if __name__ == "__main__":
    main(*sys.argv[1:])
