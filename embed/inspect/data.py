"""What the page shows, as plain values: alternatives with their costs, digits, loops, accesses and layouts."""

from collections.abc import Iterable

from dataflow.affine import Affine
from embed import layout
from embed.embedding import Embedding
from embed.layout import Layout
from embed.nest.single import single
from embed.pareto import lane_strides
from embed.relax.rewritten import Rewritten
from embed.solver.listing import Alternatives
from embed.solver.search import Solution

Value = dict[str, object]


def page_data(found: Alternatives, shown: Iterable[Solution], commands: Iterable[str]) -> Value:
    """Everything the page needs; `commands` compile just the embeddings shown."""
    solutions = list(shown)
    best = {str(embedding) for embedding, _ in found.pareto().ranked}
    operator = solutions[0].embedding.asked
    return {
        "title": operator.title,
        "statements": [str(statement) for statement in operator.statements],
        "count": len(found),
        "complete": found.complete,
        "alternatives": [
            {**alternative(solution), "pareto": str(solution.embedding) in best, "command": command}
            for solution, command in zip(solutions, commands, strict=True)
        ],
    }


def alternative(solution: Solution) -> Value:
    """One embedding: its line, its price, the map phi and the place of every operand."""
    embedding, price = solution.embedding, solution.costs
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
        "digits": [{"lane": d.lane, "dims": d.dims, "radix": d.radix, "loop": d.loop} for d in embedding.digits],
        "loops": [{"name": loop.name, "extent": loop.extent} for loop in embedding.loops],
        "outer": embedding.outer_dims,
        "operands": [_operand(embedding, packed) for packed in layout.derive(embedding).items()],
        "packings": [f"{left.tensor} lies as {left.layout}: {left}" for left in price.packings.values()],
        "nest": str(single(embedding)),
    }


def _operand(embedding: Embedding, named: tuple[str, Layout]) -> Value:
    name, packed = named
    return {
        "access": name,
        "operand": embedding.binding.operands[name],
        "tensor": packed.tensor.name,
        "shape": packed.tensor.shape,
        "index": [_affine(index) for index in packed.index],
        "lanes": packed.word_lanes,
        "axes": [
            {"name": axis.name, "extent": axis.extent, "before": axis.before, "loops": axis.loops}
            for axis in packed.axes
        ],
        "layout": str(packed),
    }


def _rewriting(relaxed: Rewritten | None) -> Value:
    """What tells the user's points from added ones: where dims that are gone were, and what is zero."""
    extents = relaxed.user.main.extents if relaxed else {}
    places = [{"dim": dim, "extent": extents[dim], **_affine(at)} for dim, at in relaxed.places] if relaxed else []
    return {"places": places, "zeros": [_affine(zero) for zero in relaxed.zeros] if relaxed else []}


def _affine(index: Affine) -> Value:
    return {"terms": index.terms, "constant": index.constant}
