"""What every runtime must do, whatever it runs on."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from itertools import chain, repeat
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from tests.contracts.networks import KINDS, MISSING, photographs

from fit50.data.decode import fit_image, read_image
from fit50.nn.cost import Cost, cost
from fit50.nn.deployed import Deployed
from fit50.runtimes import base, promise
from fit50.runtimes.base import Bundle, Calibration, Images, Probabilities, Runtime, Session, sha256
from fit50.runtimes.measure import measure, peak_memory
from fit50.runtimes.signals import same_signal_stack
from fit50.runtimes.verify import verify
from fit50.spec.errors import BundleError, DataError, MissingExtraError, RuntimeRefusal, StorageError
from fit50.spec.numerics import Half, Int8
from fit50.spec.request import Device
from fit50.weights.checkpoint import Checkpoint

INT8 = Int8(dataset="some", samples=16, max_drop=100)
MEGABYTE = 10**6


def truth(checkpoint: Checkpoint, *images: Images) -> Probabilities:
    """What torch answers, from the checkpoint itself."""
    with torch.inference_mode():
        answers: Probabilities = Deployed(checkpoint.module())(*map(torch.from_numpy, images)).numpy()
    return answers


def flip_byte(path: Path) -> None:
    """Changes one byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def save_photo(path: Path) -> None:
    """A photograph of odd sides that lies on its side, as cameras save them."""
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    lying = Image.Exif()
    lying[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise).save(path, exif=lying)


def rewrite_golden(bundle: Bundle, change: Callable[[Probabilities], Probabilities]) -> None:
    """Replaces the golden probabilities."""
    images, probabilities = bundle.golden()
    np.savez_compressed(bundle.folder / "golden.npz", *images, probabilities=change(probabilities))


def weights_size(bundle: Bundle) -> int:
    """Bytes of the model's largest file."""
    return max((bundle.folder / name).stat().st_size for name in bundle.manifest.files)


class RuntimeContract(ABC):
    """Inherit, and give ``runtime``.

    ``package`` is what it needs, ``extra`` what brings that to a device, ``training_extra`` to where files are made,
    ``memory`` the megabytes that a process which runs a tiny file stays below.
    """

    package: str
    extra: str
    training_extra = "train"
    memory: int

    @pytest.fixture(scope="class")
    @classmethod
    @abstractmethod
    def runtime(cls) -> Runtime:
        """The runtime under test."""

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, runtime: Runtime, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        """A float32 bundle, to be read only."""
        return runtime.export(checkpoint, tmp_path_factory.mktemp("float") / "bundle")

    @pytest.fixture(scope="class")
    @classmethod
    def pair(cls, runtime: Runtime, kinds: dict[str, Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        """A float32 bundle of a network with two inputs, to be read only."""
        return runtime.export(kinds[MISSING[-1]], tmp_path_factory.mktemp("pair") / "bundle")

    @pytest.fixture
    def copy(self, bundle: Bundle, tmp_path: Path) -> Bundle:
        """A copy of the bundle, to be broken."""
        return bundle.copy(tmp_path / "copy")

    @pytest.fixture
    def session(self, runtime: Runtime, bundle: Bundle) -> Session:
        return runtime.open(bundle, threads=1)

    def test_the_bundle_has_a_model_a_manifest_golden_answers_and_a_card(self, bundle: Bundle) -> None:
        assert {file.name for file in bundle.folder.iterdir()} == {
            "bundle.json",
            "golden.npz",
            "README.md",
            *bundle.manifest.files,
        }
        assert bundle.manifest.files

    def test_the_manifest_says_what_the_model_is(
        self, runtime: Runtime, bundle: Bundle, checkpoint: Checkpoint
    ) -> None:
        manifest = bundle.manifest
        assert (manifest.runtime, manifest.precision) == (runtime.name, "float32")
        assert manifest.classes == checkpoint.classes
        assert manifest.network == checkpoint.network
        assert manifest.provenance == checkpoint.provenance
        assert manifest.files == {name: sha256(bundle.folder / name) for name in manifest.files}

    def test_a_bundle_opened_again_is_the_same(self, bundle: Bundle) -> None:
        assert Bundle.open(bundle.folder) == bundle

    def test_the_size_is_that_of_the_files(self, bundle: Bundle) -> None:
        found = sum(len((bundle.folder / name).read_bytes()) for name in bundle.manifest.files)
        assert bundle.size * MEGABYTE == pytest.approx(found)
        assert found > 0

    def test_answers_agree_with_torch_for_any_batch(
        self, session: Session, checkpoint: Checkpoint, images: Images
    ) -> None:
        expected = truth(checkpoint, images)
        assert expected.std(0).max() > 0.01, "agreement would be trivial"
        for count in (1, 3, 1):
            answers = session.run(images[:count])
            assert answers.dtype == np.float32
            assert answers.shape == (count, len(checkpoint.classes))
            assert answers.sum(1) == pytest.approx(np.ones(count), abs=1e-5)
            assert np.abs(answers - expected[:count]).max() < 1e-4

    def test_answers_stay_when_the_next_images_come(self, session: Session, images: Images) -> None:
        first = session.run(images[:1])
        kept = first.copy()
        session.run(images[1:2])
        assert np.array_equal(first, kept)

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_of_network_agrees_with_torch(
        self, runtime: Runtime, kinds: dict[str, Checkpoint], tmp_path: Path, kind: str
    ) -> None:
        checkpoint, images = kinds[kind], photographs(KINDS[kind])
        session = runtime.open(runtime.export(checkpoint, tmp_path / "bundle"), threads=1)
        expected = truth(checkpoint, *images)
        for index, array in enumerate(images):
            others = truth(checkpoint, *images[:index], array[::-1].copy(), *images[index + 1 :])
            assert np.abs(others - expected).max() > 0.01, "agreement would be trivial"
        for count in (1, len(expected)):
            answers = session.run(*(array[:count] for array in images))
            assert np.abs(answers - expected[:count]).max() < 1e-4

    @pytest.mark.parametrize("kind", MISSING)
    def test_missing_images_agree_with_torch(
        self, runtime: Runtime, kinds: dict[str, Checkpoint], tmp_path: Path, kind: str
    ) -> None:
        checkpoint, (first, second) = kinds[kind], photographs(KINDS[kind])
        session = runtime.open(runtime.export(checkpoint, tmp_path / "bundle"), threads=1)
        whole = truth(checkpoint, first, second)
        first[:3], second[3:6] = 0, 0
        expected = truth(checkpoint, first, second)
        assert (np.abs(expected - whole).max(1) > 0.001).tolist() == [True] * 6 + [False] * 2
        assert np.abs(session.run(first, second) - expected).max() < 1e-4

    @pytest.mark.parametrize("which", ["bundle", "pair"])
    def test_other_numbers_of_images_are_refused(
        self, runtime: Runtime, request: pytest.FixtureRequest, which: str
    ) -> None:
        bundle: Bundle = request.getfixturevalue(which)
        session = runtime.open(bundle, threads=1)
        images, _ = bundle.golden()
        for given in ((), images[:-1], (*images, images[0])):
            with pytest.raises(DataError, match=rf"images for {len(images)} inputs? .* found {len(given)} of lengths"):
                session.run(*given)
        if which == "pair":
            with pytest.raises(
                DataError, match=r"one array for each and all of one length, found 2 of lengths \[4, 1\]"
            ):
                session.run(images[0], images[1][:1])

    def test_golden_answers_are_those_of_torch(
        self, bundle: Bundle, pair: Bundle, checkpoint: Checkpoint, kinds: dict[str, Checkpoint]
    ) -> None:
        for made, source in ((bundle, checkpoint), (pair, kinds[MISSING[-1]])):
            images, probabilities = made.golden()
            inputs = source.network.inputs
            assert [array.shape for array in images] == [(4, i.height, i.width, i.channels) for i in inputs]
            assert np.abs(probabilities - truth(source, *images)).max() < 1e-4

    def test_no_network_is_refused(self, runtime: Runtime, checkpoint: Checkpoint) -> None:
        assert runtime.refusal(checkpoint.network, Device()) is None

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_half_precision_is_half_the_size_or_refused(
        self,
        runtime: Runtime,
        bundle: Bundle,
        checkpoint: Checkpoint,
        images: Images,
        tmp_path: Path,
        precision: Literal["bf16", "fp16"],
    ) -> None:
        half = replace(checkpoint, numerics=Half(kind=precision))
        if refusal := runtime.refusal(checkpoint.network, Device(), precision):
            with pytest.raises(RuntimeRefusal, match=re.escape(refusal)):
                runtime.export(half, tmp_path / "bundle")
            assert precision in refusal
            assert list(tmp_path.iterdir()) == []
            return
        made = runtime.export(half, tmp_path / "bundle")
        assert made.manifest.precision == precision
        assert made.size < 0.65 * bundle.size
        assert 1.8 < weights_size(bundle) / weights_size(made) < 2.1
        difference = np.abs(runtime.open(made, threads=1).run(images) - truth(checkpoint, images)).max()
        assert 1e-5 < difference < made.manifest.tolerance
        assert verify(made, threads=1).same_answers == 4
        assert "f32" not in (made.folder / "README.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize("which", ["bundle", "pair"])
    def test_the_code_on_the_card_runs(
        self,
        runtime: Runtime,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        which: str,
    ) -> None:
        bundle: Bundle = request.getfixturevalue(which)
        bundle = bundle.copy(tmp_path / "bundle")
        inputs = bundle.manifest.network.inputs
        names = ["photo.jpg"] if len(inputs) == 1 else [f"{image.name}.jpg" for image in inputs]
        for name in names:
            save_photo(bundle.folder / name)
        card = (bundle.folder / "README.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        monkeypatch.chdir(bundle.folder)
        found: dict[str, Any] = {}
        with same_signal_stack():  # a model of OpenVINO's goes with all else that the code defines
            exec(code, found)
            images, probabilities = found["images"], np.array(found["probabilities"])
            found.clear()
        pixels = [fit_image(read_image(Path(name)), image)[None] for name, image in zip(names, inputs, strict=True)]
        for mine, theirs in zip(images.values(), pixels, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        expected = runtime.open(bundle, threads=1).run(*pixels)
        assert probabilities == pytest.approx(expected, abs=1e-4)

    def test_the_card_names_the_inputs(self, pair: Bundle) -> None:
        card = (pair.folder / "README.md").read_text(encoding="utf-8")
        assert "- `rgb`: uint8 RGB, 0 to 255 (N, 24, 32, 3), scaled to 32x24 with antialiasing\n" in card
        assert "- `thermal`: uint8 grey, 0 to 255 (N, 24, 32, 1), scaled to 32x24 with antialiasing\n" in card
        assert "An image of zeros counts as missing." in card
        assert "`fit50 predict . rgb.jpg thermal.jpg` classifies an image." in card

    @pytest.mark.parametrize("which", ["bundle", "pair"])
    def test_verify_finds_nothing_wrong(self, request: pytest.FixtureRequest, which: str) -> None:
        found = verify(request.getfixturevalue(which), threads=1)
        assert found.largest_difference < 1e-5
        assert found.same_answers == found.images == 4

    def test_verify_finds_a_flipped_byte_in_any_file(self, copy: Bundle) -> None:
        for name in copy.manifest.files:
            before = (copy.folder / name).read_bytes()
            flip_byte(copy.folder / name)
            with pytest.raises(BundleError, match=rf"{name}: expected SHA-256 .* the file was changed"):
                verify(copy, threads=1)
            (copy.folder / name).write_bytes(before)
        verify(copy, threads=1)

    def test_verify_finds_a_missing_file(self, copy: Bundle) -> None:
        for name in copy.manifest.files:
            (copy.folder / name).rename(copy.folder / "elsewhere")
            with pytest.raises(BundleError, match=rf"{name}: expected a model file, found none"):
                verify(copy, threads=1)
            (copy.folder / "elsewhere").rename(copy.folder / name)

    def test_verify_finds_other_answers(self, copy: Bundle) -> None:
        rewrite_golden(copy, lambda probabilities: probabilities + np.float32(0.01))
        with pytest.raises(BundleError, match=r"differ from the golden ones by 0\.01, more than 0\.001"):
            verify(copy, threads=1)

    def test_verify_finds_answers_for_other_classes(self, copy: Bundle) -> None:
        rewrite_golden(copy, lambda probabilities: probabilities[:, :2])
        with pytest.raises(BundleError, match=r"expected probabilities \(4, 2\), found \(4, 4\)"):
            verify(copy, threads=1)

    def test_verify_finds_answers_that_are_no_numbers(self, copy: Bundle) -> None:
        rewrite_golden(copy, lambda probabilities: probabilities * np.float32("nan"))
        with pytest.raises(BundleError, match="differ from the golden ones"):
            verify(copy, threads=1)

    @pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut"])
    def test_verify_needs_golden_answers(self, copy: Bundle, content: bytes | None) -> None:
        (copy.folder / "golden.npz").unlink()
        if content is not None:
            (copy.folder / "golden.npz").write_bytes(content)
        with pytest.raises(BundleError, match=r"golden\.npz: expected golden images"):
            verify(copy, threads=1)

    @pytest.mark.parametrize("content", [b"", b"no model at all " * 100])
    def test_a_broken_model_file_is_named(self, runtime: Runtime, copy: Bundle, images: Images, content: bytes) -> None:
        for name in copy.manifest.files:
            (copy.folder / name).write_bytes(content)
        with pytest.raises(BundleError, match=re.escape(str(copy.folder))):
            runtime.open(copy, threads=1).run(images[:1])

    def test_a_cut_model_file_is_named(self, runtime: Runtime, copy: Bundle, images: Images) -> None:
        for name in copy.manifest.files:
            path = copy.folder / name
            before = path.read_bytes()
            path.write_bytes(before[: len(before) // 2])
            with pytest.raises(BundleError, match=re.escape(str(copy.folder))):
                runtime.open(copy, threads=1).run(images[:1])
            path.write_bytes(before)

    def test_a_missing_model_file_is_named(self, runtime: Runtime, copy: Bundle) -> None:
        for name in copy.manifest.files:
            (copy.folder / name).unlink()
        with pytest.raises(BundleError, match=re.escape(str(copy.folder))):
            runtime.open(copy, threads=1)

    @pytest.mark.parametrize("place", ["fill", "replace"])
    def test_a_full_disk_leaves_nothing(
        self, runtime: Runtime, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
    ) -> None:
        def full(*given: object, **named: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(*((np, "savez_compressed") if place == "fill" else (os, "replace")), full)
        with pytest.raises(StorageError, match=r"bundle.*: the disk is full"):
            runtime.export(checkpoint, tmp_path / "bundle")
        assert list(tmp_path.iterdir()) == []

    def test_a_missing_package_names_the_extra(
        self, runtime: Runtime, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(name: str) -> ModuleType:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        monkeypatch.setattr(base, "import_module", missing)
        with pytest.raises(MissingExtraError, match=rf"{self.package}.*pip install 'fit50\[{self.extra}\]'"):
            runtime.open(bundle, threads=1)

    def test_exporting_without_the_package_names_the_training_extra(
        self, runtime: Runtime, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(name: str) -> ModuleType:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        monkeypatch.setattr(base, "import_module", missing)
        with pytest.raises(MissingExtraError, match=rf"{self.package}.*pip install 'fit50\[{self.training_extra}\]'"):
            runtime.export(checkpoint, tmp_path / "bundle")

    def test_the_peak_memory_is_that_of_a_fresh_process(self, bundle: Bundle) -> None:
        ballast = np.ones(self.memory * MEGABYTE, np.uint8)
        assert 20 < peak_memory(bundle, threads=1) < ballast.nbytes / MEGABYTE

    def test_measures_every_bundle(self, bundle: Bundle, pair: Bundle) -> None:
        bundles = {"one": bundle, "two": pair}
        scores = measure(bundles, 1, rounds=3, calls=4, batch=2, memory=False)
        assert list(scores) == ["one", "two"]
        for name, score in scores.items():
            assert score.latency is not None
            assert score.throughput is not None
            assert score.latency.n == 12
            assert 0 < score.latency.low <= score.latency.median <= score.latency.high
            assert score.latency.p95 >= score.latency.median
            assert (score.throughput.n, score.throughput.batch) == (3, 2)
            assert 0 < score.throughput.low <= score.throughput.median <= score.throughput.high
            assert score.size == bundles[name].size
            assert score.memory is None
            assert score.accuracy is None


class Int8Contract(RuntimeContract):
    """For a runtime that makes int8 files, and writes into a file what it is. Give ``read_texts`` too."""

    @abstractmethod
    def read_texts(self, folder: Path) -> dict[str, str]:
        """What the model file says of itself, read by the runtime's own library alone."""

    @pytest.mark.parametrize("which", ["bundle", "small"])
    def test_the_file_says_what_it_is(self, request: pytest.FixtureRequest, which: str) -> None:
        bundle: Bundle = request.getfixturevalue(which)
        texts = self.read_texts(bundle.folder)
        assert texts["fit50"] == version("fit50")
        assert json.loads(texts["classes"]) == list(bundle.manifest.classes)
        assert json.loads(texts["provenance"]) == bundle.manifest.provenance
        assert json.loads(texts["inputs"]) == {
            "images": "uint8 RGB, 0 to 255 (N, 24, 32, 3), scaled to 32x24 with antialiasing"
        }
        assert ("int8" in bundle.manifest.provenance) == (which == "small")

    def test_a_file_with_other_sizes_than_promised_is_not_made(
        self, runtime: Runtime, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(promise, "cost", lambda network: Cost(1000, 1.0))
        with pytest.raises(AssertionError, match=r"expected at most .*, found "):
            runtime.export(checkpoint, tmp_path / "bundle")
        assert list(tmp_path.iterdir()) == []

    def test_a_file_shrinks_with_its_network(
        self, runtime: Runtime, bundle: Bundle, narrower: Checkpoint, tmp_path: Path
    ) -> None:
        made = runtime.export(narrower, tmp_path / "bundle")
        fewer = cost(bundle.manifest.network).parameters - cost(narrower.network).parameters
        assert fewer > 100_000
        assert 1e6 * (bundle.size - made.size) == pytest.approx(4 * fewer, rel=0.02)
        if bundle.manifest.parameters is not None and made.manifest.parameters is not None:
            assert bundle.manifest.parameters - made.manifest.parameters == pytest.approx(fewer, rel=0.02)
            assert made.manifest.parameters == pytest.approx(cost(narrower.network).parameters, rel=0.05)

    @pytest.fixture(scope="class")
    @classmethod
    def small(
        cls,
        runtime: Runtime,
        checkpoint: Checkpoint,
        calibration: Calibration,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Bundle:
        """An int8 bundle, to be read only."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            folder = tmp_path_factory.mktemp("int8") / "bundle"
            bundle = runtime.export(replace(checkpoint, numerics=INT8), folder, calibration)
        assert printed.getvalue() == "", "the command line prints JSON there"
        return bundle

    def test_int8_is_smaller(self, bundle: Bundle, small: Bundle) -> None:
        assert small.manifest.precision == "int8"
        assert small.size < 0.6 * bundle.size
        assert 3.3 < weights_size(bundle) / weights_size(small) < 4.1

    def test_int8_answers_nearly_as_float(
        self, runtime: Runtime, checkpoint: Checkpoint, small: Bundle, images: Images
    ) -> None:
        expected = truth(checkpoint, images)
        difference = runtime.open(small, threads=1).run(images) - expected
        assert 0 < np.sqrt(np.square(difference).mean()) < expected.std(0).max() / 2

    def test_int8_verifies(self, small: Bundle) -> None:
        assert verify(small, threads=1).same_answers == 4

    def test_int8_without_calibration_is_refused(
        self, runtime: Runtime, checkpoint: Checkpoint, tmp_path: Path
    ) -> None:
        with pytest.raises(RuntimeRefusal, match="int8 needs calibration images, found none"):
            runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle")
        assert list(tmp_path.iterdir()) == []

    def test_int8_for_two_inputs(self, runtime: Runtime, kinds: dict[str, Checkpoint], tmp_path: Path) -> None:
        checkpoint, images = kinds[MISSING[-1]], tuple(photographs(KINDS[MISSING[-1]]))
        calibration = Calibration(images, images, np.zeros(len(images[0]), np.int64), max_drop=100)
        made = runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle", calibration)
        expected = truth(checkpoint, *images)
        difference = runtime.open(made, threads=1).run(*images) - expected
        assert 0 < np.sqrt(np.square(difference).mean()) < expected.std(0).max() / 2

    def test_int8_that_loses_too_much_is_refused(
        self,
        runtime: Runtime,
        checkpoint: Checkpoint,
        calibration: Calibration,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        falling = chain((90.0, 80.0), repeat(70.0))
        monkeypatch.setattr(Calibration, "accuracy", lambda *given: next(falling))
        with pytest.raises(RuntimeRefusal, match=r"int8 loses \d0\.0 points .*more than the 5 allowed"):
            runtime.export(replace(checkpoint, numerics=INT8), tmp_path / "bundle", replace(calibration, max_drop=5))
        assert list(tmp_path.iterdir()) == []

    def test_int8_that_loses_just_what_is_allowed_is_made(
        self,
        runtime: Runtime,
        checkpoint: Checkpoint,
        calibration: Calibration,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        falling = iter((90.0, 85.0))
        monkeypatch.setattr(Calibration, "accuracy", lambda *given: next(falling))
        bundle = runtime.export(
            replace(checkpoint, numerics=INT8), tmp_path / "bundle", replace(calibration, max_drop=5)
        )
        assert bundle.manifest.precision == "int8"
        shutil.rmtree(bundle.folder)
