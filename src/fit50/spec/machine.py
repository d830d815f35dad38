"""What this machine is: the facts that every measurement depends on."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from fit50.spec.outcome import Environment

_ISA = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_fp16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
)
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_PACKAGES = ("fit50", "numpy", "torch", "openvino", "onnxruntime", "executorch", "tensorrt", "nncf", "onnx", "torchao")


@cache
def _cpuinfo() -> tuple[str, frozenset[str]]:
    """The processor's name and its instruction-set flags; an empty set where the system does not tell."""
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return name, flags
    for line in lines:
        key, _, text = line.partition(":")
        match key.strip():
            case "model name":
                name = text.strip()
            case "flags" | "Features":
                flags = frozenset(text.split())
    return name, flags


def isa() -> tuple[str, ...]:
    """The instruction sets that matter to a network, as Linux names them: ``("avx2", "avx512_vnni", ...)``."""
    return tuple(flag for flag in _ISA if flag in _cpuinfo()[1])


def has_int8_dot_product(flags: Collection[str] | None = None) -> bool:
    """Whether 8-bit products are summed without saturating at 16 bits (VNNI, AMX, or Arm's dot product).

    ``flags`` are a processor's instruction sets; by default this one's.
    """
    return not {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}.isdisjoint(isa() if flags is None else flags)


def has_bf16(flags: Collection[str] | None = None) -> bool:
    """Whether a processor of these instruction sets, by default this one, computes in bfloat16 natively."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(isa() if flags is None else flags)


def has_fp16(flags: Collection[str] | None = None) -> bool:
    """Whether a processor of these instruction sets, by default this one, computes in float16 natively."""
    return not {"avx512_fp16", "amx_fp16", "asimdhp"}.isdisjoint(isa() if flags is None else flags)


def physical_cores() -> int:
    """Cores that this process may use, hyper-threads not counted where the system tells."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, psutil.cpu_count(logical=False) or usable)


def governor() -> str | None:
    """What decides the first processor's clock, such as ``performance``; None where the kernel does not expose it."""
    try:
        return _GOVERNOR.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def environment(threads: int | None = None) -> Environment:
    """The facts of this machine; ``threads`` is how many the measurements use."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Environment(
        processor=_cpuinfo()[0],
        isa=isa(),
        cores=physical_cores(),
        threads=threads or physical_cores(),
        memory_gb=round(memory, 1),
        system=f"{platform.system()} {platform.machine()}",
        governor=governor(),
        versions=versions,
    )
