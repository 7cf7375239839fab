"""One module for each constraint, each with `build(model, problem, variables)`.

Sharing and accumulation decide which dims a digit may hold at all (`embed.lanes`), so no variable breaks them; but
lanes that slide over an operand share its elements with each other, and that is `sliding`.
"""

from embed.solver.constraints import capacity, once, relaxed, runs, sliding

CONSTRAINTS = (once, capacity, runs, sliding, relaxed)
