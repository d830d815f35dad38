"""Signals reach Python whatever became of OpenVINO's models."""

from __future__ import annotations

import subprocess
import sys

_MODELS = """
import gc
import signal
import numpy as np
import openvino as ov
import openvino.opset13 as op
from fit50.runtimes.openvino import OpenVinoSession

def session():
    image = op.parameter([-1, 8, 8, 3], np.uint8)
    model = ov.Model([op.softmax(op.convert(op.reshape(image, [-1, 192], False), np.float32), 1)], [image], "model")
    made = OpenVinoSession(ov.Core(), model, 1)
    made.run(np.zeros((2, 8, 8, 3), np.uint8))
    return made

first, second = session(), session()
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda number, frame: print("heard"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_after_models_went_in_another_order_than_they_came() -> None:
    done = subprocess.run([sys.executable, "-c", _MODELS], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
