"""Chains on a CPU: the layouts of the tensors between operators are the forms, and its model prices every pair."""

import time
from collections.abc import Iterator
from itertools import product

from dataflow.computation import Tensor
from embed.chain.options import Chain, Form, Offers, Option
from embed.cpu.compile import candidates
from embed.cpu.model import copy_cycles
from embed.cpu.place import register_instructions
from embed.errors import NoEmbedding
from embed.physical import LETTERS, Physical
from isa.model import Isa


def blocked_offers(chain: Chain, target: Isa, layouts: tuple[str | None, str | None] | None, deadline: float) -> Offers:
    """The best kernel of each operator for every pair of layouts; weights are packed before, and cost nothing.

    `layouts` are those of the chain's first input and last output. A repack costs what the model says of a copy.
    """
    lanes = max(placeable.pattern.tensors[0].size for placeable in register_instructions(target))
    first, last = layouts or (None, None)
    ends = _form(chain.enters, first), _form(chain.operators[-1].output, last)
    offers = [list(_options(chain, place, target, lanes, deadline)) for place in range(len(chain.operators))]
    for operator, options in zip(chain.operators, offers, strict=True):
        if not options:
            raise NoEmbedding(f"{target.name} has no kernel for {operator.title} in any layout")
    return Offers(offers, ends, _repack, True)


def _options(chain: Chain, place: int, target: Isa, lanes: int, deadline: float) -> Iterator[Option]:
    operator, flow = chain.operators[place], chain.flows[place]
    reads = next(tensor for tensor in operator.inputs if tensor.name == flow)
    weights = [tensor.name for tensor in operator.inputs if tensor.name != flow]
    given, made = _names(reads, lanes), _names(operator.output, lanes)
    for first, last in product(given, made):
        orders = {flow: first, operator.output.name: last}
        left = max(0.1, deadline - time.perf_counter())
        found = candidates(operator, target, layouts=orders, constants=weights, time_limit=left).candidates[0]
        yield Option(_form(reads, first), _form(operator.output, last), round(found.price.total), found.embedding)


def _names(tensor: Tensor, lanes: int) -> list[str]:
    """Row-major, channels last, and channels in blocks of as many as an instruction has lanes."""
    letters = LETTERS[len(tensor.shape)][0]
    if len(letters) < 3:
        return [letters, letters[::-1]] if len(letters) == 2 else [letters]
    return [letters, f"{letters[0]}{letters[2:]}{letters[1]}", f"{letters}{lanes}{letters[1].lower()}"]


def _form(tensor: Tensor, name: str | None) -> Form:
    physical = Physical.of(tensor, name)
    return Form(physical.name, physical.name, physical.size * tensor.bytes // max(1, tensor.size))


def _repack(before: Form, after: Form) -> int:
    return 0 if before.key == after.key else round(copy_cycles(before.bytes))
