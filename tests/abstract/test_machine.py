"""Abstract programs: run by the batch machine, against the reference and against the scalar interpreter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow
import embed
import isa
from dataflow import Operator
from dataflow.accuracy import bounded
from dataflow.computation import Computation
from dataflow.dtypes import is_integer, numpy_dtype
from embed.abstract.joint import choose
from embed.abstract.kernel import AbstractKernel, compile_abstract
from embed.abstract.machine import Machine, in_external
from embed.abstract.program import Invoke, steps
from embed.cli.data import random_arrays
from embed.nest.interpret import interpret
from embed.physical import Physical
from embed.solver.settings import Settings
from isa import MachineInstruction, interpreter
from isa.batch import run_batch
from isa.rounding import compute
from tests.operators import operators, pinned_operators

Array = npt.NDArray[Any]
FILES = Path(__file__).parent.parent / "isa_files"
EDGE = isa.load(str(FILES / "edge_i4.toml"))
OUTER = isa.load(str(FILES / "outer_bf16.toml"))
ENGINE = isa.load(str(FILES / "conv_engine.toml"))
VTA = isa.load("vta")
TARGETS = {"edge": (EDGE, "i4"), "outer": (OUTER, "bf16"), "vta": (VTA, "i8"), "neon": (isa.load("neon"), "f32")}
TARGETS["engine"] = (ENGINE, "i8")
TARGETS["avx512"] = (isa.load("avx512"), "f32")
ENTRIES = [
    (target, entry)
    for target in (EDGE, OUTER, ENGINE, VTA, *(isa.load(name) for name in ("neon_bf16", "neon_fp16", "avx512_vnni")))
    for entry in target.instructions.values()
    if entry.pattern is not None and entry.mask is None and not entry.choice
]


def kernel_of(operator: Operator, target: isa.Isa) -> AbstractKernel:
    return compile_abstract(embed.best(operator, target).embedding, target)


def holds(operator: Operator, arrays: Mapping[str, Array], out: Array) -> bool:
    if is_integer(operator.output.dtype):
        return np.array_equal(out, dataflow.evaluate(operator, arrays))
    exact, bound = bounded(operator, arrays)
    return bool((abs(out.astype(np.float64) - exact) <= bound).all())


@st.composite
def problems(draw: st.DrawFn) -> tuple[str, Operator]:
    target = draw(st.sampled_from(list(TARGETS)))
    _, dtype = TARGETS[target]
    if draw(st.booleans()):
        sizes = {name: draw(st.integers(1, 40)) for name in "mnk"}
        operator = dataflow.gemm(**sizes, dtype=dtype)
        requantised = target == "vta" and draw(st.booleans())
        return target, dataflow.requantise(operator, shift=5, bias=True, relu=True) if requantised else operator
    sizes = {"c": draw(st.integers(1, 9)), "k": draw(st.integers(1, 12)), "r": draw(st.integers(1, 3))}
    sizes |= {"h": draw(st.integers(3, 8)), "w": draw(st.integers(3, 9)), "s": draw(st.integers(1, 3))}
    return target, dataflow.conv2d(**sizes, pad=draw(st.integers(0, 2)), stride=draw(st.integers(1, 2)), dtype=dtype)


@given(problems(), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_programs_compute_the_operator_and_do_what_the_report_counts(problem: tuple[str, Operator], seed: int) -> None:
    target, operator = problem
    kernel = kernel_of(operator, TARGETS[target][0])
    arrays = random_arrays(operator, seed)
    found, said = kernel.run(arrays), kernel.report
    assert holds(operator, arrays, kernel.nest.layouts[kernel.nest.output].unpack(found.packed))
    assert found.invocations == said.invocations == kernel.embedding.invocations
    assert found.bytes == said.bytes


TIMED = {
    name: isa.load(name) for name in ("edge", "gemmini", "tpu", "vta", "rvv", "avx2", "avx512_bf16", "mma_sync", "neon")
}


@given(
    st.sampled_from(sorted(TIMED)), st.tuples(*[st.integers(1, 60)] * 3), st.sampled_from(["i8", "bf16", "i16", "f32"])
)
@settings(max_examples=25, deadline=None)
def test_no_program_is_faster_than_the_price_of_its_embedding(name: str, sizes: tuple[int, ...], dtype: str) -> None:
    """The solver's price against the busy units of the program: the same work, and what the price leaves out."""
    target = TIMED[name]
    try:
        found = embed.best(dataflow.gemm(**dict(zip("mnk", sizes, strict=True)), dtype=dtype), target)
    except embed.NoEmbedding:
        return
    said = compile_abstract(found.embedding, target).report
    instruction = target.instruction(found.embedding.name)
    cost = target.timing.costs[instruction.name]
    own = cost.steady if instruction.repeat or cost.uops else cost.start + cost.trip
    assert found.embedding.invocations * own <= found.costs.compute <= found.costs.cycles <= said.cycles
    if cost.unit:
        assert found.costs.compute <= said.busy[cost.unit]


@pytest.mark.parametrize(("name", "sizes"), [("edge", (3, 9, 10, 8, 3, 1)), ("gemmini", (5, 6, 5, 20, 1, 2))])
def test_the_program_that_is_taken_is_the_fastest_of_all(name: str, sizes: tuple[int, ...]) -> None:
    """Where it is proven, against the programs of all embeddings of the operator as it is."""
    operator = dataflow.conv2d(**dict(zip("chwkrs", sizes, strict=True)), pad=1)
    solution, kernel = choose(operator, TIMED[name], Settings(relax=()))
    listed = embed.alternatives(operator, TIMED[name], dominated=True)
    fastest = min(compile_abstract(embedding, TIMED[name]).cycles for embedding, _ in listed.ranked)
    assert fastest <= kernel.cycles
    assert solution.status == "FEASIBLE" or fastest == kernel.cycles


def test_instructions_that_do_not_loop_themselves_take_their_start() -> None:
    """64 x 64 x 64 in steps of 4: 4,096 products a cycle each, 256 sums cleared on the same array, 16 bytes a cycle."""
    costs = embed.best(dataflow.gemm(m=64, n=64, k=64), isa.load("edge")).costs
    assert (costs.compute, costs.bus, costs.cycles) == (4096 + 256, 2 * 64 * 64 // 16, 4352)


@given(st.sampled_from(["edge", "gemmini", "amx", "mma_sync"]), pinned_operators(operators(), 1_500))
@settings(max_examples=6, deadline=None)
def test_any_layout_of_any_operator_runs(name: str, one: tuple[Operator, dict[str, str]]) -> None:
    """On machines with scratchpads and with registers, whatever is rewritten."""
    operator, layouts = one
    kernel = embed.compile(operator, isa.load(name), layouts=layouts)
    arrays = random_arrays(operator, 0)
    given = {t.name: Physical.of(t, layouts.get(t.name)).pack(arrays[t.name]) for t in operator.inputs}
    lies = Physical.of(operator.output, layouts.get(operator.output.name))
    assert np.array_equal(lies.unpack(lies.check(kernel(**given))), dataflow.evaluate(operator, arrays))


@pytest.mark.parametrize("target", [EDGE, OUTER, ENGINE], ids=["edge", "outer", "engine"])
def test_the_scalar_interpreter_runs_the_same_program(target: isa.Isa) -> None:
    """Without encodings an invocation is an instruction whose fields are the words of its operands."""
    operator = dataflow.gemm(m=11, n=35, k=21, dtype="i4" if target is EDGE else "bf16")
    if target is ENGINE:
        operator = dataflow.conv2d(c=3, h=7, w=21, k=4, r=3, s=5, pad=2)
    kernel = kernel_of(operator, target)
    arrays = random_arrays(operator, 3)
    external = in_external(kernel.nest, kernel.places, arrays)
    batch = Machine(target, kernel.nest, kernel.places, external)
    scalar = Machine(target, kernel.nest, kernel.places, external)
    memories = {"dram": np.zeros(0, np.uint8), **scalar.memories}
    for step in steps(kernel.nest, kernel.places):
        batch.run([step])
        if not isinstance(step, Invoke):
            scalar.run([step])
            continue
        flat = {name: words.reshape(-1) for name, words in step.places.items()}
        for words in zip(*flat.values(), strict=True):
            fields = dict(zip(flat, map(int, words), strict=True))
            interpreter.run(target, MachineInstruction(kernel.embedding.name, fields), memories)
    for name, memory in batch.memories.items():
        np.testing.assert_array_equal(memory, scalar.memories[name])
    np.testing.assert_array_equal(batch.planes.joined(), scalar.planes.joined())


@pytest.mark.parametrize(("target", "entry"), ENTRIES, ids=[f"{t.name}-{e.name}" for t, e in ENTRIES])
def test_a_batch_is_one_trip_after_the_other(target: isa.Isa, entry: isa.model.Instruction) -> None:
    """Random words and extremes, element for element equal to the entry alone."""
    pattern = entry.pattern
    assert isinstance(pattern, Computation)
    rng = np.random.default_rng(len(entry.name))
    arrays = {}
    for operand in entry.inputs:
        dtype = numpy_dtype(operand.tensor.dtype)
        raw = rng.integers(0, 256, (7, *operand.tensor.shape, dtype.itemsize), np.uint8)
        values = raw.view(dtype)[..., 0]
        if dtype.kind not in "iu":
            values = rng.normal(size=values.shape).astype(dtype)
        arrays[operand.name] = dataflow.dtypes.convert(values, operand.tensor.dtype)
    whole = run_batch(entry, 7, arrays)
    for trip in range(7):
        alone = compute(entry, pattern, {name: array[trip] for name, array in arrays.items()})
        np.testing.assert_array_equal(whole[trip], alone)


def test_the_nest_interpreter_agrees_on_integers() -> None:
    operator = dataflow.conv2d(c=5, h=9, w=11, k=12, r=3, s=3, pad=1, stride=2, dtype="i4")
    kernel = kernel_of(operator, EDGE)
    arrays = random_arrays(operator, 5)
    packed = {
        name: layout.pack(arrays[layout.tensor.name], "i4")
        for name, layout in kernel.nest.layouts.items()
        if name != "out"
    }
    np.testing.assert_array_equal(kernel.run(arrays).packed, interpret(kernel.nest, packed))


def test_a_memory_of_one_operand_each_is_enough() -> None:
    text = (FILES / "edge_i4.toml").read_text(encoding="utf-8")
    for count in (256, 512, 64):
        text = text.replace(f"count = {count}", "count = 1")
    operator = dataflow.gemm(m=20, n=30, k=50, dtype="i4")
    kernel = kernel_of(operator, isa.loads(text))
    arrays = random_arrays(operator, 0)
    assert set(kernel.schedule.tiles.values()) == {1}
    assert holds(operator, arrays, kernel(**arrays))


@pytest.mark.parametrize("name", ["avx512", "sme", "gemmini"])
def test_a_sum_of_any_length_has_a_schedule(name: str) -> None:
    """DeepBench's longest sums have 500,000 terms, and registers hold one word of an input at the least."""
    target = isa.load(name)
    operator = dataflow.gemm(m=512, n=1, k=500_000, dtype="f32" if name == "avx512" else "i8")
    kernel = compile_abstract(embed.best(operator, target).embedding, target)
    assert min(kernel.schedule.tiles.values()) == 1
