"""A benchmark for the terminal."""

from __future__ import annotations

from fit50.report.benchmark import benchmark_text
from fit50.spec.benchmark import Benchmark, File, Floor, Load, Measured, Noise, Spread, Until
from fit50.spec.outcome import Environment, Latency

FLOOR = Floor(milliseconds=3.75, bound="arithmetic", megabytes=27, bandwidth=30, gmacs=4, rate=1066, multiple=4)
SETTLED = Measured(
    file="runs/int8",
    load=Load(threads=2),
    latency=Latency(median=5.625, low=5.6, high=5.65, p90=5.8, p95=5.9, p99=6.5, n=120),
    throughput=Spread(median=177.6, low=176, high=179, n=12),
    settled=True,
    floor=FLOOR,
    times_floor=1.5,
)
UNKNOWN = Measured(
    file="runs/old",
    load=Load(threads=2),
    latency=Latency(median=20, low=18, high=24, p95=29, n=60),
    throughput=Spread(median=50, low=40, high=55, n=6),
    settled=False,
)
START = Spread(median=350, low=340, high=380, n=6)
WHERE = Environment(
    processor="Some Processor",
    isa=("avx2", "avx512_vnni"),
    cores=2,
    threads=2,
    memory_gb=16,
    system="Linux x86_64",
    versions={"python": "3.11.7", "openvino": "2026.4.1"},
)
FOUND = Benchmark(
    environment=WHERE,
    until=Until(),
    files={
        "runs/int8": File(runtime="openvino", precision="int8", size=25.91, memory=140, cold_start=START),
        "runs/old": File(runtime="openvino", precision="float32", size=102.1, memory=310, cold_start=START),
    },
    measured=(SETTLED, UNKNOWN),
    noise=Noise(probe=1.2, rounds=0.8, others=0.05, steal=0.0),
)


def row(text: str, name: str, place: int) -> list[str]:
    """The words of one of the lines that begin with a name."""
    return [line for line in text.splitlines() if line.startswith(name)][place].split()


def test_each_figure_has_its_interval_and_its_floor() -> None:
    text = benchmark_text(FOUND)
    file, known = row(text, "runs/int8", 0), row(text, "runs/int8", 1)
    assert " ".join(file) == "runs/int8 openvino int8 25.91 350 ±8.6 % 140"
    assert " ".join(known) == "runs/int8 2 1 1 5.62 ±0.4 % 5.80 6.50 120 178 ±0.9 % 3.75 arithmetic 1.5"
    assert " ".join(row(text, "runs/old", 1)) == "runs/old 2 1 1 20.00 ±20.0 % ? - - 60 50 ±20.0 % - -"
    assert "floor -: the bundle does not say what it computes" in text


def test_few_values_have_no_interval_and_zero_has_no_share() -> None:
    few = Spread(median=350, low=340, high=380, n=5)
    files = {name: file.model_copy(update={"cold_start": few}) for name, file in FOUND.files.items()}
    spread = UNKNOWN.throughput.model_copy(update={"n": 3})
    drawn = UNKNOWN.model_copy(update={"throughput": spread, "energy": Spread(median=0, low=0, high=0, n=6)})
    text = benchmark_text(FOUND.model_copy(update={"files": files, "measured": (SETTLED, drawn)}))
    assert row(text, "runs/int8", 0)[3:] == ["25.91", "350", "140"]
    assert " ".join(row(text, "runs/old", 1)) == "runs/old 2 1 1 20.00 ? - - 60 50 - - 0.000"


def test_where_and_what_was_assumed_is_said() -> None:
    text = " ".join(benchmark_text(FOUND).split())
    assert "Some Processor, 2 cores, 16 GB, Linux x86_64 (avx2, avx512_vnni); governor not exposed" in text
    assert "openvino 2026.4.1" in text
    assert "GMAC/s by threads: 266 with 2" in text
    assert "assumed from the instruction sets: int8 at 4 times float32's rate" in text
    governed = FOUND.model_copy(update={"environment": WHERE.model_copy(update={"governor": "powersave"})})
    assert "governor powersave" in benchmark_text(governed)


def test_a_floor_that_is_none_is_said() -> None:
    beaten = FOUND.model_copy(update={"measured": (SETTLED.model_copy(update={"times_floor": 0.9}),)})
    assert "less than 1 times the floor" in benchmark_text(beaten)
    assert "less than 1 times the floor" not in benchmark_text(FOUND)


def test_what_could_not_be_settled_is_said() -> None:
    assert "?: 1 of 2 intervals could not be brought within 2 % of the median in 100 rounds or 60 s" in benchmark_text(
        FOUND
    )
    assert "?" not in benchmark_text(FOUND.model_copy(update={"measured": (SETTLED,)}))


def test_noise_is_said() -> None:
    text = " ".join(benchmark_text(FOUND).split())
    assert "the machine was quiet: slowest tenth of a fixed piece of work +1.2 %, of the rounds +0.8 %" in text
    assert "other processes 0.05 processors, hypervisor 0.0 % of the time" in text
    loud = Noise(probe=9, rounds=1, findings=("it was loud", "it was late"))
    assert "THIS MACHINE IS NOISY: it was loud; it was late" in benchmark_text(FOUND.model_copy(update={"noise": loud}))


def test_energy_is_shown_only_where_it_was_measured() -> None:
    assert "energy: not exposed by this kernel" in benchmark_text(FOUND)
    drawn = SETTLED.model_copy(update={"energy": Spread(median=0.25, low=0.24, high=0.26, n=12)})
    text = benchmark_text(FOUND.model_copy(update={"measured": (drawn, UNKNOWN)}))
    assert "energy: not exposed" not in text
    assert row(text, "runs/int8", 1)[-3:] == ["0.250", "±4.0", "%"]
    assert row(text, "runs/old", 1)[-1] == "-"
