"""Embedding and program together: the best embedding or the best that rewrites nothing, by their programs."""

from dataclasses import replace

from dataflow.operator import Operator
from embed.abstract.kernel import AbstractKernel, compile_abstract
from embed.errors import NoEmbedding
from embed.pinned import Held
from embed.solver import search
from embed.solver.search import Solution
from embed.solver.settings import Settings
from isa.model import Isa


def choose(
    operator: Operator, target: Isa, settings: Settings, held: Held | None = None
) -> tuple[Solution, AbstractKernel]:
    """The embedding and its program; raises NoEmbedding where there is none, or no tile of it fits.

    A rewriting has fewer cycles in the roofline; it is kept where its program has too. Otherwise what is taken is best
    of the plain embeddings only, and so FEASIBLE.
    """
    best = search.best(operator, target, settings)
    if not best.embedding.relaxed:
        return best, compile_abstract(best.embedding, target, held)
    plain = replace(search.best(operator, target, replace(settings, relax=())), status="FEASIBLE")
    found = [(one, kernel) for one in (best, plain) if (kernel := _compiled(one, target, held))]
    if not found:
        return best, compile_abstract(best.embedding, target, held)
    cycles = [kernel.report.cycles if kernel.report.timed else one.costs.cycles for one, kernel in found]
    return found[cycles.index(min(cycles))]


def _compiled(solution: Solution, target: Isa, held: Held | None) -> AbstractKernel | None:
    try:
        return compile_abstract(solution.embedding, target, held)
    except NoEmbedding:
        return None
