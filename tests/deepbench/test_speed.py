"""Cycles beside bounds: ResNet-18's layers, and the tables made of records."""

import fake
import pytest
from rich.console import Console

from deepbench.problems import Problem, select
from deepbench.suite import Settings, Task
from deepbench.vta.run import run_one
from deepbench.vta.speed import bound_ratio, causes, speed_tables
from tests.operators import inputs

LAYERS = select(suites=["resnet18"])


def test_resnet18_has_the_layers_of_tvms_benchmark() -> None:
    """Multiply-accumulates by hand: C2 and C5 to C11 with 3 x 3 filters are the usual 116 or 58 million."""
    macs = [problem.macs for problem in LAYERS]
    assert macs == [115605504, 57802752, 6422528, 115605504, 57802752, 6422528, 115605504, 57802752, 6422528, 115605504]


def test_the_bounds_of_c2_by_hand() -> None:
    """4 x 4 blocks x 9 taps x 3136 places of a cycle; a reset and SHR, ADD (2), MIN, MAX for each of 4 x 3136 words."""
    record = run_one(Task(LAYERS[2], Settings("vta")))
    assert record.checked
    assert record.compute_bound == 8 * 4 * 784 + 8 * 784 * (1 + 1 + 2 + 1 + 1)
    assert record.bus_bound == (4 * 784 * 16 + 8 * 4 * 256 + 8 * 64) // 8
    assert bound_ratio(record) == pytest.approx(record.cycles / record.compute_bound)
    lost = sum(record.lost.values())
    assert lost == record.cycles - record.compute_bound


def shown(problems: list[Problem], **changes: object) -> str:
    records = [fake.record(Task(problem, Settings("vta")), **changes) for problem in problems]
    console = Console(width=200)
    with console.capture() as captured:
        for table in speed_tables({problems[0].group: records}):
            console.print(table)
    return captured.get()


def test_tables_show_ratios_causes_and_published_times() -> None:
    text = shown(LAYERS, cycles=100_000, compute_bound=80_000, bus_bound=50_000, lost={"waits for loads": 20_000})
    assert "1.250" in text
    assert "waits for loads 20.0%" in text
    assert "5.70" in text
    assert not shown(LAYERS)


def test_causes_are_ordered_and_small_ones_left_out() -> None:
    lost = {"a": 10, "b": 300, "c": 1}
    assert causes(fake.record(Task(LAYERS[0], Settings("vta")), cycles=1000, lost=lost)) == "b 30.0%, a 1.0%"


def test_causes_say_what_the_bounds_leave_out() -> None:
    """Stores have a channel of their own, and the bus bound reads every input once."""
    stored = fake.record(
        Task(LAYERS[0], Settings("vta")), cycles=1000, compute_bound=400, bus_bound=300, store_cycles=900
    )
    assert causes(stored) == "stores alone take 2.25 of the bound"
    lost = {"waits for loads": 200}
    again = fake.record(Task(LAYERS[0], Settings("vta")), cycles=1000, compute_bound=800, lost=lost, reads=3.5)
    assert causes(again) == "waits for loads 20.0%, inputs are read 3.5 times"


def test_tvms_epilogue_adds_the_bias_last() -> None:
    operator = LAYERS[0].operator()
    assert "(acc[d0,d1,d2,d3] >> 8) + bias[d1], 0), 127" in str(operator)
    assert {name: array.dtype.name for name, array in inputs(operator).items()}["bias"] == "int32"
