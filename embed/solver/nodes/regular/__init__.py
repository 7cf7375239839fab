"""Placements that tile: what each addend of the instruction does, as which copy, and a form for each lane dimension.

One module for each constraint, on unit vectors: what holds for one step along every digit holds for all lanes.
"""

from embed.solver.nodes.regular.constraints import CONSTRAINTS
from embed.solver.nodes.regular.enumeration import placements

__all__ = ["CONSTRAINTS", "placements"]
