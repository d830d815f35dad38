"""The model card of a bundle: what it is, and the code to run it."""

from __future__ import annotations

from fit50.runtimes.base import Manifest

_CODE = {
    "openvino": """import numpy as np, openvino
model = openvino.Core().compile_model("model.xml", "CPU")
images = np.zeros((1, {height}, {width}, {channels}), np.uint8)  # RGB, 0 to 255
probabilities = model(images)[0]""",
    "onnxruntime": """import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
images = np.zeros((1, {height}, {width}, {channels}), np.uint8)  # RGB, 0 to 255
probabilities = session.run(None, {{"images": images}})[0]""",
    "torch": """from pathlib import Path
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
session = runtime("torch").open(Bundle.open(Path(".")), threads=1)
# session.run(images): uint8 RGB (N, {height}, {width}, {channels}) to probabilities""",
}


def model_card(manifest: Manifest) -> str:
    """A short card in Markdown."""
    image = manifest.input
    code = _CODE[manifest.runtime].format(height=image.height, width=image.width, channels=image.channels)
    rule = (
        f"scaled to {image.width}x{image.height}"
        if image.resize == "stretch"
        else f"scaled until {image.crop_fraction:.3g} of a side is {min(image.height, image.width)} pixels, then "
        f"cropped to the central {image.width}x{image.height}"
    )
    listed = ", ".join(manifest.classes[:20]) + (", ..." if len(manifest.classes) > 20 else "")
    return (
        f"# Image classifier ({manifest.runtime}, {manifest.precision})\n\n"
        f"A ResNet variant made by fit50 that tells {len(manifest.classes)} classes apart: {listed}.\n\n"
        f"Input: uint8 RGB images (N, {image.height}, {image.width}, {image.channels}), {rule} with antialiasing; "
        "normalisation is inside the file. Output: probabilities (N, classes), in the order of `classes` in "
        "`bundle.json`, which also holds what was measured and where.\n\n"
        f"```python\n{code}\n```\n\n"
        "`fit50 verify .` checks that this file answers here as it did where it was made; "
        "`fit50 predict . photo.jpg` classifies an image.\n"
    )
