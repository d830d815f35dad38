"""Repositories of the Hugging Face Hub: their files, and what timm says of a model beside its weights."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from fit50.spec.errors import CheckpointError, MissingExtraError, SpecError
from fit50.spec.network import IMAGENET_MEAN, IMAGENET_STD, Input
from fit50.spec.value import describe

_FAMILIES = {
    "resnet": "10t 14t 18 18d 26 26d 26t 34 34d 50 50c 50d 50s 50t 101 101c 101d 101s 152 152c 152d 152s 200 200d",
    "resnext": "50_32x4d 50d_32x4d 101_32x4d 101_32x8d 101_32x16d 101_32x32d 101_64x4d",
    "wide_resnet": "50_2 101_2",
    "seresnet": "18 34 50 50t 101 152 152d 200d 269d",
    "seresnext": "26d_32x4d 26t_32x4d 50_32x4d 101_32x4d 101_32x8d 101_64x4d 101d_32x8d",
    "ecaresnet": "26t 50d 50d_pruned 50t 101d 101d_pruned 200d 269d light",
    "ecaresnext": "26t_32x4d 50t_32x4d",
    "test_resnet": "",
}
ARCHITECTURES = frozenset(
    f"{family}{variant}" for family, variants in _FAMILIES.items() for variant in variants.split(" ")
)
"""timm's networks that fit50 builds as they are, all with ReLU. Others share their shapes, but blur before they stride
(resnetblur, resnetaa), or have parts of their own (resnetrs, senet154, resnet50_gn)."""

_NEUTRAL = {"num_classes", "drop_rate", "drop_path_rate", "drop_block_rate", "zero_init_last"}


class _Prepared(BaseModel):
    """How timm prepares images for a model, but for the interpolation; what it does not say is ImageNet's."""

    input_size: tuple[int, int, int] = (3, 224, 224)  # (C, H, W)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop_pct: float = 0.875
    crop_mode: Literal["center", "squash"] = "center"


class Configuration(BaseModel):
    """``config.json`` beside a model of timm's: what fit50 reads of it."""

    architecture: str | None = None
    model_args: dict[str, Any] = {}
    prepared: _Prepared = Field(_Prepared(), alias="pretrained_cfg")

    @classmethod
    def of(cls, path: Path, text: str) -> Configuration:
        """Reads the file of the weights ``text``. Raises CheckpointError, also for a network that would not be ours."""
        try:
            found = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise CheckpointError(describe(error, f"{text}: config.json")) from None
        if found.architecture is not None:
            refuse_architecture(found.architecture, text)
        changed = sorted(set(found.model_args) - _NEUTRAL)
        if changed:
            raise CheckpointError(
                f"{text}: expected {found.architecture} as timm defines it, found it changed in {', '.join(changed)}, "
                "which shapes may not show; give the path of the file, and what is changed by --set network..."
            )
        return found

    def image(self, text: str) -> Input:
        """The input that the model learned. Raises CheckpointError."""
        channels, height, width = self.prepared.input_size
        try:
            return Input.parse(
                {
                    "channels": channels,
                    "height": height,
                    "width": width,
                    "resize": "stretch" if self.prepared.crop_mode == "squash" else "crop",
                    "crop_fraction": self.prepared.crop_pct,
                    "mean": self.prepared.mean,
                    "std": self.prepared.std,
                },
                f"{text}: config.json",
            )
        except SpecError as error:
            raise CheckpointError(str(error)) from None


def refuse_architecture(name: str, text: str) -> None:
    """Raises CheckpointError unless fit50 builds this network of timm's."""
    if name not in ARCHITECTURES:
        raise CheckpointError(
            f"{text}: fit50 does not build timm's {name!r}; known: {', '.join(sorted(ARCHITECTURES))}"
        )


def fetched(repository: str, file: str, text: str) -> Path | None:
    """A file of a repository in the Hub's cache, downloaded where it is not there; None where the repository has none.

    Raises:
        CheckpointError: no such repository, or no way to it.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = package("huggingface_hub", text)
    try:
        cached = hub.try_to_load_from_cache(repository, file)
        if cached is None:
            cached = hub.hf_hub_download(repository, file)
    except hub.errors.RemoteEntryNotFoundError:
        return None
    except Exception as error:  # the client raises what its connection raises
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(". ")
        raise CheckpointError(
            f"{text}: expected to download {file} from {repository!r} on the Hugging Face Hub, found {reason}; "
            "check the name and the connection, or give the path of a file"
        ) from None
    return Path(cached) if isinstance(cached, str) else None  # else the cache knows that there is none


def package(name: str, text: str) -> ModuleType:
    """A package of the extra ``hub``, needed for the weights ``text``. Raises MissingExtraError."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise MissingExtraError(text, name, "hub") from None
        raise
