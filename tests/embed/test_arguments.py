"""What users give to the functions of `embed`, `isa` and `dataflow`, and cannot mean: one clear message each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dataflow
import embed
import isa
from dataflow import UserError

OPERATOR = dataflow.gemm(m=16, n=16, k=16)
FLOATS = dataflow.gemm(m=16, n=16, k=16, dtype="f32")
VTA = isa.load("vta")
TENSOR = OPERATOR.inputs[0]
SEARCHES = (embed.best, embed.alternatives, embed.stream, embed.plan, embed.compile)

EVERYWHERE: list[tuple[dict[str, object], str]] = [
    ({"operator": "gemm"}, "operator: 'gemm' is not an operator, such as dataflow.gemm(m=64, n=64, k=64) makes"),
    ({"operator": None}, "operator: None is not an operator, such as dataflow.gemm(m=64, n=64, k=64) makes"),
    ({"target": 3}, "isa: 3 is not the name of an instruction set or the path of its file"),
    ({"target": "vat"}, "there is no ISA 'vat'; there are: amx"),
    ({"time_limit": 0}, "time_limit: 0 is not a positive number of seconds"),
    ({"time_limit": -1.5}, "time_limit: -1.5 is not a positive number of seconds"),
    ({"time_limit": float("nan")}, "time_limit: nan is not a positive number of seconds"),
    ({"time_limit": "5"}, "time_limit: '5' is not a positive number of seconds"),
]

SEARCH: list[tuple[dict[str, object], str]] = [
    ({"seed": -1}, "seed: -1 is not an integer of at least 0"),
    ({"seed": 1 << 40}, "seed: 1099511627776 is more than 2147483647"),
    ({"objective": "speed"}, "objective 'speed' is unknown; there are: cycles, invocations, bytes"),
    ({"objective": 3}, "objective: 3 is not the name of an objective"),
    ({"parameters": {3: 1}}, "parameters: {3: 1} does not give values by name, as {'linearization_level': 1} does"),
    ({"dump": 3}, "dump: 3 is not the path of a file"),
    ({"layouts": {"a": 3}}, "layouts: {'a': 3} does not give values by name, as {'inp': 'NHWC'} does"),
    ({"layouts": "CR"}, "layouts: 'CR' does not give values by name, as {'inp': 'NHWC'} does"),
    ({"demands": "in-place=a"}, "demands: 'in-place=a' is not a list of texts such as ['in-place=inp']"),
    ({"demands": [None]}, "demands: [None] is not a list of texts such as ['in-place=inp']"),
    ({"relax": ["split"]}, "relax: ['split'] is not names with commas between, all or none"),
]

COMPILE: list[tuple[dict[str, object], str]] = [
    ({"solution": "gemm"}, "solution: 'gemm' is not a Solution or Embedding, as best and alternatives find them"),
    ({"threads": "2"}, "threads: '2' is not a positive integer"),
    ({"threads": True}, "threads: True is not a positive integer"),
    ({"tune": -1}, "tune: -1 is not an integer of at least 0"),
    ({"cache": "folder"}, "cache: 'folder' is not an embed.Cache"),
    ({"constants": ["b"]}, "constants: ['b'] does not give values by name, as {'wgt': array} does"),
    ({"constants": {"b": 3}}, "constants: {'b': 3} does not give values by name, as {'wgt': array} does"),
]

OTHERS: list[tuple[Callable[[], object], str]] = [
    (lambda: embed.load(3), "path: 3 is not the path of a file"),  # type: ignore[arg-type]
    (lambda: embed.load("a\0b"), r"path: 'a\x00b' is not the path of a file"),
    (lambda: embed.Cache(3), "directory: 3 is not the path of a file"),  # type: ignore[arg-type]
    (lambda: embed.Cache(limit=-1), "limit: -1 is not an integer of at least 0"),
    (lambda: embed.Physical.of(TENSOR, 3), "layout: 3 is not the name of one, such as NHWC"),  # type: ignore[arg-type]
    (lambda: embed.Physical.of("a"), "tensor: 'a' is not a Tensor"),  # type: ignore[arg-type]
    (lambda: embed.Physical.of(TENSOR, "CR").pack(np.zeros((3, 3))), "'a' has shape [3, 3], not [16, 16]"),
    (lambda: embed.Physical.of(TENSOR, "CR16c").unpack(np.zeros((3, 3))), "'a' has shape [3, 3], not [1, 16, 16]"),
    (lambda: isa.load(VTA), "isa: Isa(name='vta"),  # type: ignore[arg-type]
    (lambda: isa.load(""), "'' is not the name of a file"),
    (lambda: isa.load("vta", ["batch"]), "parameters: ['batch'] does not give values by name"),  # type: ignore[arg-type]
    (lambda: isa.loads(b"name = 'x'"), "isa.loads: b\"name = 'x'\" is not the text of an ISA file"),  # type: ignore[arg-type]
    (lambda: dataflow.gemm(m=4, n=4, k=4, dtype=np.int8), "dtype: <class 'numpy.int8'> is not the name of a type"),  # type: ignore[arg-type]
    (lambda: dataflow.requantise(3), "operator: 3 is not an operator"),  # type: ignore[arg-type]
    (lambda: dataflow.requantise(OPERATOR, shift="8"), "shift=8: must be 0 to 31"),  # type: ignore[arg-type]
    (lambda: dataflow.bias_relu("gemm"), "operator: 'gemm' is not an operator"),  # type: ignore[arg-type]
    (lambda: dataflow.bias_relu(FLOATS, high="6"), "high='6': must be a number"),  # type: ignore[arg-type]
    (lambda: dataflow.infer("out[i] += a[i]", {"i": 4}, "i9x"), "unknown dtype 'i9x'; there are: f16"),
    (lambda: dataflow.infer(3, {}, "i8"), "text: 3 is not a statement"),  # type: ignore[arg-type]
    (lambda: dataflow.infer("out[i] += a[i]", ["i"], "i8"), "extents: ['i'] is not a mapping of sizes"),  # type: ignore[arg-type]
    (lambda: dataflow.infer_all("out[i] = a[i]", {"i": 4}, "i8"), "texts: 'out[i] = a[i]' is not a list of texts"),
    (lambda: dataflow.infer_all([], {}, "i8"), "texts: there is no statement"),
    (lambda: dataflow.evaluate(3, {}), "what: 3 is not an operator or a statement"),  # type: ignore[arg-type]
    (lambda: dataflow.evaluate(OPERATOR, [1]), "arrays: [1] is not a mapping of arrays by name"),  # type: ignore[arg-type]
]


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as raised:
        call()
    return str(raised.value)


@pytest.mark.parametrize(("given", "message"), EVERYWHERE, ids=str)
def test_every_search(given: dict[str, object], message: str) -> None:
    for search in SEARCHES:
        asked = {"operator": OPERATOR, "target": VTA, **given}
        assert refusal(lambda search=search, asked=asked: search(**asked)).startswith(message)


@pytest.mark.parametrize(("given", "message"), SEARCH, ids=str)
def test_settings_of_a_search(given: dict[str, object], message: str) -> None:
    assert refusal(lambda: embed.best(OPERATOR, VTA, **given)) == message  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "message"), COMPILE, ids=str)
def test_what_a_kernel_is_made_of(given: dict[str, object], message: str) -> None:
    assert refusal(lambda: embed.compile(FLOATS, "avx2", **given)) == message  # type: ignore[call-overload]


@pytest.mark.parametrize(("call", "message"), OTHERS, ids=[message for _, message in OTHERS])
def test_other_functions(call: Callable[[], object], message: str) -> None:
    assert refusal(call).startswith(message)


@pytest.mark.parametrize("target", ["vta", Path(isa.load("vta").path)])
def test_an_instruction_set_by_its_name_or_path(target: str | Path) -> None:
    assert embed.best(OPERATOR, target).embedding == embed.best(OPERATOR, VTA).embedding


def test_numpy_integers_count() -> None:
    assert embed.best(OPERATOR, VTA, seed=np.int64(3)).costs.invocations  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operator", "target", "message"),
    [
        (dataflow.conv2d(c=16, h=8, w=8, k=16, r=3, s=3), "vta", "is no binding of gemm"),
        (OPERATOR, "edge", "'edge' has no instruction 'gemm'"),
        (dataflow.gemm(m=16, n=4, k=16), "vta", "needs a number of lanes from 1 to 4"),
    ],
)
def test_a_solution_of_something_else(operator: dataflow.Operator, target: str, message: str) -> None:
    solution = embed.best(OPERATOR, VTA, demands=["bind=a:wgt", "lane=o:m"])
    solution = embed.best(OPERATOR, VTA) if "lanes" in message else solution
    assert message in refusal(lambda: embed.compile(operator, target, solution))


def test_a_solution_of_another_size() -> None:
    """The same lanes in a larger product."""
    larger = dataflow.gemm(m=32, n=16, k=48)
    arrays = {t.name: np.ones(t.shape, np.int8) for t in larger.inputs}
    kernel = embed.compile(larger, VTA, embed.best(OPERATOR, VTA))
    assert np.array_equal(kernel(**arrays), dataflow.evaluate(larger, arrays))
