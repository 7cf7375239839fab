"""The list of constraint modules."""

from embed.solver.nodes.regular import accumulation, box, copies, idle, order, sharing

CONSTRAINTS = (box, copies, order, sharing, accumulation, idle)
