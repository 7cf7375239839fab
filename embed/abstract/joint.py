"""Embedding and program together: of all embeddings, the one whose program takes the fewest cycles."""

from dataflow.operator import Operator
from embed import joint
from embed.abstract.kernel import AbstractKernel, compile_abstract
from embed.costs import Costs
from embed.pinned import Held
from embed.solver.search import Solution
from embed.solver.settings import Settings
from isa.model import Isa


def choose(
    operator: Operator, target: Isa, settings: Settings, held: Held | None = None
) -> tuple[Solution, AbstractKernel]:
    """The best embedding under the objective with its program; raises NoEmbedding where there is none that fits."""
    bus = target.timing.constants.get("bus_bytes", 0) if target.timings else 0

    def floor(price: Costs) -> int:
        """Every packed byte takes its turn on the bus, those of the results included."""
        return max(price.total, -(-price.moved // bus)) if bus else price.total

    return joint.choose(
        operator, target, settings, lambda embedding, _: compile_abstract(embedding, target, held), floor
    )
