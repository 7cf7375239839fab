"""Chains on a CPU: the layouts of the tensors between operators are the forms; its model prices all combinations."""

from collections.abc import Iterator, Mapping
from itertools import product

from dataflow.computation import Tensor
from embed.chain.options import Chain, Form, Offers, Option
from embed.cpu.choosing.copying import copy_cycles
from embed.cpu.choosing.place import register_instructions
from embed.cpu.choosing.rank import Ranking
from embed.cpu.compile import candidates
from embed.errors import NoEmbedding
from embed.physical import LETTERS, Physical
from embed.solver.deadline import Deadline
from isa.model import Isa


def blocked_offers(chain: Chain, target: Isa, layouts: Mapping[str, str], deadline: Deadline) -> Offers:
    """The best kernel of each operator for all layouts of what it reads and writes; weights are packed before.

    `layouts` are those of what enters and leaves. A copy costs what the model says.
    """
    lanes = max(placeable.pattern.tensors[0].size for placeable in register_instructions(target))
    ends = {
        flow.name: _form(flow.tensor, layouts.get(flow.name))
        for flow in chain.flows
        if flow.source is None or flow.leaves
    }
    offers: list[list[Option]] = []
    left: list[str] = []
    least = 0
    for place in range(len(chain.operators)):
        found = list(_options(chain, place, target, lanes, deadline))
        offers.append([option for option, _ in found])
        left += [chain.name(place)] if any(ranking.note for _, ranking in found) else []
        least += int(min(ranking.bound for _, ranking in found))
    return Offers(chain, offers, ends, _repack, tuple(left), least)


def _options(chain: Chain, place: int, target: Isa, lanes: int, deadline: Deadline) -> Iterator[tuple[Option, Ranking]]:
    """The options of an operator, each with the kernels that it is the best of."""
    operator, flowing = chain.operators[place], chain.read_by(place)
    reads = [tensor for tensor in operator.inputs if tensor.name in flowing]
    weights = [tensor.name for tensor in operator.inputs if tensor.name not in flowing]
    for *given, made in product(*(_names(tensor, lanes) for tensor in (*reads, operator.output))):
        orders = {tensor.name: name for tensor, name in zip(reads, given, strict=True)}
        kept = {**orders, operator.output.name: made}
        try:
            ranking = candidates(operator, target, layouts=kept, constants=weights, deadline=deadline.remaining)
        except NoEmbedding as error:
            raise NoEmbedding(f"operator {chain.name(place)}: {error}", error.progress) from None
        found = ranking.candidates[0]
        forms = {tensor.name: _form(tensor, orders[tensor.name]) for tensor in reads}
        option = Option(forms, _form(operator.output, made), round(found.price.total), found.embedding)
        yield option, ranking


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
