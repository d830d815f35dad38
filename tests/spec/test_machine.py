"""The facts of a machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from fit50.spec import machine

Cpuinfo = Callable[[str | None], None]


@pytest.fixture
def cpuinfo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cpuinfo]:
    """Lets /proc/cpuinfo hold the given text, or be absent."""

    def put(text: str | None) -> None:
        real = Path.read_text

        def read(path: Path, encoding: str | None = None) -> str:
            if str(path) != "/proc/cpuinfo":
                return real(path, encoding)
            if text is None:
                raise FileNotFoundError(path)
            return text

        machine._cpuinfo.cache_clear()
        monkeypatch.setattr(Path, "read_text", read)

    yield put
    monkeypatch.undo()
    machine._cpuinfo.cache_clear()


def x86(*flags: str) -> str:
    return f"processor\t: 0\nmodel name\t: Some(R) Processor: fast\nflags\t\t: fpu sse4_2 {' '.join(flags)}\n"


def arm(*flags: str) -> str:
    return f"processor\t: 0\nFeatures\t: fp {' '.join(flags)}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("text", "isa", "int8", "bf16"),
    [
        (x86(), (), False, False),
        (x86("avx2", "avx512f"), ("avx2", "avx512f"), False, False),
        (x86("avx_vnni", "avx2"), ("avx2", "avx_vnni"), True, False),
        (x86("avx512_vnni"), ("avx512_vnni",), True, False),
        (x86("amx_int8"), ("amx_int8",), True, False),
        (x86("avx512_bf16"), ("avx512_bf16",), False, True),
        (x86("amx_bf16"), ("amx_bf16",), False, True),
        (arm("asimd"), ("asimd",), False, False),
        (arm("asimd", "asimddp"), ("asimd", "asimddp"), True, False),
        (arm("i8mm", "bf16"), ("i8mm", "bf16"), True, True),
        (None, (), False, False),
    ],
)
def test_instruction_sets_are_those_of_the_processor(
    cpuinfo: Cpuinfo, text: str | None, isa: tuple[str, ...], int8: bool, bf16: bool
) -> None:
    cpuinfo(text)
    assert machine.isa() == isa
    assert machine.has_int8_dot_product() == int8
    assert machine.has_bf16() == bf16


def test_the_processor_has_its_name(cpuinfo: Cpuinfo) -> None:
    cpuinfo(x86())
    assert machine.environment().processor == "Some(R) Processor: fast"


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= machine.physical_cores() <= len(os.sched_getaffinity(0))


def test_the_governor_is_none_where_the_kernel_does_not_expose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_GOVERNOR", tmp_path / "scaling_governor")
    assert machine.environment().governor is None
    (tmp_path / "scaling_governor").write_text("performance\n", encoding="utf-8")
    assert machine.environment().governor == "performance"


def test_the_environment_is_this_machines() -> None:
    found = machine.environment()
    assert found.threads == found.cores == machine.physical_cores()
    assert machine.environment(threads=3).threads == 3
    assert 0.1 < found.memory_gb < 1e5
    assert found.system == f"{platform.system()} {platform.machine()}"
    assert found.versions["python"] == platform.python_version()
    assert found.versions["torch"] == version("torch")
    assert found.versions["fit50"] == version("fit50")


def test_another_processor_is_judged_by_its_own_flags() -> None:
    assert machine.has_int8_dot_product(("avx2", "avx_vnni")) and not machine.has_int8_dot_product(("avx2",))
    assert machine.has_bf16(("amx_bf16",)) and not machine.has_bf16(())
    assert machine.has_fp16(("asimdhp",)) and not machine.has_fp16(())
