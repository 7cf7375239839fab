"""DeepBench's convolutions and matrix products as operators.

DeepBench calls column-major BLAS with an m x k matrix op(A) and a k x n matrix op(B); our tensors are row-major. The
product is the same and m, n, k keep their names; `a_t` and `b_t` become `transpose_a` and `transpose_b`. What differs
is only the order of the elements in memory, which packing changes anyway. The suite `small_gemm` is not DeepBench's:
its matrices are row-major, and both are used as they are. Nor are `resnet18`, the layers that TVM's VTA benchmark
times, and `grouped`, the depthwise convolutions of MobileNet and the grouped ones of ResNeXt.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files

import dataflow

SUITES = ("inference_server", "inference_device", "training", "small_gemm", "resnet18", "grouped")
OPS = ("conv", "gemm")

WEIGHTS = {"conv": "wgt", "gemm": "a"}
"""The input of each operator that holds weights."""

_FILES = {"conv": ("conv", "resnet18", "grouped"), "gemm": ("gemm", "small_gemm")}
_SHIFT = 8
_QUICK_EACH = 5
_QUICK_MACS = 150_000_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One row: `name` is suite/op/number, `sizes` are keyword arguments of the operator library."""

    name: str
    suite: str
    op: str
    sizes: tuple[tuple[str, int | bool | tuple[int, int]], ...]

    @property
    def group(self) -> tuple[str, str]:
        return self.suite, self.op

    def operator(self) -> dataflow.Operator:
        """The operator with i8 inputs and an int8 epilogue: shift by 8, clip to -128..127.

        That of `resnet18` is TVM's: shift by 8, add a bias, clip to 0..127.
        """
        build = dataflow.conv2d if self.op == "conv" else dataflow.gemm
        sums: dataflow.Operator = build(**dict(self.sizes))  # type: ignore[arg-type]
        if self.suite == "resnet18":
            return dataflow.requantise(sums, shift=_SHIFT, bias_last=True, relu=True)
        return dataflow.requantise(sums, shift=_SHIFT)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding taps included."""
        return self.operator().main.points


def read_problems() -> Iterator[Problem]:
    """Every problem of every suite, in DeepBench's order."""
    for op, sizes in (("conv", _conv_sizes), ("gemm", _gemm_sizes)):
        for row in (row for file in _FILES[op] for row in _rows(file)):
            yield Problem(f"{row['suite']}/{op}/{_number(row)}", row["suite"], op, tuple(sizes(row).items()))


def select(
    suites: Sequence[str] = ("inference_server", "inference_device"),
    ops: Sequence[str] = OPS,
    only: Sequence[str] = (),
    quick: bool = False,
) -> list[Problem]:
    """Problems of some suites and operators, whose name matches one of `only` (a part of it or a pattern).

    Raises UserError for an unknown suite or operator, or where nothing is left.
    """
    _known("suite", suites, SUITES)
    _known("operator", ops, OPS)
    found = [problem for problem in read_problems() if problem.suite in suites and problem.op in ops]
    chosen = [problem for problem in found if not only or any(_matches(problem, pattern) for pattern in only)]
    if not chosen:
        raise dataflow.UserError(f"no problem matches {', '.join(only)}; names look like {found[0].name}")
    return _representative(chosen) if quick else chosen


def _rows(file: str) -> Iterable[dict[str, str]]:
    text = files("deepbench").joinpath("problems", f"{file}.csv").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


def _number(row: Mapping[str, str]) -> str:
    """DeepBench numbers its active problems; the one it has commented out shares a number with another."""
    return f"{int(row['idx']):03}" if row.get("active", "1") == "1" else f"inactive-{int(row['idx']):03}"


def _conv_sizes(row: Mapping[str, str]) -> dict[str, int | bool | tuple[int, int]]:
    sizes: dict[str, int | bool | tuple[int, int]] = {key: int(row[key]) for key in "nchwk"}
    sizes |= {"r": int(row["filter_h_r"]), "s": int(row["filter_w_s"])}
    sizes |= {"groups": int(row["groups"])} if "groups" in row else {}
    return sizes | {"stride": (int(row["hstride"]), int(row["wstride"])), "pad": (int(row["pad_h"]), int(row["pad_w"]))}


def _gemm_sizes(row: Mapping[str, str]) -> dict[str, int | bool | tuple[int, int]]:
    sizes: dict[str, int | bool | tuple[int, int]] = {key: int(row[key]) for key in "mnk"}
    return sizes | {"transpose_a": row["a_t"] == "1", "transpose_b": row["b_t"] == "1"}


def _known(what: str, given: Iterable[str], valid: Sequence[str]) -> None:
    for name in given:
        if name not in valid:
            raise dataflow.UserError(f"unknown {what} '{name}'; there are: {', '.join(valid)}")


def _matches(problem: Problem, pattern: str) -> bool:
    return pattern in problem.name or fnmatchcase(problem.name, pattern)


def _representative(problems: Sequence[Problem]) -> list[Problem]:
    """A few of each group, spread over the sizes that run within seconds."""
    kept: set[str] = set()
    for group in dict.fromkeys(problem.group for problem in problems):
        by_size = sorted((p for p in problems if p.group == group), key=lambda problem: problem.macs)
        small = [problem for problem in by_size if problem.macs <= _QUICK_MACS] or by_size[:1]
        last = len(small) - 1
        kept |= {small[last * i // (_QUICK_EACH - 1)].name for i in range(_QUICK_EACH)}
    return [problem for problem in problems if problem.name in kept]
