"""The price of plans: counted invocation by invocation, and the best of all covers by enumeration."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import ceil

import numpy as np
import pytest

import dataflow
import embed
import isa
from dataflow import Operator
from dataflow.sums import Addend, Sums
from embed.nodes.placement import Placement
from embed.nodes.plan import Plan, Step
from embed.solver.nodes.plans import plan
from embed.solver.settings import Settings

TOY = """
name = "toy"
[memory]
dram = { kind = "external", bits = 8 }
x = { kind = "register", bits = 32, count = 8 }
s = { kind = "register", bits = 64, count = 8 }

[[instruction]]
name = "pairs"
index = { l = 2 }
pattern = "d[l] = i32(a[2*l])*i32(b[2*l]) + i32(a[2*l+1])*i32(b[2*l+1])"
operands = { d = { in = "s", type = "i32[2]" }, a = { in = "x", type = "i16[4]" }, b = { in = "x", type = "i16[4]" } }

[[instruction]]
name = "mac"
index = { l = 2 }
pattern = "d[l] += i32(a[l])*i32(b[l])"
operands = { d = { in = "s", type = "i32[2]" }, a = { in = "x", type = "i16[2]" }, b = { in = "x", type = "i16[2]" } }

[[instruction]]
name = "msub"
like = "mac"
pattern = "d[l] += -i32(a[l])*i32(b[l])"

[[instruction]]
name = "add"
index = { l = 2 }
pattern = "d[l] = a[l] + b[l]"
operands = { d = { in = "s", type = "i32[2]" }, a = { in = "s", type = "i32[2]" }, b = { in = "s", type = "i32[2]" } }

[[instruction]]
name = "clear"
index = { l = 2 }
pattern = "d[l] = 0"
operands = { d = { in = "s", type = "i32[2]" } }

[[instruction]]
name = "fetch"
index = { l = 2 }
pattern = "d[l] = m[l]"
operands = { d = { in = "x", type = "i16[2]" }, m = { in = "dram", type = "i16[2]" } }

[[instruction]]
name = "fetch_sums"
index = { l = 2 }
pattern = "d[l] = m[l]"
operands = { d = { in = "s", type = "i32[2]" }, m = { in = "dram", type = "i32[2]" } }

[[instruction]]
name = "store"
index = { l = 2 }
pattern = "m[l] = d[l]"
operands = { d = { in = "s", type = "i32[2]" }, m = { in = "dram", type = "i32[2]" } }

[timing.one]
source = "made up"
"""
ENGINES = """
bus_bytes = {bus}
pairs = {{ unit = "mul", start = {pairs} }}
mac = {{ unit = "mul", start = 1, trip = 1 }}
msub = {{ unit = "mul", start = 2 }}
add = {{ unit = "alu", start = 1 }}
clear = {{ unit = "alu", start = 1 }}
fetch = {{ unit = "load", start = {load} }}
fetch_sums = {{ unit = "load", start = 3 }}
store = {{ unit = "store", start = {store} }}
"""
PIPES = """
units = "p0 p1 p2"
pairs = { units = "1*p01", latency = 5 }
mac = { units = "1*p0", latency = 4 }
msub = { units = "1*p0", latency = 4 }
add = { units = "1*p012", latency = 1 }
clear = { units = "", latency = 1 }
fetch = { units = "1*p2", latency = 4 }
fetch_sums = { units = "1*p2", latency = 4 }
store = { units = "1*p12", latency = 4 }
"""
MACHINES = {
    "plain": ENGINES.format(bus=4, pairs=1, load=1, store=1),
    "slow loads": ENGINES.format(bus=64, pairs=1, load=9, store=1),
    "slow bus": ENGINES.format(bus=1, pairs=1, load=0, store=1),
    "slow stores": ENGINES.format(bus=64, pairs=1, load=0, store=20),
    "slow pairs": ENGINES.format(bus=64, pairs=30, load=0, store=1),
    "pipes": PIPES,
}
TEXTS = {
    "c[i,j] += i32(a[i,k])*i32(b[k,j])": {"i": 3, "j": 2, "k": 3},
    "c[i] += i32(a[i,k])*i32(b[k]) - i32(x[i,k])*i32(y[k])": {"i": 3, "k": 2},
    "c[i] += i32(a[i])*i32(b[i]) + i32(x[i])*i32(y[i])": {"i": 5},
    "y[i] += i32(a[i+k])*i32(b[k]); z[i] += i32(a[i])*i32(b[i])": {"i": 4, "k": 3},
}


def planned(machine: str, text: str, objective: str = "cycles") -> Plan:
    sizes = TEXTS[text]
    operator = Operator("expr", dataflow.infer_all(text.split(";"), sizes, "i16"), tuple(sizes.items()))
    return plan(operator, isa.loads(TOY + MACHINES[machine]), Settings(objective))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("machine", MACHINES)
def test_prices_are_those_of_single_invocations(machine: str, text: str) -> None:
    for step in planned(machine, text).every:
        counts, read = counted(step)
        assert step.cycles == (in_pipes(counts) if machine == "pipes" else on_engines(counts, read, machine)), str(step)


def counted(step: Step) -> tuple[Counter[str], int]:
    """Entries that run, by looking at what every single invocation holds; and the bytes that are read."""
    placement = step.placement
    counts = Counter({placement.name: 0})
    seen: dict[str, set[object]] = {operand: set() for operand in placement.held}
    for places in product(*(range(loop.extent) for loop in placement.loops)):
        counts[placement.name] += 1
        for operand, held in words(placement, dict(zip(placement.loops, places, strict=True))).items():
            seen[operand].add(held)
    read = 0
    first = {addend for addend in placement.covered if addend.place == 0}
    others = {addend.statement for addend in placement.covered} - {addend.statement for addend in first}
    accumulates = placement.name in ("mac", "msub")
    sums = Sums(placement.operator.statements)
    whole = all(addend in placement.covered for addend in sums.addends if addend.statement in placement.statements)
    parts = not accumulates and not (whole and len(seen["d"]) == counts[placement.name])
    for operand in ("a", "b"):
        counts["fetch"] += len(seen[operand]) * (2 if placement.name == "pairs" else 1)
        read += len(seen[operand]) * (8 if placement.name == "pairs" else 4)
    if others:
        counts["fetch_sums"] += len(seen["d"])
        read += len(seen["d"]) * 8
    elif accumulates or parts:
        counts["clear"] += len(seen["d"])
    if parts:
        counts["add"] += counts[placement.name]
    counts["store"] += len(seen["d"])
    return counts, read


def words(placement: Placement, at: dict[object, int]) -> dict[str, object]:
    """What each operand holds in one invocation, by the points of all its lanes: words of windows do not overlap."""
    origin = {loop.name: np.array([place]) for loop, place in at.items()}  # type: ignore[attr-defined]
    found: dict[str, list[object]] = {operand: [] for operand in placement.held}
    for image in placement.images:
        points, idle = placement.points(image, origin)
        for lane in np.ndindex(*idle.shape):
            point = {dim: int(values[lane]) for dim, values in points.items()}
            for own, held in placement.uses(image):
                dims = {dim for index in held.index for dim in index.dims}  # type: ignore[union-attr]
                place = sorted((dim, point[dim]) for dim in dims)
                found[own.tensor].append((own, held.tensor, place))  # type: ignore[union-attr]
    return {operand: tuple(map(str, held)) for operand, held in found.items()}


def on_engines(counts: Counter[str], read: int, machine: str) -> int:
    values = {"bus_bytes": 0, "pairs": 0, "fetch": 0, "store": 0}
    for line in MACHINES[machine].splitlines():
        name, _, text = line.partition(" = ")
        if name in values:
            values[name] = int(text.rstrip(" }").split("= ")[-1])
    engines = {
        "mul": counts["pairs"] * values["pairs"] + 2 * counts["mac"] + 2 * counts["msub"],
        "alu": counts["add"] + counts["clear"],
        "load": counts["fetch"] * values["fetch"] + 3 * counts["fetch_sums"],
        "store": counts["store"] * values["store"],
        "bus": -(-read // values["bus_bytes"]),
    }
    return max(engines.values())


def in_pipes(counts: Counter[str]) -> int:
    """The least time of the busiest pipe: by Hall's theorem over all sets of pipes."""
    goes = {"pairs": "01", "mac": "0", "msub": "0", "add": "012", "fetch": "2", "fetch_sums": "2", "store": "12"}
    times = []
    for pipes in ("0", "1", "2", "01", "02", "12", "012"):
        held = sum(counts[name] for name, own in goes.items() if set(own) <= set(pipes))
        times.append(Fraction(held, len(pipes)))
    return ceil(max(times))


def covers(steps: Sequence[Step], left: frozenset[Addend]) -> Iterator[tuple[Step, ...]]:
    """Every choice of steps that does each addend once."""
    if not left:
        yield ()
        return
    first = min(left, key=lambda addend: (addend.statement, addend.place))
    for step in steps:
        if first in step.placement.covered and step.placement.covered <= left:
            yield from ((step, *rest) for rest in covers(steps, left - step.placement.covered))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("objective", ["cycles", "bytes"])
def test_no_other_cover_is_better(machine: str, text: str, objective: str) -> None:
    found = planned(machine, text, objective)
    every = frozenset(Sums(found.operator.statements).addends)
    cheapest: dict[tuple[frozenset[Addend], int, int], Step] = {}
    for step in found.every:
        cheapest.setdefault((step.placement.covered, step.cycles, step.bytes), step)
    totals = [
        (sum(step.cycles for step in each), sum(step.bytes for step in each))
        for each in covers(list(cheapest.values()), every)
    ]
    best = min(totals, key=lambda total: total if objective == "cycles" else total[::-1])
    assert (found.cycles, found.bytes) == best


def test_what_is_slow_decides() -> None:
    """The same sum of products: by pairs where these are fast, one by one where they are not."""
    text = "c[i] += i32(a[i])*i32(b[i]) + i32(x[i])*i32(y[i])"
    chosen = {machine: {step.placement.name for step in planned(machine, text).steps} for machine in MACHINES}
    assert chosen["plain"] == {"pairs"}
    assert chosen["slow pairs"] == {"mac"}


def test_python_takes_an_objective() -> None:
    operator = planned("plain", "c[i,j] += i32(a[i,k])*i32(b[k,j])").operator
    target = isa.loads(TOY + MACHINES["plain"])
    assert embed.plan(operator, target).cycles < embed.plan(operator, target, objective="bytes").cycles
    with pytest.raises(dataflow.UserError, match="fewest"):
        embed.plan(operator, target, objective="fewest")


def test_the_step_that_begins_a_sum_comes_first() -> None:
    steps = planned("plain", "c[i] += i32(a[i,k])*i32(b[k]) - i32(x[i,k])*i32(y[k])").steps
    assert [step.placement.name for step in steps][-1] == "msub"
