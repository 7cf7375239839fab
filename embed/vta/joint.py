"""Embedding and schedule together: of all embeddings, the one whose best schedule takes the fewest cycles, refined."""

from dataflow.operator import Operator
from embed import joint
from embed.nest.schedule import Schedule
from embed.solver.search import Solution
from embed.solver.settings import Settings
from embed.vta.executable import scheduled, task_of
from embed.vta.refine import refined
from embed.vta.roles import roles_of
from isa.model import Isa


def choose(operator: Operator, target: Isa, settings: Settings) -> tuple[Solution, Schedule]:
    """The best embedding under the objective with its schedule; raises NoEmbedding where none has one that fits.

    Raises UserError where the file lacks what programs are made of.
    """
    roles_of(target)  # before anything is solved
    solution, schedule = joint.choose(
        operator,
        target,
        settings,
        lambda embedding, below: scheduled(embedding, target, below=below),
        alike=lambda embedding: task_of(embedding, target).form,
    )
    return solution, refined(solution.embedding, target, schedule, solution.costs.cycles)
