"""What the page shows, as plain values: alternatives with their costs, digits, loops, accesses and layouts."""

from collections.abc import Iterable
from itertools import accumulate
from operator import mul

from dataflow.affine import Affine
from embed import layout
from embed.copies import all_copies
from embed.embedding import Embedding
from embed.layout import Layout
from embed.nest.single import single
from embed.pareto import lane_strides
from embed.relax.rewritten import Rewritten
from embed.solver.listing import Alternatives
from embed.solver.search import Solution

Value = dict[str, object]


def page_data(found: Alternatives, shown: Iterable[Solution], commands: Iterable[str], note: str = "") -> Value:
    """Everything the page needs; `commands` compile just the embeddings shown, and `note` says what is not listed."""
    solutions = list(shown)
    best = {str(embedding) for embedding, _ in found.pareto().ranked}
    operator = solutions[0].embedding.asked
    proven = ", ".join(filter(None, ("complete" if found.complete else "more may exist", note)))
    return {
        "title": operator.title,
        "statements": [str(statement) for statement in operator.statements],
        "heading": f"{len(solutions)} of {len(found)} embeddings, {proven}",
        "square": "a multiply-accumulate",
        "action": "Compile this one",
        "alternatives": [
            {**alternative(solution), "pareto": str(solution.embedding) in best, "command": command}
            for solution, command in zip(solutions, commands, strict=True)
        ],
    }


def alternative(solution: Solution) -> Value:
    """One embedding: its line, its price, the map phi and the place of every operand."""
    embedding, price = solution.embedding, solution.costs
    packs = layout.derive(embedding)
    again = {name: f" ({count:,} of them copies)" for name, count in all_copies(embedding).items() if count}
    return {
        "text": str(embedding),
        "pattern": f"{embedding.name}: {embedding.pattern}",
        "utilisation": price.utilisation,
        "invocations": price.invocations,
        "cycles": price.total,
        "bytes": price.moved,
        "strides": lane_strides(embedding),
        "lanes": embedding.lanes,
        "extents": embedding.extents,
        **_rewriting(embedding.relaxed),
        "digits": digits(embedding),
        "loops": [{"name": loop.name, "extent": loop.extent} for loop in embedding.loops],
        "outer": embedding.outer_dims,
        "verb": "adds to",
        "nodes": [{"copy": 0, "operands": [_operand(embedding, packed) for packed in packs.items()]}],
        "layouts": [f"{packed}{again.get(name, '')}" for name, packed in packs.items()],
        "packings": [f"{left.tensor} lies as {left.layout}: {left}" for left in price.packings.values()],
        "nest": str(single(embedding)),
    }


def digits(embedding: Embedding) -> list[Value]:
    """What fills the lanes."""
    return [{"lane": d.lane, "dims": d.dims, "radix": d.radix, "loop": d.loop} for d in embedding.digits]


def _operand(embedding: Embedding, named: tuple[str, Layout]) -> Value:
    name, packed = named
    strides = accumulate([1, *reversed(packed.word_shape[1:])], mul)
    return {
        "access": name,
        "operand": embedding.binding.operands[name],
        "tensor": packed.tensor.name,
        "shape": packed.tensor.shape,
        "index": [affine(index) for index in packed.index],
        "inner": {"terms": list(zip(reversed(packed.word_lanes), strides, strict=False)), "constant": 0},
        "axes": [
            {"name": axis.name, "extent": axis.extent, "before": axis.before, "loops": axis.loops}
            for axis in packed.axes
        ],
    }


def _rewriting(relaxed: Rewritten | None) -> Value:
    """What tells the user's points from added ones: where dims that are gone were, and what is zero."""
    extents = relaxed.user.main.extents if relaxed else {}
    places = [{"dim": dim, "extent": extents[dim], **affine(at)} for dim, at in relaxed.places] if relaxed else []
    return {"places": places, "zeros": [affine(zero) for zero in relaxed.zeros] if relaxed else []}


def affine(index: Affine) -> Value:
    """A sum of multiples of dims."""
    return {"terms": index.terms, "constant": index.constant}
