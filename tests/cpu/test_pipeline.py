"""Cycles of blocks that are small enough to count by hand, on cores made up and on those of the Arm files."""

import pytest

import isa
from embed.cpu.measuring.pipeline import Step, cycles
from isa.model import Cost, MicroOperations, Timing

NEON = isa.load("neon")
A53, N1, V1 = (NEON.timings[name] for name in ("cortex-a53", "neoverse-n1", "neoverse-v1"))


def step(core: Timing, name: str, write: int, *reads: int) -> Step:
    """An entry of the file on vector registers; one that adds to its output does so here."""
    sums = ((("v", write),)) if name.startswith("fmla") else ()
    return Step(core.costs[name], tuple(("v", number) for number in reads), sums, (("v", write),))


def fmla(core: Timing, acc: int) -> Step:
    return step(core, "fmla_4s", acc, 30, 31)


@pytest.mark.parametrize(("core", "expected"), [(A53, 12), (N1, 6), (V1, 3)])
def test_independent_sums_fill_the_units(core: Timing, expected: int) -> None:
    assert cycles([fmla(core, acc) for acc in range(12)], core, repeated=True) == expected


@pytest.mark.parametrize(("core", "expected"), [(A53, 4), (N1, 2), (V1, 2)])
def test_one_sum_waits_for_its_accumulator(core: Timing, expected: int) -> None:
    assert cycles([fmla(core, 0)], core, repeated=True) == expected


@pytest.mark.parametrize(("core", "expected"), [(A53, 4), (N1, 3), (V1, 3)])
def test_a_chain_of_products_waits_for_the_whole_latency(core: Timing, expected: int) -> None:
    assert cycles([step(core, "fmul_4s", 0, 0)], core, repeated=True) == expected


def test_a_load_in_program_order() -> None:
    """The load holds slot 0 in cycles 0 and 1; its word is there in cycle 4; four sums follow, one a cycle."""
    block = [step(A53, "ldr_q", 8), *(step(A53, "fmla_4s", acc, 8, 9) for acc in range(4))]
    assert cycles(block, A53, repeated=True) == 8
    assert cycles(block, A53, repeated=False) == 8


def test_a_load_ahead_of_its_use_costs_its_slots_alone() -> None:
    block = [step(A53, "ldr_q", 8), *(step(A53, "fmla_4s", acc, 9, 10) for acc in range(4))]
    assert cycles(block, A53, repeated=True) == 6


def test_what_reorders_hides_the_load() -> None:
    block = [step(N1, "ldr_q", 8), *(step(N1, "fmla_4s", acc, 8, 9) for acc in range(4))]
    assert cycles(block, N1, repeated=True) == 2


def made_up(**constants: int) -> Timing:
    return Timing("core", (), constants, {}, "", ("p0", "p1", "p2"))


def uops(text: str) -> Step:
    """`2*01` goes to p0 or p1, twice."""
    parts = (part.split("*") for part in text.split("+"))
    return Step(Cost("", 0, {}, tuple(MicroOperations(int(n), tuple(f"p{u}" for u in units)) for n, units in parts)))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1*01"] * 4, 2),
        (["1*0", "1*0", "1*01", "1*01"], 2),
        (["1*0", "1*0", "1*0", "1*01"], 3),
        (["3*01", "1*12", "1*12"], 5 / 3),
        (["2*0+1*012", "1*12", "1*12", "1*1"], 2),
        ([], 0),
    ],
)
def test_units_share_what_can_go_to_several(texts: list[str], expected: float) -> None:
    assert cycles([uops(text) for text in texts], made_up(), repeated=False) == expected


def test_width() -> None:
    steps = [uops("2*012") for _ in range(6)]
    assert cycles(steps, made_up(), repeated=False) == 4
    assert cycles(steps, made_up(dispatch=2), repeated=False) == 6
    assert cycles(steps, made_up(decode=1, dispatch=2), repeated=False) == 6
    assert cycles([uops("1*012")] * 6, made_up(decode=1, dispatch=2), repeated=False) == 6


def test_program_order_keeps_a_free_unit_waiting() -> None:
    """p1 is free, but the second instruction waits for the first, which waits for p0."""
    core = made_up(window=0)
    assert cycles([uops("2*0"), uops("1*0"), uops("1*1")], core, repeated=False) == 3
    assert cycles([uops("2*0"), uops("1*1"), uops("1*0")], core, repeated=False) == 3
    assert cycles([uops("1*01"), uops("1*01"), uops("1*01")], core, repeated=True) == 1.5
