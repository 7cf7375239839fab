"""One module for each constraint, each with `build(model, problem, variables)`.

Sharing and accumulation decide which dims a digit may hold at all (`embed.lanes`), so no variable breaks them.
"""

from embed.solver.constraints import capacity, once, runs

CONSTRAINTS = (once, capacity, runs)
