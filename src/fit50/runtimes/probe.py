"""Run as a fresh process: opens a bundle, predicts one image, prints the time and the peak memory as JSON.

What the user can mend is printed as ``{"error": ...}``, with exit code 2.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
from fit50.runtimes.verify import sample
from fit50.spec.errors import UserError


def main(folder: str, threads: str) -> None:
    """Prints ``{"memory": megabytes, "milliseconds": ...}``; the time includes the import of the runtime."""
    try:
        bundle = Bundle.open(Path(folder))
        images = sample(bundle, 1)
        start = time.perf_counter()
        runtime(bundle.manifest.runtime).open(bundle, int(threads)).run(*images)
    except UserError as error:
        print(json.dumps({"error": str(error)}))
        sys.exit(2)
    print(json.dumps({"milliseconds": (time.perf_counter() - start) * 1e3, "memory": _peak_bytes() / 1e6}))


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
