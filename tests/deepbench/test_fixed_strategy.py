"""TVM's strategy: its packing, its tiles, nothing reused, and still the right numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import isa
from dataflow import evaluate
from deepbench.problems import Problem, select
from deepbench.suite import Settings, Task
from deepbench.vta.fixed import reference_kernel, tuned
from deepbench.vta.run import run_one
from embed.vta import bundle_reader
from embed.vta.checker import check
from embed.vta.simulator import simulate
from tests.operators import inputs

VTA = isa.load("vta")
C2, *_, C10, C11 = select(suites=["resnet18"])


def conv(**sizes: int) -> Problem:
    return Problem("inference_server/conv/999", "inference_server", "conv", tuple(sizes.items()))


def test_the_tuned_tiles_of_c2() -> None:
    """Rows 8, columns 56, 2 output blocks, one block of input channels; both inputs loaded anew for each step."""
    kernel = reference_kernel(C2, "gemm", VTA)
    assert {name: kernel.schedule.tiles[name] for name in ("y", "x", "k_o", "c_o")} == {
        "y": 8,
        "x": 56,
        "k_o": 2,
        "c_o": 1,
    }
    steps = 7 * 2 * 4
    rows = 7 * 10 - 2
    assert kernel.timing().bytes["inp"] == rows * 56 * 16 * 2 * 4
    assert kernel.timing().bytes["wgt"] == steps * 2 * 9 * 256
    assert tuned(C2.name) is not None
    assert tuned("inference_server/conv/001") is None


@pytest.mark.parametrize(
    ("problem", "parameters"),
    [
        (conv(n=1, c=3, h=9, w=9, k=20, r=3, s=3, pad=1), {}),
        (conv(n=2, c=20, h=7, w=7, k=24, r=1, s=1), {"batch": 4}),
        (conv(n=1, c=70, h=6, w=6, k=10, r=3, s=3, stride=2), {"block_in": 64, "block_out": 64}),
    ],
)
def test_the_reference_is_right(problem: Problem, parameters: dict[str, int]) -> None:
    target = isa.load("vta", parameters)
    kernel = reference_kernel(problem, "gemm", target)
    arrays = inputs(problem.operator())
    assert check(kernel.bind(arrays), kernel.machine) == []
    assert np.array_equal(kernel(**arrays), evaluate(problem.operator(), arrays))
    assert kernel.schedule.reload


def test_few_channels_fill_few_lanes() -> None:
    kernel = reference_kernel(conv(n=1, c=3, h=9, w=9, k=20, r=3, s=3, pad=1), "gemm", VTA)
    assert kernel.embedding.utilisation == 3 / 16 * 20 / 32


def test_records_hold_both_and_bundles_are_written(tmp_path: Path) -> None:
    settings = Settings("vta", reference=True, export=str(tmp_path))
    record = run_one(Task(C10, settings))
    assert record.error == ""
    assert record.reference_cycles == reference_kernel(C10, "gemm", VTA).timing().cycles
    assert record.reference_utilisation == 1
    assert record.cycles is not None
    assert record.reference_cycles >= record.cycles
    kernel, program = bundle_reader.load(tmp_path / C10.name)
    [(name, data)] = simulate(program, kernel.machine).outputs.items()
    assert np.array_equal(data, np.fromfile(tmp_path / C10.name / "expected" / f"{name}.bin", np.uint8))
    assert replace(kernel, code=program).timing().cycles == record.cycles
