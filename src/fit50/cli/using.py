"""Verbs that use bundles. They need no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fit50.cli.options import Json, On, Threads, emit
from fit50.spec.machine import physical_cores
from fit50.spec.network import Input, Network
from fit50.spec.request import Device

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FILES = "One or more image files; for a bundle of two inputs one for each in turn, 'none' for one that is missing."
_MISSING = Path("none")


def predict(
    bundle: Path,
    images: Annotated[tuple[Path, ...], Parameter(help=_FILES, negative="")],
    *,
    top: Annotated[int, Parameter(help="How many classes to name.")] = 3,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Classify images with a bundle.

    Example: fit50 predict runs/photos-1a2b3c4d/best photo.jpg

    Example: fit50 predict runs/pairs-1a2b3c4d/best rgb.png thermal.png
    """
    from fit50.runtimes import runtime as runtime_named
    from fit50.runtimes.base import Bundle

    opened = Bundle.open(bundle)
    network, classes = opened.manifest.network, opened.manifest.classes
    groups = _grouped(images, network)
    session = runtime_named(opened.manifest.runtime).open(opened, threads or physical_cores())
    facts, lines = [], []
    for group in groups:
        (scores,) = session.run(
            *(_pixels(path, image, network)[None] for path, image in zip(group, network.inputs, strict=True))
        )
        best = [(classes[i], float(scores[i])) for i in scores.argsort()[::-1][: max(top, 1)]]
        named: dict[str, object] = {"image": str(group[0])} if len(group) == 1 else {"images": list(map(str, group))}
        facts.append(named | {"classes": [{"name": name, "probability": p} for name, p in best]})
        lines.append(f"{' '.join(map(str, group))}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in best))
    emit({"images": facts}, "\n".join(lines), as_json)


def _grouped(images: tuple[Path, ...], network: Network) -> list[tuple[Path, ...]]:
    """The files, so many at a time as the network has inputs. Raises DataError."""
    from fit50.spec.errors import DataError

    for path in images:
        if path.is_dir():
            raise DataError(f"{path}: expected image files, found a folder; name the files in it, such as {path}/*.jpg")
    count, names = len(network.inputs), " ".join(image.name for image in network.inputs)
    groups = [images[place : place + count] for place in range(0, len(images), count)]
    if len(images) % count:
        raise DataError(f"expected images in groups of {count} ({names}), found {len(images)}; give one for each input")
    if network.fusion is not None and (_MISSING,) * count in groups:
        raise DataError(f"expected an image for at least one of {names}, found none for each")
    return groups


def _pixels(path: Path, image: Input, network: Network) -> NDArray[np.uint8]:
    """An image (H, W, C) for an input; zeros where it is missing. Raises DataError."""
    import numpy as np

    from fit50.data.decode import fit_image, read_image
    from fit50.spec.errors import DataError

    if network.fusion is None or path != _MISSING:
        return fit_image(read_image(path), image)
    if not network.fusion.modality_dropout:
        raise DataError(
            f"{image.name}: expected an image, found none; the network never trained without one "
            "(fusion.modality_dropout is 0)"
        )
    return np.zeros((image.height, image.width, image.channels), np.uint8)


def verify(bundle: Path, *, device: On = "cpu", threads: Threads = None, as_json: Json = False) -> None:
    """Check a bundle: its files' digests, and that it answers on a device as it did where it was made.

    Example: fit50 verify runs/photos-1a2b3c4d/best

    Example: fit50 verify runs/photos-1a2b3c4d/best --device ssh://pi@camera
    """
    from fit50.runtimes.base import Bundle
    from fit50.runtimes.remote import place_of

    opened, place = Bundle.open(bundle), place_of(Device.parse({"name": device}, "--device"))
    found = place.verify(opened, threads or place.facts.environment.cores)
    text = (
        f"{bundle}: model files unchanged; {found.same_answers} of {found.images} golden answers the same; largest "
        f"difference of a probability {found.largest_difference:.2g} (allowed {found.tolerance:.2g})"
    )
    emit({"bundle": str(bundle), **vars(found)}, text, as_json)
