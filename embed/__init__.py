"""Placing an instruction in an operator: embeddings, layouts, schedules, code, and running it.

    op = dataflow.conv2d(c=64, h=56, w=56, k=64, r=3, s=3, pad=1)
    kernel = embed.compile(op, isa.load("vta"))
    out = kernel(inp, wgt)
"""

from dataflow.operator import Operator
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.solver import search
from embed.solver.model import Settings
from embed.solver.search import OBJECTIVES, Alternatives, Solution
from embed.vta.executable import VtaKernel, compile_vta
from isa.model import Isa

__all__ = ["OBJECTIVES", "Alternatives", "Embedding", "NoEmbedding", "Solution", "alternatives", "best", "compile"]


def best(
    operator: Operator,
    target: Isa,
    *,
    objective: str = "cycles",
    time_limit: float = 10.0,
    workers: int = 1,
    seed: int = 0,
) -> Solution:
    """The best embedding of any instruction of `target` in `operator`, with its price and proof status.

    `objective` is one of OBJECTIVES; `time_limit` is in seconds. Raises NoEmbedding with the reason.
    """
    return search.best(operator, target, Settings(objective, time_limit, workers, seed))


def alternatives(
    operator: Operator,
    target: Isa,
    *,
    objective: str = "cycles",
    time_limit: float = 10.0,
    seed: int = 0,
) -> Alternatives:
    """Every distinct regular embedding of any instruction of `target`, best first; iterate for Solutions.

    `complete` says whether `time_limit` seconds were enough to find them all. Raises NoEmbedding with the reason.
    """
    return search.alternatives(operator, target, Settings(objective, time_limit, 1, seed))


def compile(operator: Operator, target: Isa, solution: Solution | Embedding | None = None) -> VtaKernel:
    """Code for `operator` under the given embedding, or the best one. Call it with numpy arrays."""
    found = solution or best(operator, target)
    return compile_vta(found.embedding if isinstance(found, Solution) else found, target)
