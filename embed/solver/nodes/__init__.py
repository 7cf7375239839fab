"""Every embedding of any small pattern: one tuple of variables for each node of the instruction.

A node is one addend at one iteration point. Its variables are the operator's addend and point that it does, and what
each of its reads then holds. One module for each constraint.
"""

from embed.solver.nodes.enumeration import embeddings
from embed.solver.nodes.variables import NodeEmbedding

__all__ = ["NodeEmbedding", "embeddings"]
