"""An embedding explained: the operator, what fills each lane dimension, where each tensor lies, the price."""

import shlex
from collections.abc import Iterator, Sequence
from textwrap import indent

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dataflow import Operator, UserError
from dataflow.dtypes import bits
from embed import Alternatives, Solution, costs, layout
from embed.cli.console import new_table
from embed.cli.record import Record
from embed.copies import all_copies
from embed.costs import Costs
from embed.cpu.compile import on_registers
from embed.embedding import Digit, Embedding
from embed.epilogue import plan as plan_epilogue
from embed.errors import NoEmbedding
from embed.kernel import Machine
from embed.nest.single import single
from embed.pareto import lane_strides
from isa.model import Isa


def explain(target: Isa, solution: Solution, objective: str, command: str) -> Iterator[RenderableType]:
    """What `isa-embed embed` prints, piece by piece; `command` compiles this operator, however it is embedded.

    An embedding that no machine of this kind has code for is shown with the reason instead.
    """
    embedding = solution.embedding
    yield Text(embedding.operator.title, style="bold")
    for statement in embedding.asked.statements:
        yield Text(f"  {statement}")
    yield Text(f"on {target.name} {' '.join(f'{key}={value}' for key, value in target.parameters.items())}\n")
    yield Text(str(embedding), style="bold")
    yield Text(f"  {embedding.name}: {embedding.pattern}")
    if embedding.relaxed:
        yield Text(f"  {embedding.relaxed}: {embedding.operator.main}, where {embedding.relaxed.where}")
    yield Text("")
    yield lane_table(embedding)
    yield tensor_table(solution)
    yield cost_table(target, solution, objective)
    yield Text("loop nest", style="bold")
    yield Text(f"{indent(str(single(embedding)), '  ')}\n")
    reason = _uncompiled(embedding, target)
    yield Text("not compiled" if reason else "compiled by", style="bold")
    yield Text(f"  {reason or f'{command} --embedding {shlex.quote(str(embedding))} --out DIR'}")
    if not reason and Machine.of(target) is Machine.CPU:
        taken = on_registers(embedding, target).name
        if taken != embedding.name:
            yield Text(f"  which loads words into registers and has the same lanes of {taken}")


def _uncompiled(embedding: Embedding, target: Isa) -> str:
    """Why there is no program of an embedding, where that is so."""
    if Machine.of(target) is Machine.CPU:
        return (
            f"kernels for {target.name} rewrite no operator" if embedding.relaxed else _off_registers(embedding, target)
        )
    try:
        plan_epilogue(embedding.operator, target)
    except NoEmbedding as error:
        return str(error)
    return ""


def _off_registers(embedding: Embedding, target: Isa) -> str:
    """Why no entry on registers has the same lanes, where that is so."""
    try:
        on_registers(embedding, target)
    except UserError as error:
        return str(error)
    return ""


def lane_table(embedding: Embedding) -> Table:
    """One row for each digit of each lane dimension, innermost first; a dimension without one has one lane in use."""
    counts = ("lanes", "points", "runs", "idle at the end")
    table = new_table("lanes", "dimension", "lanes", "filled with", "points", "runs", "idle at the end", right=counts)
    for lane, lanes in embedding.lanes.items():
        digits = embedding.digits_of(lane)
        if not digits:
            table.add_row(
                lane, str(lanes), "one point" if lanes == 1 else f"one point, {lanes - 1} lanes idle", "1", "1", "0"
            )
        for place, digit in enumerate(digits):
            table.add_row("" if place else lane, "" if place else str(lanes), *_digit_cells(embedding, digit))
    return table


def tensor_table(solution: Solution) -> Table:
    """The layout of each tensor as an index expression: what the packed array holds at the words' axes and lanes."""
    title = "layouts: packed[axes|lanes] = tensor[index]"
    table = new_table(title, "tensor", "operand", "layout", "bytes", right=["bytes"])
    embedding = solution.embedding
    output = embedding.operator.main.output.tensor
    for name, packed in layout.derive(embedding).items():
        stored = embedding.operator.output.name if name == output else name
        size = solution.costs.packed_bytes.get(stored, 0)
        table.add_row(stored, embedding.binding.operands[name], Text(str(packed)), f"{size:,}")
    return table


def cost_table(target: Isa, solution: Solution, objective: str) -> Table:
    """Invocations, utilisation beside the fixed packing's, modelled cycles and bytes, and what the solver proved."""
    price = solution.costs
    table = new_table("costs")
    table.add_row("invocations", f"{price.invocations:,}")
    table.add_row("utilisation", f"{price.utilisation:.4f}{_fixed_note(target, solution)}")
    untimed = "" if target.timings else " (one an invocation: the file has no timing)"
    table.add_row("cycles, modelled", f"{price.cycles:,}{untimed}")
    table.add_row("bytes, packed", f"{price.bytes:,}{_copies_note(solution.embedding)}")
    if price.added_bytes:
        table.add_row("adding the parts", f"{price.added_bytes:,} bytes, {price.adding:,} cycles")
    for left in price.packings.values():
        table.add_row(f"packing {left.tensor}, {left.layout}", str(left))
    table.add_row("status", _status(solution, objective))
    return table


def _copies_note(embedding: Embedding) -> str:
    """Bytes of elements that packed inputs hold once more; nothing where lanes slide and share them in a word."""
    types = {name: embedding.pattern.tensor(embedding.binding.operands[name]).dtype for name in embedding.inputs}
    size = sum(count * bits(types[name]) // 8 for name, count in all_copies(embedding).items())
    return f" ({size:,} of them copies)" if size else ""


def _status(solution: Solution, objective: str) -> str:
    if solution.status == "GIVEN":
        return "given, and checked"
    so_far = f": {solution.progress}" if solution.progress else ""
    return f"{solution.status} for the objective {objective}, in {solution.seconds * 1000:.1f} ms{so_far}"


def alternatives_table(operator: Operator, found: Alternatives, shown: Sequence[Solution]) -> Table:
    """One row for each embedding that is shown, and how many there are."""
    proven = "complete" if found.complete else f"not complete: {found.progress}"
    title = f"{operator.title}: {len(found)} embeddings ({proven}), {len(shown)} shown"
    numbers = ("#", "utilisation", "invocations", "cycles", "bytes", "strides")
    pinned = ["left to pack"] if any(solution.costs.packings for solution in shown) else []
    table = new_table(title, "#", "embedding", *numbers[1:], *pinned, right=numbers)
    for place, solution in enumerate(shown, 1):
        price = solution.costs
        cells = (f"{price.utilisation:.4f}", f"{price.invocations:,}", f"{price.cycles:,}", f"{price.bytes:,}")
        left = [left_to_pack(price)] if pinned else []
        table.add_row(str(place), Text(str(solution.embedding)), *cells, str(lane_strides(solution.embedding)), *left)
    return table


def left_to_pack(price: Costs) -> str:
    """The pinned tensors that are copied, and what that takes."""
    copied = [packing for packing in price.packings.values() if not packing.in_place]
    if not copied:
        return "nothing"
    names = ", ".join(packing.tensor for packing in copied)
    cycles = price.total - price.cycles
    return f"{names}: {price.moved - price.bytes:,} bytes" + (f", {cycles:,} cycles" if cycles else "")


def solved(problem: str, suite: str, target: Isa, objective: str, solution: Solution) -> Record:
    """The record of a solution before anything is run."""
    return Record(
        problem=problem,
        suite=suite,
        op=solution.embedding.operator.title,
        isa=target.name,
        parameters=dict(target.parameters),
        objective=objective,
        embedding=str(solution.embedding),
        relaxation=str(solution.embedding.relaxed or ""),
        status=solution.status,
        solve_s=solution.seconds,
        utilisation=solution.costs.utilisation,
        utilisation_fixed=fixed_utilisation(target, solution),
        invocations=solution.costs.invocations,
        modelled_cycles=solution.costs.cycles,
        modelled_bytes=solution.costs.bytes,
        compute_bound=solution.costs.compute,
        bus_bound=solution.costs.bus,
        packings={left.tensor: str(left) for left in solution.costs.packings.values()},
    )


def fixed_utilisation(target: Isa, solution: Solution) -> float | None:
    """Utilisation of the fixed n, c, k packing of the same instruction."""
    embedding = solution.embedding
    return costs.fixed_utilisation(embedding.asked, target.instruction(embedding.name))


def _fixed_note(target: Isa, solution: Solution) -> str:
    fixed = fixed_utilisation(target, solution)
    return "" if fixed is None else f" ({fixed:.4f} with the fixed n, c, k packing)"


def _digit_cells(embedding: Embedding, digit: Digit) -> list[str]:
    size, steps = embedding.size(digit), embedding.steps(digit)
    what = f"{digit.radix} of {' x '.join(f'{dim}={embedding.extents[dim]}' for dim in reversed(digit.dims))}"
    return [what, f"{size:,}", f"{steps:,}", str(steps * digit.radix - size)]
