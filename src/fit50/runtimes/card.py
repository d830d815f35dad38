"""The model card of a bundle: what it is, and the code to run it; and what of that the model file says itself."""

from __future__ import annotations

import json

from fit50.data.decode import covered_size
from fit50.runtimes.base import Manifest, input_names
from fit50.runtimes.openvino import HINTS
from fit50.spec.machine import environment
from fit50.spec.network import Input, Network

_FIT50 = """from pathlib import Path
from fit50.runtimes import runtime
from fit50.runtimes.base import Bundle
session = runtime("{runtime}").open(Bundle.open(Path(".")), threads=1)
{images}
probabilities = session.run(*images.values())"""
_CODE = {
    "openvino": """import openvino
model = openvino.Core().compile_model("model.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "{hint}"}})
{images}
probabilities = model(images)[0]""",
    "onnxruntime": """import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
{images}
probabilities = session.run(None, images)[0]""",
    "onnxruntime-cuda": """import onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=[("CUDAExecutionProvider", {{"use_tf32": 0}})])
{images}
probabilities = session.run(None, images)[0]""",
    "executorch": """import torch
from executorch.runtime import Runtime
method = Runtime.get().load_program("model.pte").load_method("forward")  # for 1 to 8 images at once
{images}
probabilities = method.execute([torch.from_numpy(each) for each in images.values()])[0].numpy()""",
    "tensorrt": _FIT50,
    "torch": _FIT50,
}
_LIMITS = "# for opaque photographs of 8 bits, as cameras save them; fit50 predict reads others as well\n"
_READ = {
    "stretch": """
def stretch(photo, mode, width, height):
    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB").convert(mode)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(image).reshape(1, height, width, -1)
""",
    "crop": """
def crop(photo, mode, width, height, wide, high):  # scaled to just cover wide x high, then the centre
    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB").convert(mode)
    if image.size != (width, height):
        w, h = image.size
        size = (max(wide, high * w // h), high) if h * wide <= w * high else (wide, max(high, wide * h // w))
        left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
        image = image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))
    return np.array(image).reshape(1, height, width, -1)
""",
}


def model_card(manifest: Manifest) -> str:
    """A short card in Markdown."""
    inputs = dict(zip(input_names(manifest.network), manifest.network.inputs, strict=True))
    photos = {name: f"{name}.jpg" if len(inputs) > 1 else "photo.jpg" for name in inputs}
    given = ", ".join(f"{name!r}: {_read(image, photos[name])}" for name, image in inputs.items())
    run = _CODE[manifest.runtime].format(
        images=f"images = {{{given}}}", hint=HINTS[manifest.precision], runtime=manifest.runtime
    )
    read = "".join(code for kind, code in _READ.items() if kind in {image.resize for image in inputs.values()})
    code = f"import numpy as np\nfrom PIL import Image, ImageOps\n{_LIMITS}{read}\n{run}"
    listed = ", ".join(manifest.classes[:20]) + (", ..." if len(manifest.classes) > 20 else "")
    taken = "".join(f"- `{name}`: {_taken(image)}\n" for name, image in inputs.items())
    fusion = manifest.network.fusion
    missing = "An image of zeros counts as missing.\n" if fusion and fusion.modality_dropout else ""
    return (
        f"# Image classifier ({manifest.runtime}, {manifest.precision})\n\n"
        f"A ResNet variant made by fit50 that tells {len(manifest.classes)} classes apart: {listed}.\n\n"
        f"Input, with normalisation inside the file:\n\n{taken}{missing}\n"
        "Output: probabilities (N, classes), in the order of `classes` in `bundle.json`, which also holds what was "
        "measured and where.\n\n"
        f"```python\n{code}\n```\n\n"
        "`fit50 verify .` checks that this file answers here as it did where it was made; "
        f"`fit50 predict . {' '.join(photos.values())}` classifies an image.\n"
    )


def _read(image: Input, photo: str) -> str:
    """How a photograph becomes an input: a call of what ``_READ`` holds, which does as ``fit_image`` does."""
    covered = covered_size(image)[::-1] if image.resize == "crop" else ()
    sizes = ", ".join(map(str, (image.width, image.height, *covered)))
    return f"{image.resize}({photo!r}, {'L' if image.channels == 1 else 'RGB'!r}, {sizes})"


def metadata(network: Network, classes: tuple[str, ...], provenance: dict[str, str]) -> dict[str, str]:
    """What a model file says of itself where its format has a place for it: texts, some of them JSON.

    ``fit50`` is the version that made it, ``classes`` a list in the order of the probabilities, ``inputs`` what each
    input takes and how an image becomes that, ``provenance`` where the model comes from.
    """
    inputs = dict(zip(input_names(network), map(_taken, network.inputs), strict=True))
    return {
        "fit50": environment().versions["fit50"],
        "classes": json.dumps(classes, ensure_ascii=False),
        "inputs": json.dumps(inputs),
        "provenance": json.dumps(provenance, ensure_ascii=False),
    }


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
