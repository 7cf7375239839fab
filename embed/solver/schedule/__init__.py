"""The best schedule of an embedding, from CP-SAT: variables, what fits where, and the price, a module each."""

from embed.solver.schedule.model import Planned, plan

__all__ = ["Planned", "plan"]
