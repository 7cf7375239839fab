"""Rule 2, sharing: an operand element holds one value, whichever node reads it.

Padding is a constant and no element: a node that would read it does not fit.
"""

from ortools.sat.python import cp_model

from dataflow.expression import Const, Read
from embed.solver.nodes.problem import Node
from embed.solver.nodes.variables import Variables


def add(variables: Variables) -> None:
    """What a read holds is what the node's addend reads at its point."""
    for node, found in variables.chosen.items():
        for match, literal in found.items():
            for read, held in match.pairs:
                equal(variables, node, literal, read, held)


def equal(variables: Variables, node: Node, literal: cp_model.IntVar, own: Read, held: Read | Const) -> None:
    """Under the literal, the operand element of `own` is `held` at the node's point, inside its tensor."""
    number, *axes = variables.used(node, own)
    model, problem = variables.model, variables.problem
    model.add(number == problem.number(held)).only_enforce_if(literal)
    index = held.index if isinstance(held, Read) else ()
    shape = problem.tensors[problem.number(held)].shape
    for place, axis in enumerate(axes):
        value = variables.value(node, index[place]) if place < len(index) else 0
        model.add(axis == value).only_enforce_if(literal)
        if place < len(index):
            model.add(axis < shape[place]).only_enforce_if(literal)
