"""From a file's bytes to the pixels a network is given: the one decoding, resize and crop rule of fit50."""

from __future__ import annotations

import errno
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fit50.spec.errors import DataError, NotBuiltError
from fit50.spec.network import Input

Pixels = NDArray[np.uint8]

PIXEL_LIMIT = 178_956_970
# Not there (a broken link), or not permitted: it stays so until somebody mends it.
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM})

# EPS would run Ghostscript; the others are video, vector drawings or containers whose decoder is not in Pillow.
_REFUSED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WARNINGS = threading.Lock()


class MissingImage(DataError):
    """An image that is listed and not there, or not permitted to be read: it is set aside.

    Any other failure to read may pass, and says nothing of the image.
    """


def read_image(file: Path | BinaryIO, *, pixel_limit: int = PIXEL_LIMIT) -> Pixels:
    """Decodes an image of any mode to upright RGB.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits, and of several frames
    the first is taken.

    Args:
        file: a path, or an open binary file (read from where it stands).
        pixel_limit: the most pixels an image may have; looked up in its header before anything is decoded. Pillow's
            own limit of 178,956,970 holds besides.

    Returns:
        uint8 (H, W, 3).

    Raises:
        DataError: the file cannot be read, is empty, no image, damaged or truncated, or has too many pixels.
    """
    if isinstance(file, Path):
        return decode_image(read_bytes(file), str(file), pixel_limit=pixel_limit)
    return decode_image(file.read(), str(getattr(file, "name", "the given image")), pixel_limit=pixel_limit)


def read_bytes(path: Path) -> bytes:
    """The file's content. Raises MissingImage, or DataError for a failure that may pass, such as of a connection."""
    try:
        return path.read_bytes()
    except OSError as error:
        found = f"{path}: expected a readable file, found: {error.strerror}"
        if error.errno in _MISSING:
            raise MissingImage(f"{found}; restore or remove it") from None
        raise DataError(f"{found}; check the disk or the connection and run the same command again") from None


def decode_image(
    data: bytes, name: str, *, pixel_limit: int = PIXEL_LIMIT, least: tuple[int, int] | None = None
) -> Pixels:
    """As ``read_image``, from bytes in memory; ``name`` is what errors call them.

    With ``least``, a height and width that are enough, a JPEG comes out at the smallest of 1/8, 1/4, 1/2 and 1 of its
    size that covers them: two to three times faster, with slightly other pixels. For training only; evaluation and the
    deployed file scale whole images.
    """
    with _opened(data, name, pixel_limit) as image:
        try:
            if least is not None:
                height, width = least
                image.draft(None, (height, width) if _lying(image) else (width, height))
            _load(image)
            pixels = np.array(_to_rgb(_upright(image)))
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder meets in damaged bytes: OSError, SyntaxError, struct.error, ...
            raise DataError(
                f"{name}: expected a whole image, found a damaged or truncated {image.format} file ({error}); "
                f"replace or remove it"
            ) from None
    if not pixels.size:
        raise DataError(f"{name}: expected an image, found one without pixels; replace or remove it")
    return pixels


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """(height, width) of the upright image, from its header. Raises DataError."""
    with _opened(data, name, PIXEL_LIMIT) as image:
        width, height = image.size
        return (width, height) if _lying(image) else (height, width)


@cache
def image_suffixes() -> frozenset[str]:
    """The extensions of the image files that fit50 reads: lower case, with the dot."""
    readable = _formats()
    return frozenset(suffix for suffix, form in Image.registered_extensions().items() if form in readable)


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(form for form in Image.ID if form not in _REFUSED)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Pillow's warnings to itself; the filters belong to the whole process, hence the lock."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def _opened(data: bytes, name: str, pixel_limit: int) -> Iterator[Image.Image]:
    """The image with only its header read."""
    if not data:
        raise DataError(f"{name}: expected an image, found an empty file (0 bytes); replace or remove it")
    try:
        with _quiet():
            image = Image.open(BytesIO(data), formats=_formats())
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: {error}; scale the image down or remove it") from None
    except MemoryError:
        raise
    except Exception:  # besides UnidentifiedImageError, a format's header reader raises what it likes
        raise DataError(
            f"{name}: expected an image, found {len(data):,} bytes, beginning with {data[:8]!r}, that are of another "
            f"kind or end in the header; replace or remove the file"
        ) from None
    with image:
        width, height = image.size
        if width * height > pixel_limit:
            raise DataError(
                f"{name}: expected at most {pixel_limit:,} pixels, found {height} x {width} = {height * width:,}; "
                f"scale the image down or remove it"
            )
        yield image


def _load(image: Image.Image) -> None:
    """Decodes; the few images that are large enough to be warned about, one at a time."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or PIXEL_LIMIT):
        with _quiet():
            image.load()
    else:
        image.load()


def _orientation(image: Image.Image) -> int:
    try:
        with _quiet():
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # unreadable EXIF says nothing about the image
        return 1


def _lying(image: Image.Image) -> bool:
    """Whether the stored width is the upright image's height; of a TIFF, Pillow's size is upright."""
    return image.format != "TIFF" and _orientation(image) in {5, 6, 7, 8}


def _upright(image: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise DataError("expected 8 or 16 bits for each value, found floating-point numbers; save it as 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _to_8_bits(grey: NDArray[np.integer]) -> Pixels:
    """0..65535 to 0..255, rounded; (H, W)."""
    values = grey.astype(np.int64)
    if values.size and not 0 <= values.min() <= values.max() <= 65535:
        raise DataError(
            f"expected grey values from 0 to 65535, found {values.min()} to {values.max()}; save it as 8 or 16 bits"
        )
    return ((values + 128) // 257).astype(np.uint8)


def fit_image(pixels: Pixels, input: Input) -> Pixels:
    """Brings an image to a network's input: the rule that training, evaluation and the deployed file share.

    ``stretch`` scales to height x width. ``crop`` scales by one factor, such that an image of height / crop_fraction x
    width / crop_fraction is just covered, and takes the centre (torchvision's evaluation transform). Scaling is
    antialiased and bilinear. An image that already has the input's height and width is not touched.

    Args:
        pixels: uint8 (H, W, 3), as ``read_image`` gives them.
        input: one channel means luminance (ITU-R 601), three mean RGB.

    Returns:
        uint8 (input.height, input.width, input.channels).

    Raises:
        NotBuiltError: the input has another number of channels.
        DataError: the pixels are not uint8 (H, W, 3), or the image is too elongated to be cropped.
    """
    if input.channels not in {1, 3}:
        raise NotBuiltError(f"input {input.name!r}: expected 1 or 3 channels, found {input.channels}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise DataError(f"expected an image as uint8 (height, width, 3), found {pixels.dtype} {pixels.shape}")
    image = Image.fromarray(pixels) if input.channels == 3 else Image.fromarray(pixels).convert("L")
    if pixels.shape[:2] != (input.height, input.width):
        image = _crop(image, input) if input.resize == "crop" else _scale(image, input.height, input.width)
    return np.array(image).reshape(input.height, input.width, input.channels)


def covered_size(input: Input) -> tuple[int, int]:
    """(height, width) in pixels that an image has to cover, lest ``fit_image`` enlarges it."""
    share = input.crop_fraction if input.resize == "crop" else 1.0
    return round(input.height / share), round(input.width / share)


def _scale(image: Image.Image, height: int, width: int) -> Image.Image:
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _crop(image: Image.Image, input: Input) -> Image.Image:
    height, width = _covering(image, *covered_size(input))
    if height * width > PIXEL_LIMIT:
        raise DataError(
            f"an image of {image.height} x {image.width} is too elongated to be cropped to "
            f"{input.height} x {input.width}; crop it yourself, or choose resize: stretch"
        )
    top, left = round((height - input.height) / 2), round((width - input.width) / 2)
    return _scale(image, height, width).crop((left, top, left + input.width, top + input.height))


def _covering(image: Image.Image, height: int, width: int) -> tuple[int, int]:
    """The least size of the image's proportions that covers height x width."""
    if image.height * width <= image.width * height:
        return height, max(width, height * image.width // image.height)
    return max(height, width * image.height // image.width), width
