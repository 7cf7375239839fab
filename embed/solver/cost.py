"""Cost terms as expressions of the variables: invocations, packed words, cycles, bytes, all of them exact integers."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product as combinations
from math import prod

from ortools.sat.python import cp_model

from embed.relax.sums import added_bytes
from embed.repacking import Pin
from embed.solver import in_place
from embed.solver.arithmetic import chain, product
from embed.solver.problem import Problem
from embed.solver.variables import Key, Variables
from embed.window import Window

Expression = cp_model.LinearExpr | int


@dataclass(frozen=True, slots=True)
class CostTerms:
    """What an objective may be made of; `invocations` is an exact product, the others follow from packed `words`.

    `cycles` and `bytes` count the copies that pinned layouts leave and the addition of partial sums; `in_place` has a
    literal for each pinned access.
    """

    invocations: Expression
    words: Mapping[str, Expression]
    bytes: Expression
    cycles: Expression
    in_place: Mapping[str, cp_model.IntVar]


@dataclass(frozen=True, slots=True)
class _Amounts:
    """What a placement says of its program: invocations, packed words by tensor, bytes of the packed inputs."""

    invocations: Expression
    words: Mapping[str, Expression]
    reading: Expression

    def at_most(self, model: cp_model.CpModel, problem: Problem, cycles: Expression) -> None:
        """No unit of the machine is busy for more cycles."""
        rates, results = problem.rates, self.words[problem.operator.main.output.tensor]
        model.add(rates.per * cycles >= rates.invocation * self.invocations + rates.result * results)
        model.add(rates.per * cycles >= rates.store * results)
        if rates.bus:
            model.add(rates.bus * cycles >= self.reading)


def build(model: cp_model.CpModel, problem: Problem, variables: Variables) -> CostTerms:
    """Add the cost variables; `cycles` is bounded from below and so exact only where it is minimised."""
    rates, amounts = problem.rates, _amounts(model, problem, variables)
    cycles = model.new_int_var(1, _longest(problem), "cycles")
    amounts.at_most(model, problem, cycles)
    added = added_bytes(problem.relaxed)
    written = rates.result_bytes * amounts.words[problem.operator.main.output.tensor]
    packed: Expression = amounts.reading + written + added
    total: Expression = cycles + rates.moving(added)
    holds: dict[str, cp_model.IntVar] = {}
    for access, pin in rates.pins.items():
        holds[access] = in_place.build(model, problem, variables, access, pin)
        moved, spent = _copy(model, problem, access, pin, amounts.words[access], holds[access])
        packed, total = packed + moved, total + spent
    return CostTerms(amounts.invocations, amounts.words, packed, total, holds)


def limit(model: cp_model.CpModel, problem: Problem, variables: Variables, below: int) -> None:
    """Only placements of fewer cycles, whatever packing pinned layouts leave.

    Every added variable follows from the placement, so that each is still enumerated once.
    """
    most = below - 1 - problem.rates.moving(added_bytes(problem.relaxed))
    _amounts(model, problem, variables).at_most(model, problem, model.new_constant(max(0, most)))


def _amounts(model: cp_model.CpModel, problem: Problem, variables: Variables) -> _Amounts:
    """The products that costs are made of."""
    rates, operands = problem.rates, problem.binding.operands
    points = prod(problem.extents.values())
    factors = [(extent, variables.outer[dim]) for dim, extent in problem.extents.items()]
    loops = model.new_int_var(1, points, "loops")
    chain(model, factors, loops, "loops")
    steps = [variables.steps[key] for key in variables.digits]
    invocations = product(model, [loops, *steps], points, "invocations")
    words = {tensor: _words(model, problem, variables, tensor) for tensor in problem.reads}
    output = problem.operator.main.output.tensor
    reading: Expression = 0
    for tensor in problem.reads:
        if tensor != output:
            size = rates.input_bytes[operands[tensor]] if tensor in operands else rates.extra_bytes
            reading = reading + size * words[tensor]
    return _Amounts(invocations, words, reading)


def _copy(
    model: cp_model.CpModel, problem: Problem, access: str, pin: Pin, words: Expression, holds: cp_model.IntVar
) -> tuple[cp_model.IntVar, Expression]:
    """Bytes and cycles of packing a pinned access, bounded from below: none where it is in place."""
    rates, output = problem.rates, problem.operator.main.output.tensor
    own = rates.input_bytes.get(problem.binding.operands.get(access, ""), rates.extra_bytes)
    each = rates.result_bytes if access == output else own
    most = pin.bytes + 2 * each * prod(n for dim, n in problem.extents.items() if problem.uses(access, dim))
    moved = model.new_int_var(0, most, f"copied {access}")
    model.add(moved >= pin.bytes + each * words).only_enforce_if(~holds)
    if not rates.bus:
        return moved, 0
    cycles = model.new_int_var(0, -(-most // rates.bus), f"copying {access}")
    model.add(rates.bus * cycles >= moved)
    return moved, cycles


def _longest(problem: Problem) -> int:
    """More cycles than any placement can take: one invocation for every point, each reading words of its own."""
    rates = problem.rates
    word = sum(rates.input_bytes.values()) + rates.extra_bytes + rates.invocation + rates.result + rates.store
    return min(1 << 50, prod(problem.extents.values()) * word + word)


def _words(model: cp_model.CpModel, problem: Problem, variables: Variables, tensor: str) -> Expression:
    """Stored words of a tensor: the runs of the digits it uses times the windows of its outer dims."""
    factors = [_digit_factor(model, problem, variables, tensor, key) for key in variables.digits]
    single = [dim for dim in problem.extents if _dimensions(problem, tensor, dim) == 1]
    for number in range(len(problem.reads[tensor].index)):
        own = [dim for dim in single if problem.reads[tensor].index[number].coefficient(dim)]
        if own:
            factors.append(_window(model, problem, variables, tensor, number, own))
    for dim, extent in problem.extents.items():
        if _dimensions(problem, tensor, dim) > 1:
            factors.append(_choice(model, extent, variables.outer[dim], f"{tensor} {dim}"))
    kept = [factor for factor in factors if factor is not None]
    limit = prod(extent for dim, extent in problem.extents.items() if problem.uses(tensor, dim))
    return product(model, kept, 2 * limit, f"words {tensor}")


def _dimensions(problem: Problem, tensor: str, dim: str) -> int:
    """How many of the tensor's dimensions a dim moves along."""
    return sum(1 for index in problem.reads[tensor].index if index.coefficient(dim))


def _digit_factor(
    model: cp_model.CpModel, problem: Problem, variables: Variables, tensor: str, key: Key
) -> cp_model.IntVar | None:
    """The digit's steps if the tensor uses any of its dims, else 1."""
    used = [literal for dim, literal in variables.members[key].items() if problem.uses(tensor, dim)]
    if len(used) == len(variables.members[key]):
        return variables.steps[key]
    if not used:
        return None
    touched = model.new_bool_var(f"touched {tensor} {key}")
    model.add_max_equality(touched, used)
    factor = model.new_int_var(1, prod(problem.extents[dim] for dim in variables.members[key]), f"runs {tensor} {key}")
    model.add(factor == variables.steps[key]).only_enforce_if(touched)
    model.add(factor == 1).only_enforce_if(~touched)
    return factor


def _choice(model: cp_model.CpModel, value: int, literal: cp_model.IntVar, name: str) -> cp_model.IntVar:
    factor = model.new_int_var(1, value, name)
    model.add(factor == 1 + (value - 1) * literal)
    return factor


def _window(
    model: cp_model.CpModel, problem: Problem, variables: Variables, tensor: str, number: int, own: list[str]
) -> cp_model.IntVar:
    """Words along one tensor dimension, for every choice of which of its dims are loops."""
    rows = [
        (*choice, window_words(problem, tensor, number, own, choice))
        for choice in combinations((0, 1), repeat=len(own))
    ]
    words = model.new_int_var(1, max(row[-1] for row in rows), f"window {tensor} {number}")
    model.add_allowed_assignments([*(variables.outer[dim] for dim in own), words], rows)
    return words


def window_words(problem: Problem, tensor: str, number: int, own: list[str], choice: tuple[int, ...]) -> int:
    """What `embed.layout` stores along one dimension when the dims of `own` chosen by `choice` are loops."""
    chosen = [dim for dim, taken in zip(own, choice, strict=True) if taken]
    if not chosen:
        return 1
    index = problem.reads[tensor].index[number]
    results = problem.operator.main.output_dims
    shape = problem.shape(tensor)[number:]
    window = Window.of(index, chosen, problem.extents_of_all, results, shape, problem.pads(tensor))
    return prod(problem.extents[dim] for dim in chosen) if window is None else window.stored
