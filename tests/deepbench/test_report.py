"""Tables, summary and result files from records that are made up."""

import csv
import json
from pathlib import Path

import fake
import pytest
from rich.console import Console

from deepbench import results
from deepbench.means import geomean
from deepbench.problems import select
from deepbench.report import print_report, summary
from deepbench.suite import Settings, Task
from embed.cli.record import Record

PROBLEMS = select(suites=["inference_device"], only=["/001"])
RECORDS = [fake.record(Task(problem, Settings("vta"))) for problem in PROBLEMS]
KEYS = {
    *(
        "problem",
        "suite",
        "op",
        "isa",
        "parameters",
        "embedding",
        "status",
        "solve_s",
        "utilisation",
        "utilisation_fixed",
    ),
    *("invocations", "cycles", "bytes", "checked", "executed"),
}


def test_report_names_every_problem_and_group() -> None:
    console = Console(width=200, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        print_report(console, PROBLEMS, RECORDS, wall=12.0)
    text = captured.get()
    for title in ("inference_device conv", "inference_device gemm", "geometric means", "-0.250: cycles -10.0%"):
        assert title in text
    assert all(len(line) <= 200 for line in text.splitlines())
    assert text.count("gemm(a->inp, b->wgt) o=n:16") == len(PROBLEMS)


def test_summary_lists_slices_and_failures() -> None:
    task = Task(PROBLEMS[0], Settings("vta"))
    records = [
        fake.record(task, solve_s=0.010, executed="slice"),
        fake.record(task, solve_s=0.030, checked=False),
        fake.record(task, solve_s=0.020, checked=None, error="too large"),
    ]
    lines = list(summary(records, wall=61.4))
    assert lines[0] == "solve time: median 20.0 ms, max 30 ms"
    assert lines[1] == "3 problems in 61 s; 2 executed in full"
    assert lines[2] == "executed on a slice of output tiles, 1 of inference_device/conv: 001"
    assert lines[3].endswith("the result differs from the reference")
    assert lines[4].endswith("too large")


def test_geomean() -> None:
    assert geomean([1, 4, None]) == pytest.approx(2)
    assert geomean([]) is None


def test_files(tmp_path: Path) -> None:
    results.write_json(tmp_path / "r.jsonl", RECORDS)
    results.write_csv(tmp_path / "r.csv", RECORDS)
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert [Record.from_json(line) for line in lines] == RECORDS
    assert set(json.loads(lines[0])) >= KEYS
    with (tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["problem"] for row in rows] == [problem.name for problem in PROBLEMS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "r.jsonl"]
