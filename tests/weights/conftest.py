"""Places that weights come from, as they lie in the caches of those who fetched them once; nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

Repository = Callable[..., Path]
COMMIT = "0" * 40


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to fetch anything fails as it does without a network."""

    def fail(url: str, path: str, hash_prefix: str | None = None) -> None:
        raise URLError(f"no network for {Path(path).name}, {hash_prefix}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def torch_cache(no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of torch's cache that holds weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def repository(no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Puts a repository into the Hub's cache: its tensors in one file, and its configuration, or that it has none."""
    cache = tmp_path / "huggingface"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))

    def put(
        name: str,
        tensors: Mapping[str, Tensor],
        configuration: dict[str, Any] | None = None,
        file: str = "model.safetensors",
        absent: tuple[str, ...] = (),
    ) -> Path:
        folder = cache / f"models--{name.replace('/', '--')}"
        path = folder / "snapshots" / COMMIT / file
        path.parent.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(COMMIT)
        save_file(dict(tensors), path) if path.suffix == ".safetensors" else torch.save(dict(tensors), path)
        if configuration is not None:
            (folder / "snapshots" / COMMIT / "config.json").write_text(json.dumps(configuration))
        for none in (*absent, *(["config.json"] if configuration is None else [])):
            (folder / ".no_exist" / COMMIT).mkdir(parents=True, exist_ok=True)
            (folder / ".no_exist" / COMMIT / none).touch()
        return path

    return put
