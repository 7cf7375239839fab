"""Why nothing fits: a smallest set of demands that no embedding meets together, in words."""

from collections.abc import Sequence

from embed.demands import Demand, in_place
from embed.pinned import Pin
from embed.solver.model import PricedPlacements
from embed.solver.problem import Problem
from embed.solver.settings import Settings

_TERMS = {
    "min-utilisation": ("invocations", "the highest"),
    "max-cycles": ("cycles", "the least"),
    "max-bytes": ("bytes", "the least"),
}


def conflict(
    problems: Sequence[Problem], demands: Sequence[Demand], settings: Settings, deadline: float
) -> list[Demand]:
    """Of demands that no embedding meets together, some that clash and of which none can be left out."""
    kept = list(demands)
    for demand in demands:
        others = [other for other in kept if other != demand]
        if not possible(problems, others, settings, deadline):
            kept = others
    return kept


def possible(problems: Sequence[Problem], demands: Sequence[Demand], settings: Settings, deadline: float) -> bool:
    """Whether some problem has an embedding that meets the demands; true as well if the time was too short to tell."""
    return any(PricedPlacements(problem, demands).feasible(settings, deadline) for problem in problems)


def explained(problems: Sequence[Problem], demands: Sequence[Demand], settings: Settings, deadline: float) -> str:
    """The demands in words, what could fill the lanes or be reached, and what to leave out."""
    reasons = ", and ".join(map(str, demands))
    options = " or ".join(demand.written for demand in demands)
    facts = [_reach(problems, demand, demands, settings, deadline) for demand in demands if demand.kind in _TERMS]
    pins = {pin.physical.tensor.name: pin for problem in problems for pin in problem.rates.pins.values()}
    facts += [_lies(pins[name], name) for name in in_place(demands)]
    if len(facts) < len(demands) or in_place(demands):
        facts += dict.fromkeys(_offer(problem, demands) for problem in problems)
    return f"no embedding is such that {reasons}: {'; '.join(facts)}. Leave out {options}"


def _reach(
    problems: Sequence[Problem], demand: Demand, demands: Sequence[Demand], settings: Settings, deadline: float
) -> str:
    """The best that can be had of what a demand limits, under the other demands."""
    term, word = _TERMS[demand.kind]
    others = [other for other in demands if other != demand]
    found = (PricedPlacements(problem, others).minimise((term,), [], settings, deadline) for problem in problems)
    best = min(one.values[0] for one in found if one is not None and one.values)
    if term == "invocations":
        pattern = problems[0].pattern
        return f"{word} is {problems[0].operator.main.points / (best * pattern.points):.4f}"
    return f"{word} is {best:,}"


def _lies(pin: Pin, name: str) -> str:
    text = f"{name} lies as {pin.physical.name} in {list(pin.physical.shape)}"
    return text if pin.same_type else f"{text}, and no memory holds its elements in its type"


def _offer(problem: Problem, demands: Sequence[Demand]) -> str:
    """The lane dimensions that the demands name, or all, with their lanes and the dims that may fill them."""
    named = {demand.about[0] for demand in demands if demand.kind in ("full", "lane")}
    lanes = [lane for lane in problem.lanes if lane in named] or list(problem.lanes)
    fills = [f"the {problem.lanes[lane]} lanes of {lane} take {_dims(problem, lane)}" for lane in lanes]
    played = ", ".join(f"{tensor}->{operand}" for operand, tensor in problem.binding.pairs[1:])
    return f"in {problem.instruction.name}({played}) {' and '.join(fills)}"


def _dims(problem: Problem, lane: str) -> str:
    return ", ".join(f"{dim}={problem.extents[dim]}" for dim in problem.allowed[lane]) or "no dim"
