"""Why nothing fits: a smallest set of demands that no embedding meets together, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from embed.demands import Demand, in_place
from embed.repacking import Pin
from embed.solver.deadline import Deadline
from embed.solver.model import PricedPlacements
from embed.solver.problem import Problem
from embed.solver.settings import Settings

_TERMS = {
    "min-utilisation": ("invocations", "the highest"),
    "max-cycles": ("cycles", "the least"),
    "max-bytes": ("bytes", "the least"),
}


@dataclass(frozen=True, slots=True)
class Clash:
    """Demands that no embedding meets together; of those `untried` it is not known whether they could be left out."""

    demands: tuple[Demand, ...]
    untried: tuple[Demand, ...] = ()


def conflict(problems: Sequence[Problem], demands: Sequence[Demand], settings: Settings, deadline: Deadline) -> Clash:
    """Of demands that no embedding meets together, some that clash and of which none can be left out."""
    kept = list(demands)
    untried = []
    for demand in demands:
        others = [other for other in kept if other != demand]
        without = possible(problems, others, settings, deadline)
        if without is False:
            kept = others
        elif without is None:
            untried.append(demand)
    return Clash(tuple(kept), tuple(untried))


def possible(
    problems: Sequence[Problem], demands: Sequence[Demand], settings: Settings, deadline: Deadline
) -> bool | None:
    """Whether some problem has an embedding that meets the demands; None where the time was too short to tell."""
    unknown = False
    for problem in problems:
        found = PricedPlacements(problem, demands).feasible(settings, deadline)
        if found:
            return True
        unknown = unknown or found is None
    return None if unknown else False


def explained(problems: Sequence[Problem], clash: Clash, settings: Settings, deadline: Deadline) -> str:
    """The demands in words, what could fill the lanes or be reached, and what to leave out."""
    demands = clash.demands
    reasons = ", and ".join(map(str, demands))
    options = " or ".join(demand.written for demand in demands)
    facts = [_reach(problems, demand, demands, settings, deadline) for demand in demands if demand.kind in _TERMS]
    pins = {pin.physical.tensor.name: pin for problem in problems for pin in problem.rates.pins.values()}
    facts += [_lies(pins[name], name) for name in in_place(demands)]
    if len(facts) < len(demands) or in_place(demands):
        facts += dict.fromkeys(_offer(problem, demands) for problem in problems if problem.relaxed is None)
    rest = ", ".join(demand.written for demand in clash.untried)
    cut = f" (the time ran out before it was known whether {rest} could stay)" if rest else ""
    return f"no embedding is such that {reasons}: {'; '.join(facts)}. Leave out {options}{cut}"


def _reach(
    problems: Sequence[Problem], demand: Demand, demands: Sequence[Demand], settings: Settings, deadline: Deadline
) -> str:
    """The best that can be had of what a demand limits, under the other demands."""
    term, word = _TERMS[demand.kind]
    others = [other for other in demands if other != demand]
    found = (PricedPlacements(problem, others).minimise((term,), [], settings, deadline) for problem in problems)
    best = min((one.values[0] for one in found if one is not None and one.values), default=None)
    if best is None:
        return f"{word} was not found in time"
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
    return f"in {problem} {' and '.join(fills)}"


def _dims(problem: Problem, lane: str) -> str:
    return ", ".join(f"{dim}={problem.extents[dim]}" for dim in problem.allowed[lane]) or "no dim"
