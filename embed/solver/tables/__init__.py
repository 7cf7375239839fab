"""All total embeddings of a contraction as displacement tables of its lane groups: phi(u) = x0 + sum delta_d(u_d).

The operands s and t that lack dims d and e stand still under the mixed difference of phi over d and e, so it lies in
the kernels of both access matrices; where these meet in 0 only, phi separates and the tables lose nothing.
Dims that lack in the same operand move together in one table, and every position of the dims that all operands use
(a batch) has tables of its own.
"""

from embed.solver.tables.enumeration import embeddings, solutions
from embed.solver.tables.lanes import NotSeparableError, Problem, lane_groups
from embed.solver.tables.variables import TableEmbedding, Tables

__all__ = ["NotSeparableError", "Problem", "TableEmbedding", "Tables", "embeddings", "lane_groups", "solutions"]
