from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fit50.data.decode import (
    Pixels,
    covered_size,
    decode_image,
    fit_image,
    image_size,
    image_suffixes,
    read_image,
)
from fit50.spec.errors import DataError, NotBuiltError
from fit50.spec.network import Input

UPRIGHT = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 9, 9], [99, 99, 99], [199, 199, 199]]], np.uint8)

# How a camera stores an upright image under each EXIF orientation.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.swapaxes(0, 1),
    6: np.rot90(UPRIGHT, 1),
    7: np.rot90(UPRIGHT, 2).swapaxes(0, 1),
    8: np.rot90(UPRIGHT, -1),
}


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def read(image: Image.Image, form: str = "PNG", **options: Any) -> Pixels:
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return read_image(file)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and ends where its pixels should be."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\x09IDAT"
    )


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "PPM"])
def test_rgb_is_read_exactly(form: str) -> None:
    pixels = read(Image.fromarray(UPRIGHT), form)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, UPRIGHT)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a", Image.fromarray(np.ascontiguousarray(STORED[orientation])), format=form, exif=exif)
    assert np.array_equal(read_image(path), UPRIGHT)
    assert image_size(path.read_bytes(), "a") == (2, 3)


def test_unreadable_exif_does_not_matter() -> None:
    pixels = read(Image.fromarray(UPRIGHT), exif=b"Exif\x00\x00nonsense")
    assert np.array_equal(pixels, UPRIGHT)


def test_pixels_may_be_written_to() -> None:
    read(Image.fromarray(UPRIGHT))[0] = 0


def test_grey_and_1_bit() -> None:
    grey = np.array([[0, 100, 255]], np.uint8)
    assert read(Image.fromarray(grey)).tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    assert read(Image.fromarray(grey).convert("1", dither=Image.Dither.NONE)).tolist() == [
        [[0] * 3, [0] * 3, [255] * 3]
    ]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(form: str) -> None:
    grey = np.array([[0, 128, 129, 257, 25700, 65535]], np.uint16)
    assert read(Image.fromarray(grey), form)[0, :, 0].tolist() == [0, 0, 1, 1, 100, 255]


def test_big_endian_16_bit_tiff(tmp_path: Path) -> None:
    grey = np.array([[0, 25700, 65535]], ">u2")
    image = Image.frombytes("I;16B", (3, 1), grey.tobytes())
    assert read_image(saved(tmp_path / "a.tif", image))[0, :, 0].tolist() == [0, 100, 255]


def test_palette() -> None:
    assert np.array_equal(read(Image.fromarray(UPRIGHT).quantize(6)), UPRIGHT)


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_transparent_palette_lies_on_white(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert read(image, transparency=transparency).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_alpha_lies_on_white() -> None:
    rgba = Image.fromarray(np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], np.uint8))
    assert read(rgba).tolist() == [[[255] * 3, [10, 20, 30], [127] * 3]]
    assert read(rgba.convert("LA"))[0, 0].tolist() == [255] * 3


def test_a_transparent_colour_lies_on_white() -> None:
    assert read(Image.fromarray(UPRIGHT), transparency=(255, 0, 0))[0, :2].tolist() == [[255] * 3, [0, 255, 0]]


def test_cmyk_jpeg() -> None:
    pixels = read(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() < 5


def test_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    pixels = read(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (pixels == [255, 0, 0]).all()


def test_float_and_wide_integers_are_refused_with_a_reason(tmp_path: Path) -> None:
    real = saved(tmp_path / "real.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    with pytest.raises(DataError, match=r"real\.tif: expected 8 or 16 bits for each value, found floating-point"):
        read_image(real)
    wide = saved(tmp_path / "wide.tif", Image.fromarray(np.full((2, 2), 70_000, np.int32)))
    with pytest.raises(DataError, match=r"wide\.tif: expected grey values from 0 to 65535, found 70000"):
        read_image(wide)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"found an empty file \(0 bytes\); replace or remove it"),
        (b"<html>not found</html>", r"found 22 bytes, beginning with b'<html>no', that are of another kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "of another kind"),
        (png_header(4, 4), "expected a whole image, found a damaged or truncated PNG file"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, form: str, part: float) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(file, form)
    path = tmp_path / "a"
    path.write_bytes(file.getvalue()[: int(len(file.getvalue()) * part)])
    with pytest.raises(DataError):
        read_image(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png: expected a readable file, found: No such file"):
        read_image(tmp_path / "nothing.png")


def test_the_pixel_limit_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    file = io.BytesIO(png_header(100, 50))
    with pytest.raises(DataError, match=r"at most 4,999 pixels, found 50 x 100 = 5,000; scale the image down"):
        read_image(file, pixel_limit=4_999)


@pytest.mark.parametrize("side", [10_000, 13_000, 60_000])
def test_a_decompression_bomb_gives_no_warning(side: int) -> None:
    before = Image.MAX_IMAGE_PIXELS, warnings.filters[:]
    with pytest.raises(DataError, match=r"pixels"):
        read_image(io.BytesIO(png_header(side, side)), pixel_limit=10**6)
    assert (Image.MAX_IMAGE_PIXELS, warnings.filters[:]) == before


def test_suffixes_are_of_images_only() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif"} <= image_suffixes()
    assert not {".eps", ".mpg", ".h5", ".pdf", ".txt", ""} & image_suffixes()


def test_an_image_that_fits_keeps_its_bits() -> None:
    for resize in ("stretch", "crop"):
        assert np.array_equal(fit_image(UPRIGHT, Input(height=2, width=3, resize=resize)), UPRIGHT)


def test_one_channel_is_luminance() -> None:
    grey = Input(height=2, width=3, channels=1, mean=(0.5,), std=(0.5,))
    assert fit_image(UPRIGHT, grey)[..., 0].tolist() == [[76, 150, 29], [9, 99, 199]]


def test_other_channel_counts_are_not_built() -> None:
    four = Input(channels=4, mean=(0.5,) * 4, std=(0.5,) * 4)
    with pytest.raises(NotBuiltError, match="expected 1 or 3 channels, found 4"):
        fit_image(UPRIGHT, four)


@pytest.mark.parametrize("pixels", [UPRIGHT[..., 0], UPRIGHT.astype(np.float32), UPRIGHT[:0]])
def test_what_is_no_rgb_image_does_not_fit(pixels: Pixels) -> None:
    with pytest.raises(DataError, match=r"expected an image as uint8 \(height, width, 3\)"):
        fit_image(pixels, Input())


def test_stretch_uses_the_whole_image_antialiased() -> None:
    columns = np.zeros((8, 8, 3), np.uint8)
    columns[:, ::2] = 254
    small = fit_image(columns, Input(height=2, width=2, resize="stretch"))
    assert np.abs(small.astype(int) - 127).max() <= 25


@pytest.mark.parametrize("shape", [(37, 53), (53, 37), (20, 20), (224, 100)])
@pytest.mark.parametrize("side", [32, 21])
def test_crop_is_torchvisions_evaluation_transform(shape: tuple[int, int], side: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    theirs = transforms.Compose([transforms.Resize(round(side / 0.875)), transforms.CenterCrop(side)])
    assert np.array_equal(fit_image(pixels, Input(height=side, width=side)), np.array(theirs(Image.fromarray(pixels))))


def test_a_thread_of_an_image_is_not_cropped_into_gigabytes() -> None:
    with pytest.raises(DataError, match="1 x 2000000 is too elongated"):
        fit_image(np.zeros((1, 2_000_000, 3), np.uint8), Input())


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["stretch", "crop"]),
    st.floats(0.2, 1),
    st.integers(0, 255),
)
def test_any_size_is_brought_to_any_input(
    size: tuple[int, int], target: tuple[int, int], resize: str, fraction: float, value: int
) -> None:
    input = Input(height=target[0], width=target[1], resize=resize, crop_fraction=fraction)
    fitted = fit_image(np.full((*size, 3), value, np.uint8), input)
    assert fitted.shape == (*target, 3)
    assert (fitted == value).all()


@pytest.mark.parametrize(
    ("least", "size"), [((60, 101), (120, 200)), ((60, 100), (60, 100)), ((1, 1), (15, 25)), ((999, 1), (120, 200))]
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_scaled_down_to_no_less_than_is_asked(
    least: tuple[int, int], size: tuple[int, int], orientation: int
) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (200, 120) if orientation == 1 else (120, 200), "red").save(file, "JPEG", exif=exif)
    pixels = decode_image(file.getvalue(), "a", least=least)
    assert pixels.shape == (*size, 3)
    assert (np.abs(pixels.astype(int) - [254, 0, 0]) < 3).all()


def test_only_a_jpeg_is_scaled_while_it_is_decoded() -> None:
    file = io.BytesIO()
    Image.new("RGB", (200, 120)).save(file, "PNG")
    assert decode_image(file.getvalue(), "a", least=(1, 1)).shape == (120, 200, 3)


@pytest.mark.parametrize(
    ("input", "size"),
    [(Input(), (256, 256)), (Input(resize="stretch"), (224, 224)), (Input(height=21, width=42), (24, 48))],
)
def test_the_size_that_an_image_has_to_cover(input: Input, size: tuple[int, int]) -> None:
    assert covered_size(input) == size


@pytest.mark.parametrize("where", ["PIL.Image.open", "fit50.data.decode._load"])
def test_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise MemoryError

    data = io.BytesIO()
    Image.new("RGB", (4, 4)).save(data, "PNG")
    monkeypatch.setattr(where, full)
    with pytest.raises(MemoryError):
        decode_image(data.getvalue(), "a.png")
