"""The model card of a bundle: what it is, and the code to run it."""

from __future__ import annotations

from fit50.runtimes.base import Manifest, input_names
from fit50.runtimes.openvino import HINTS
from fit50.spec.network import Input

_CODE = {
    "openvino": """import numpy as np, openvino
model = openvino.Core().compile_model("model.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "{hint}"}})
{images}
probabilities = model(images)[0]""",
    "onnxruntime": """import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
{images}
probabilities = session.run(None, images)[0]""",
    "torch": """from pathlib import Path
import numpy as np
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
session = runtime("torch").open(Bundle.open(Path(".")), threads=1)
{images}
probabilities = session.run(*images.values())""",
}


def model_card(manifest: Manifest) -> str:
    """A short card in Markdown."""
    inputs = dict(zip(input_names(manifest.network), manifest.network.inputs, strict=True))
    zeros = "".join(
        f"    {name!r}: np.zeros({(1, image.height, image.width, image.channels)}, np.uint8),  # {_colours(image)}\n"
        for name, image in inputs.items()
    )
    code = _CODE[manifest.runtime].format(images=f"images = {{\n{zeros}}}", hint=HINTS[manifest.precision])
    listed = ", ".join(manifest.classes[:20]) + (", ..." if len(manifest.classes) > 20 else "")
    taken = "".join(f"- `{name}`: {_taken(image)}\n" for name, image in inputs.items())
    fusion = manifest.network.fusion
    missing = "An image of zeros counts as missing.\n" if fusion and fusion.modality_dropout else ""
    photos = " ".join(["photo.jpg"] if len(inputs) == 1 else [f"{name}.jpg" for name in inputs])
    return (
        f"# Image classifier ({manifest.runtime}, {manifest.precision})\n\n"
        f"A ResNet variant made by fit50 that tells {len(manifest.classes)} classes apart: {listed}.\n\n"
        f"Input, with normalisation inside the file:\n\n{taken}{missing}\n"
        "Output: probabilities (N, classes), in the order of `classes` in `bundle.json`, which also holds what was "
        "measured and where.\n\n"
        f"```python\n{code}\n```\n\n"
        "`fit50 verify .` checks that this file answers here as it did where it was made; "
        f"`fit50 predict . {photos}` classifies an image.\n"
    )


def _taken(image: Input) -> str:
    """What an input takes, and how an image of another size becomes that."""
    shape = f"uint8 {_colours(image)} (N, {image.height}, {image.width}, {image.channels})"
    if image.resize == "stretch":
        return f"{shape}, scaled to {image.width}x{image.height} with antialiasing"
    return (
        f"{shape}, scaled with antialiasing until {image.crop_fraction:.3g} of a side is "
        f"{min(image.height, image.width)} pixels, then cropped to the central {image.width}x{image.height}"
    )


def _colours(image: Input) -> str:
    return {1: "grey", 3: "RGB"}.get(image.channels, f"{image.channels} channels") + ", 0 to 255"
