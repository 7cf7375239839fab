"""Probes: what one trip counts, that they run, and what `isa calibrate` prints. No rate is compared with a number."""

import pytest

import isa
from deepbench.cli import app
from embed.cli.app import run
from embed.cli.calibrate import throughput
from embed.cpu.measuring import probe

ISAS = ("avx2", "avx512", "avx512_bf16", "avx512_vnni")


def target(name: str) -> isa.Isa:
    found = isa.load(name)
    missing = found.missing_features()
    if missing:
        pytest.skip(f"this CPU lacks {', '.join(missing)}")
    return found


@pytest.mark.parametrize("name", ISAS)
def test_every_compute_entry_has_a_peak_and_a_latency(name: str) -> None:
    found = target(name)
    for entry in probe.compute_entries(found):
        peak = probe.compute_peak(found, entry)
        assert peak.work % probe.operations(found.instruction(entry)) == 0
        assert peak.burst(1e-4) > 0
        assert probe.latency(found, entry).burst(1e-4) > 0


def test_operations_are_two_for_each_product() -> None:
    found = isa.load("avx512_vnni")
    assert probe.operations(found.instruction("vfmadd231ps_zmm_zmm_zmm")) == 32
    assert probe.operations(found.instruction("vpdpbusd_zmm_zmm_zmm")) == 128


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_read_parts_of_the_buffer(threads: int) -> None:
    found = target("avx512")
    read = probe.read_bandwidth(found, 1 << 20, threads)
    assert read.work * read.trips * threads == 1 << 20
    assert read.burst(1e-4) > 0


def test_a_clock() -> None:
    assert probe.clock(target("avx2")).burst(1e-4) > 0


def test_throughput_of_a_core() -> None:
    timing = isa.load("avx512").timings["sapphire-rapids"]
    assert throughput(timing, "vfmadd231ps_zmm_zmm_zmm") == "2.00"
    assert throughput(timing, "no_such_entry") == "-"


def test_calibrate(capsys: pytest.CaptureFixture[str]) -> None:
    target("avx2")
    assert run(app, ["isa", "calibrate", "avx2", "--seconds", "0.0001"]) == 0
    text = capsys.readouterr().out
    for word in ("clock:", "vfmadd231ps_ymm_ymm_ymm", "latency", "reads, L1", "reads, memory"):
        assert word in text


def test_calibrate_needs_a_cpu_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["isa", "calibrate", "vta"]) == 2
    assert "vta is not an instruction set of this machine's CPU" in capsys.readouterr().err
