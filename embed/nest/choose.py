"""Choosing a schedule: the solver's best under the price model, and how its last tile is cut."""

from embed.nest.price import fits, price, schedule
from embed.nest.schedule import Schedule
from embed.nest.task import Task
from embed.solver.schedule import plan


def choose(task: Task, below: int | None = None) -> Schedule:
    """The cheapest schedule that fits; raises NoEmbedding where not even single iterations do.

    With `below` only those of fewer cycles count, which is quickly answered where there are none.
    """
    planned = plan(task, below)
    if not fits(task, planned.choice) or price(task, planned.choice) != planned.cycles:
        raise AssertionError(f"the solver's schedule of {task.embedding} is not what its model says: {planned}")
    return schedule(task, planned.choice, planned.bound)
