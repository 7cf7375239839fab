"""The page of a run on VTA, from records that are made up: it stands alone and shows every problem."""

import re

import fake

from deepbench.problems import select
from deepbench.suite import Settings, Task
from deepbench.vta.page import page

LAYERS = select(suites=["resnet18"])
RECORDS = [
    fake.record(Task(problem, Settings("vta")), compute_bound=800, bus_bound=200, reference_cycles=500 * (place + 1))
    for place, problem in enumerate(LAYERS)
]


def test_the_page_has_a_point_and_a_bar_for_each_problem() -> None:
    text = page(RECORDS)
    assert text.count("<circle ") == len(LAYERS)
    assert text.count("<rect ") == len(LAYERS)
    assert "http" not in text
    assert "1.250" in text
    assert all(problem.name in text for problem in LAYERS)


def test_points_lie_under_the_roof() -> None:
    """50 of 1000 cycles at full use, 200 bus cycles: a quarter of a compute cycle for each, 5 % of the peak."""
    text = page(RECORDS[:1])
    assert "5.0% of the peak" in text
    [(x, y)] = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)
    roof = re.search(r'<polyline points="([^"]+)"', text)
    assert roof
    corner = roof[1].split()[1].split(",")
    assert float(x) < float(corner[0])
    assert float(y) > float(corner[1])


def test_without_a_reference_there_are_no_bars() -> None:
    plain = [fake.record(Task(LAYERS[0], Settings("vta")), compute_bound=800, bus_bound=200)]
    assert "<rect " not in page(plain)
    assert "<circle " not in page([fake.record(Task(LAYERS[0], Settings("vta")))])
