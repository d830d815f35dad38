"""The values know no framework, so that help, reports and small devices start at once."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
import fit50.spec
for module in pkgutil.iter_modules(fit50.spec.__path__, "fit50.spec."):
    importlib.import_module(module.name)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_no_framework_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert {"fit50", "pydantic", "yaml"} <= imported
    assert imported.isdisjoint({"torch", "numpy", "openvino", "onnxruntime", "nncf", "safetensors", "scipy"})
