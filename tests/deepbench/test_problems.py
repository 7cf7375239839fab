"""The problems against DeepBench's own columns: output sizes and operation counts."""

import csv
from collections import Counter
from importlib.resources import files

import pytest

from dataflow import UserError
from deepbench.problems import Problem, read_problems, select

ALL = list(read_problems())


def rows(op: str) -> list[dict[str, str]]:
    text = files("deepbench").joinpath("problems", f"{op}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_counts_and_names() -> None:
    counts = Counter(problem.group for problem in ALL)
    assert counts["inference_server", "conv"] == 107
    assert counts["inference_server", "gemm"] == 75
    assert counts["inference_device", "conv"] == 17
    assert counts["inference_device", "gemm"] == 13
    assert counts["small_gemm", "gemm"] == 25
    assert len({problem.name for problem in ALL}) == len(ALL)
    assert len(select()) == 212


@pytest.mark.parametrize("file", ["conv", "gemm", "small_gemm"])
def test_operation_counts_are_those_of_the_files(file: str) -> None:
    others = {"small_gemm", "resnet18", "grouped"}
    problems = [p for p in ALL if p.op in file and (p.suite == file or not {p.suite, file} & others)]
    for problem, row in zip(problems, rows(file), strict=True):
        assert 2 * problem.macs == int(row["flops"]), problem.name


def test_output_sizes_are_deepbenchs() -> None:
    problems = [problem for problem in ALL if problem.op == "conv" and problem.suite not in ("resnet18", "grouped")]
    for problem, row in zip(problems, rows("conv"), strict=True):
        shape = problem.operator().output.shape
        assert shape == (int(row["n"]), int(row["k"]), int(row["out_h"]), int(row["out_w"])), problem.name


def test_operators_end_in_int8() -> None:
    for problem in ALL[:3] + ALL[-3:]:
        operator = problem.operator()
        assert operator.output.dtype == "i8"
        assert [tensor.dtype for tensor in operator.inputs] == ["i8", "i8"]


def test_transposes_change_the_arrays_not_the_product() -> None:
    turned = next(problem for problem in ALL if dict(problem.sizes).get("transpose_a"))
    sizes = dict(turned.sizes)
    operator = turned.operator()
    assert operator.inputs[0].shape == (sizes["k"], sizes["m"])
    assert operator.output.shape == (sizes["m"], sizes["n"])


def test_selection() -> None:
    assert [p.name for p in select(only=["server/conv/003"])] == ["inference_server/conv/003"]
    assert len(select(only=["*/gemm/*"])) == 88
    assert len(select(suites=["inference_device"], ops=["conv"])) == 17
    assert len(select(only=["conv/003", "gemm/003"])) == 4


def test_quick_is_a_few_of_each_group() -> None:
    chosen = select(quick=True)
    assert {problem.group for problem in chosen} == {problem.group for problem in select()}
    assert len(chosen) <= 20
    assert sum(problem.macs for problem in chosen) < 2e9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"suites": ["server"]}, "unknown suite 'server'; there are: inference_server"),
        ({"ops": ["rnn"]}, "unknown operator 'rnn'; there are: conv, gemm"),
        ({"only": ["nothing"]}, "no problem matches nothing; names look like inference_server/conv/000"),
    ],
)
def test_wrong_selection(arguments: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError) as error:
        select(**arguments)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_problems_are_values() -> None:
    assert isinstance(ALL[0], Problem)
    assert ALL[0] == next(read_problems())
