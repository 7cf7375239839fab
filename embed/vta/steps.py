"""The instructions of a program as steps: with their roles, and the tokens that their flags pop and push."""

from collections.abc import Iterable
from dataclasses import dataclass

from dataflow.errors import UserError
from embed.vta.engines import FLAG_QUEUES, FLAGS, Engine, Queue
from embed.vta.roles import Role, Roles
from isa.machine import MachineInstruction


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of a program with its place and its tokens: pops wait before it, pushes follow its end."""

    index: int
    instruction: MachineInstruction
    role: Role
    engine: Engine
    pops: tuple[Queue, ...]
    pushes: tuple[Queue, ...]
    illegal: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.instruction.name


def moves_data(instruction: MachineInstruction) -> bool:
    """Whether a LOAD or STORE does more than move tokens: x_size 0 is VTA's only NOP."""
    return instruction["x_size"] != 0


def steps(instructions: Iterable[MachineInstruction], roles: Roles, first: int = 0) -> list[Step]:
    """Place every instruction, numbered from `first`; flags its engine lacks end up in `illegal`.

    Unknown names raise UserError.
    """
    return [_step(index, instruction, roles) for index, instruction in enumerate(instructions, first)]


def by_engine(program: Iterable[Step]) -> dict[Engine, list[Step]]:
    """The three instruction queues, each in program order."""
    queues: dict[Engine, list[Step]] = {engine: [] for engine in Engine}
    for step in program:
        queues[step.engine].append(step)
    return queues


def _step(index: int, instruction: MachineInstruction, roles: Roles) -> Step:
    role = roles.entries.get(instruction.name)
    if role is None:
        raise UserError(f"instruction {index}: VTA has no '{instruction.name}'; it has: {', '.join(roles.entries)}")
    fields, engine = instruction.fields, role.engine
    raised = tuple(flag for flag in FLAGS if fields.get(flag, 0))
    return Step(index, instruction, role, engine, *_tokens(engine, raised))


_TokenMoves = tuple[tuple[Queue, ...], tuple[Queue, ...], tuple[str, ...]]
_TOKENS: dict[tuple[Engine, tuple[str, ...]], _TokenMoves] = {}


def _tokens(engine: Engine, raised: tuple[str, ...]) -> _TokenMoves:
    key = (engine, raised)
    if key not in _TOKENS:
        queues = FLAG_QUEUES[engine]
        pops = tuple(queues[flag] for flag in raised if flag.startswith("pop") and flag in queues)
        pushes = tuple(queues[flag] for flag in raised if flag.startswith("push") and flag in queues)
        _TOKENS[key] = (pops, pushes, tuple(flag for flag in raised if flag not in queues))
    return _TOKENS[key]
