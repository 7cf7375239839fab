"""The cores of the Arm files: complete, one set of units with the control instructions, of the peaks that are known."""

import pytest

import isa
from embed.cli.calibrate import throughput
from embed.cpu.assembler.aarch64 import control_instructions

CORES = {"neoverse-v1": "4.00", "neoverse-n1": "2.00", "cortex-a53": "1.00"}
"""Fused multiply-adds of four floats a cycle."""

FILES = ("neon", "neon_fp16", "neon_dotprod", "neon_i8mm", "neon_bf16")


@pytest.mark.parametrize("name", FILES)
def test_every_core_costs_the_base(name: str) -> None:
    target = isa.load(name)
    assert list(target.timings) == list(CORES)
    for core, timing in target.timings.items():
        assert throughput(timing, "fmla_4s_by_element") == CORES[core]
        assert set(timing.costs) >= set(isa.load("neon").instructions)
        assert all(cost.accumulate <= cost.latency for cost in timing.costs.values())
        assert timing["mhz"] > 1000
        assert timing["l1_bytes"] < timing["l2_bytes"]
        assert all(timing.source)


def test_control_instructions_share_the_cores_and_their_units() -> None:
    control, target = control_instructions(), isa.load("neon")
    called = control.instructions.keys() - {"svc", "dmb", "yield"}
    for core, timing in control.timings.items():
        assert set(timing.units) == set(target.timings[core].units)
        assert set(timing.costs) == called
    assert list(control.timings) == list(CORES)
