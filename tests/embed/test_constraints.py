"""The placement model, module by module: the smallest instance that a constraint allows, the smallest it forbids."""

from math import prod

import pytest
from ortools.sat.python import cp_model
from regular import GEMM, SMALL

import dataflow
from dataflow import Operator, conv1d, conv2d, gemm, gemv, requantise
from dataflow.dtypes import bits
from dataflow.symbolic import sums_apart
from embed.binding import bindings
from embed.costs import rates
from embed.embedding import Placeable
from embed.lanes import allowed_dims, useful_radices
from embed.solver import cost
from embed.solver.arithmetic import chain, product
from embed.solver.constraints import capacity, once, runs
from embed.solver.problem import Problem
from embed.solver.variables import Variables


class Model:
    """Variables of one problem with some constraints; `fix` a digit or a loop, then ask."""

    def __init__(self, operator: Operator, *modules: object, binding: int = 0) -> None:
        found = bindings(operator.main, GEMM.pattern)[binding]
        self.problem = Problem(operator, GEMM, found, rates(operator, SMALL.instructions["gemm"], SMALL))
        self.proto = cp_model.CpModel()
        self.variables = Variables(self.proto, self.problem)
        for module in modules:
            module.build(self.proto, self.problem, self.variables)

    def fix(self, variable: cp_model.LinearExpr, value: int) -> "Model":
        self.proto.add(variable == value)
        return self

    def digit(self, lane: str, dims: str, radix: int, steps: int) -> "Model":
        """The digit of `dims`, outermost first, has this radix and these steps."""
        key = (lane, dims[0])
        for dim, literal in self.variables.members[key].items():
            self.fix(literal, int(dim in dims))
        return self.fix(self.variables.radix[key], radix).fix(self.variables.steps[key], steps)

    def absent(self, lane: str, lead: str) -> "Model":
        for literal in self.variables.members[lane, lead].values():
            self.fix(literal, 0)
        return self

    def present(self, lane: str, lead: str) -> "Model":
        return self.fix(self.variables.present((lane, lead)), 1)

    def radix(self, lane: str, lead: str, radix: int) -> "Model":
        return self.fix(self.variables.radix[lane, lead], radix)

    def loop(self, dim: str, taken: int = 1) -> "Model":
        return self.fix(self.variables.outer[dim], taken)

    @property
    def feasible(self) -> bool:
        status = cp_model.CpSolver().solve(self.proto)
        assert status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.INFEASIBLE), self.proto.validate()
        return bool(status != cp_model.INFEASIBLE)


def assert_feasible(model: Model) -> None:
    assert model.feasible


def assert_infeasible(model: Model) -> None:
    assert not model.feasible


DOT = gemv(m=1, k=2)
"""One dim that matters, k, which may fill the lanes of i."""

WINDOW = conv1d(c=2, w=2, k=1, s=2, pad=1)
"""The filter dims c and s may fill i, together or one by one."""


def expression(text: str, **sizes: int) -> Operator:
    return Operator("expr", (dataflow.infer(text, sizes, "i8"),))


# The rules that decide which dims a digit may hold (embed.lanes), so that no variable breaks them.


def test_sharing_keeps_dims_of_an_operand_out_of_lanes_that_it_lacks() -> None:
    operator = gemm(m=2, n=2, k=2)
    in_order, swapped = bindings(operator.main, GEMM.pattern)
    lanes = {lane: allowed_dims(operator.main, GEMM.pattern, in_order, lane) for lane in ("b", "o", "i")}
    assert lanes == {"b": ("m",), "o": ("n",), "i": ("k",)}
    assert allowed_dims(operator.main, GEMM.pattern, swapped, "o") == ("m",)


def test_accumulation_keeps_summing_dims_out_of_accumulator_lanes() -> None:
    operator = expression("out[i] += x[i] * w[k]", i=2, k=2)
    binding = bindings(operator.main, GEMM.pattern)[0]
    assert allowed_dims(operator.main, GEMM.pattern, binding, "b") == ("i",)
    assert allowed_dims(operator.main, GEMM.pattern, binding, "o") == ()
    assert allowed_dims(operator.main, GEMM.pattern, binding, "i") == ("k",)


def test_idle_keeps_dims_that_nothing_reads_out_of_all_lanes() -> None:
    operator = expression("out[i] += x[i,k] * w[k]", i=2, k=2, again=3)
    for binding in bindings(operator.main, GEMM.pattern):
        assert all("again" not in allowed_dims(operator.main, GEMM.pattern, binding, lane) for lane in "boi")


def test_a_sliding_output_keeps_no_sum_in_one_accumulator() -> None:
    assert sums_apart(expression("out[i,j] += x[i] * w[j]", i=2, j=2).main)
    assert sums_apart(expression("out[2*i+j] += x[i] * w[j]", i=2, j=2).main)
    assert not sums_apart(expression("out[i+j] += x[i] * w[j]", i=2, j=2).main)
    assert sums_apart(expression("out[i+j] += x[i] * w[j]", i=2, j=1).main)


# once


def test_once_a_dim_stands_in_one_digit_or_is_a_loop() -> None:
    assert_feasible(Model(DOT, once).loop("k").absent("i", "k"))
    assert_feasible(Model(DOT, once).loop("k", 0))
    assert_infeasible(Model(DOT, once).loop("k", 0).absent("i", "k"))
    assert_infeasible(Model(DOT, once).loop("k").present("i", "k"))


def test_once_a_dim_is_not_in_two_digits() -> None:
    fused = Model(WINDOW, once).digit("i", "cs", 2, 2)
    assert_feasible(fused.absent("i", "s"))
    assert_infeasible(Model(WINDOW, once).digit("i", "cs", 2, 2).digit("i", "s", 2, 1))


# capacity


def test_capacity_radices_multiply_to_the_lanes_at_most() -> None:
    operator = conv1d(c=3, w=4, k=1, s=3)
    assert_feasible(Model(operator, capacity).digit("i", "c", 2, 2).digit("i", "s", 2, 2))
    assert_infeasible(Model(operator, capacity).digit("i", "c", 2, 2).digit("i", "s", 3, 1))


def test_capacity_of_one_digit_is_its_radix() -> None:
    longer = gemv(m=1, k=5)
    assert_feasible(Model(longer, capacity).radix("i", "k", 4))
    assert_infeasible(Model(longer, capacity).radix("i", "k", 5))


# runs


def test_runs_follow_from_size_and_radix() -> None:
    operator = gemv(m=1, k=3)
    assert_feasible(Model(operator, runs).digit("i", "k", 2, 2))
    assert_infeasible(Model(operator, runs).digit("i", "k", 2, 1))
    assert_infeasible(Model(operator, runs).digit("i", "k", 2, 3))


def test_runs_of_a_fused_digit_cross_its_dims() -> None:
    operator = conv1d(c=3, w=4, k=1, s=3)
    assert_feasible(Model(operator, runs).digit("i", "cs", 3, 3))
    assert_infeasible(Model(operator, runs).digit("i", "cs", 2, 6))


def test_runs_take_no_radix_that_a_smaller_one_matches() -> None:
    operator = gemv(m=1, k=9)
    assert_feasible(Model(operator, runs).digit("i", "k", 3, 3))
    assert_infeasible(Model(operator, runs).digit("i", "k", 4, 3))


def test_runs_of_an_absent_digit_are_one() -> None:
    absent = Model(DOT, runs).absent("i", "k")
    assert_feasible(absent)
    assert_infeasible(absent.fix(absent.variables.steps["i", "k"], 2))


@pytest.mark.parametrize(
    ("size", "lanes", "useful"), [(2, 2, [2]), (3, 2, [2]), (5, 4, [2, 3]), (9, 4, [2, 3]), (4, 16, [2, 4]), (7, 1, [])]
)
def test_useful_radices(size: int, lanes: int, useful: list[int]) -> None:
    assert list(useful_radices(size, lanes)) == useful


# exact arithmetic


def outcomes(model: cp_model.CpModel, expression: cp_model.LinearExpr | int) -> tuple[int, int]:
    """Smallest and largest value that an expression can have."""
    found = []
    for direction in (1, -1):
        model.minimize(direction * expression)
        solver = cp_model.CpSolver()
        assert solver.solve(model) == cp_model.OPTIMAL
        found.append(direction * round(solver.objective_value))
    return found[0], found[1]


@pytest.mark.parametrize("factors", [(), (3,), (2, 5), (2, 3, 7), (1, 1, 1)])
def test_a_product_is_exact(factors: tuple[int, ...]) -> None:
    model = cp_model.CpModel()
    variables = [model.new_int_var(value, value, "") for value in factors]
    assert outcomes(model, product(model, variables, prod(factors), "product")) == (prod(factors),) * 2


def test_a_product_stays_within_its_limit() -> None:
    model = cp_model.CpModel()
    total = product(model, [model.new_int_var(1, 4, "a"), model.new_int_var(1, 4, "b")], 9, "product")
    assert outcomes(model, total) == (1, 9)


@pytest.mark.parametrize("chosen", [(), (0,), (1,), (1, 0, 1), (1, 1, 1)])
def test_a_chain_multiplies_what_is_chosen(chosen: tuple[int, ...]) -> None:
    model = cp_model.CpModel()
    values = (2, 3, 7)[: len(chosen)]
    literals = [model.new_int_var(taken, taken, "") for taken in chosen]
    result = model.new_int_var(1, 42, "result")
    booleans = [model.new_bool_var("") for _ in chosen]
    for boolean, literal in zip(booleans, literals, strict=True):
        model.add(boolean == literal)
    chain(model, list(zip(values, booleans, strict=True)), result, "chain")
    expected = prod(value for value, taken in zip(values, chosen, strict=True) if taken)
    assert outcomes(model, result) == (expected, expected)


# cost terms, by hand on VTA 1x4x4: an inp word has 4 bytes, a wgt word 16, an out word 4 (i8) or 16 (i32)


def priced(operator: Operator, *digits: tuple[str, str, int, int], binding: int = 0) -> tuple[int, int, int]:
    """Invocations, bytes and cycles of the placement with these digits, all other dims being loops."""
    model = Model(operator, once, capacity, runs, binding=binding)
    terms = cost.build(model.proto, model.problem, model.variables)
    for lane, lead in model.variables.digits:
        if not any((lane, lead) == (digit[0], digit[1][0]) for digit in digits):
            model.absent(lane, lead)
    for digit in digits:
        model.digit(*digit)
    fixed = [outcomes(model.proto, term) for term in (terms.invocations, terms.bytes)]
    assert all(low == high for low, high in fixed)
    return fixed[0][0], fixed[1][0], outcomes(model.proto, terms.cycles)[0]


def test_the_cost_of_a_dot_product() -> None:
    """Swapped or not, 5 products take 2 words of inp and 2 of wgt; the i32 sum is stored as 4 bytes a lane."""
    for binding in (0, 1):
        assert priced(gemv(m=1, k=5), binding=binding)[:2] == (5, 5 * 4 + 5 * 16 + 16)
        assert priced(gemv(m=1, k=5), ("i", "k", 3, 2), binding=binding)[:2] == (2, 2 * 4 + 2 * 16 + 16)


def test_cycles_are_the_longest_of_compute_bus_and_store() -> None:
    """5 steps, a reset, and 3 shifts between 4 byte planes; the bus has 8 bytes a cycle; a store of 4 takes 2 each."""
    operator = gemv(m=1, k=5)
    invocations, _, cycles = priced(operator)
    compute, bus, store = invocations + 1 + 3, -(-(5 * 4 + 5 * 16) // 8), 4 * 2
    assert cycles == max(compute, bus, store) == 13
    assert priced(gemv(m=1, k=100), ("i", "k", 4, 25))[2] == -(-25 * 20 // 8)


def test_overlapping_windows_share_words_while_both_dims_are_loops() -> None:
    """inp of w=3 under a filter of 2: 3 words as loops, 2 x 2 once the filter fills lanes."""
    operator = requantise(conv1d(c=1, w=3, k=1, s=2))
    assert priced(operator)[:2] == (4, 3 * 4 + 2 * 16 + 2 * 4)
    assert priced(operator, ("i", "s", 2, 1))[:2] == (2, 2 * 4 + 1 * 16 + 2 * 4)


def test_padding_of_a_window_is_not_stored() -> None:
    padded = requantise(conv1d(c=1, w=3, k=1, s=3, pad=1))
    assert priced(padded)[1] == 3 * 4 + 3 * 16 + 3 * 4


def test_the_tensor_of_an_epilogue_costs_bytes_too() -> None:
    """A bias of 5 in lanes of 4: 2 words of 16 bytes, read once."""
    plain, biased = (requantise(gemm(m=2, n=5, k=2), bias=bias) for bias in (False, True))
    digits = (("o", "n", 3, 2), ("i", "k", 2, 1))
    assert priced(biased, *digits)[1] - priced(plain, *digits)[1] == 2 * 16
    assert priced(plain, *digits)[1] == 2 * 4 + 2 * 16 + 4 * 4


def test_a_digit_counts_for_the_tensors_that_use_one_of_its_dims() -> None:
    """x and y fused in the output lanes: the input repeats its rows of 2, the filter lies in 1 word."""
    operator = requantise(conv2d(c=1, h=3, w=2, k=1, r=1, s=1))
    swapped = priced(operator, ("o", "yx", 3, 2), binding=1)
    assert swapped[:2] == (2, 1 * 4 + 2 * 16 + 2 * 4)


def test_bytes_of_a_word_follow_from_the_pattern() -> None:
    gemm_sizes = {t.name: prod(t.shape) * bits(t.dtype) // 8 for t in Placeable.of(SMALL, "gemm").pattern.tensors}
    assert gemm_sizes == {"acc": 16, "inp": 4, "wgt": 16}
