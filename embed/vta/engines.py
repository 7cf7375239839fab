"""Which engine executes an instruction, and which dependency queues its four flags move tokens through."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from dataflow.errors import UserError
from isa.machine import MachineInstruction


class Engine(IntEnum):
    """The three engines, in the order in which tvm-vta fsim visits them."""

    COMPUTE = 0
    LOAD = 1
    STORE = 2

    @property
    def label(self) -> str:
        return self.name.lower()


class Queue(IntEnum):
    """The four token queues, named producer to consumer."""

    LOAD_TO_COMPUTE = 0
    COMPUTE_TO_LOAD = 1
    COMPUTE_TO_STORE = 2
    STORE_TO_COMPUTE = 3

    @property
    def label(self) -> str:
        return self.name.lower().replace("_to_", "->")

    @property
    def producer(self) -> Engine:
        return _ENDS[self][0]

    @property
    def consumer(self) -> Engine:
        return _ENDS[self][1]


_ENDS = {
    Queue.LOAD_TO_COMPUTE: (Engine.LOAD, Engine.COMPUTE),
    Queue.COMPUTE_TO_LOAD: (Engine.COMPUTE, Engine.LOAD),
    Queue.COMPUTE_TO_STORE: (Engine.COMPUTE, Engine.STORE),
    Queue.STORE_TO_COMPUTE: (Engine.STORE, Engine.COMPUTE),
}

ALU_OPERATIONS = ("min", "max", "add", "shr", "mul")
LOAD_MEMORIES = {
    "load_uop": "uop",
    "load_wgt": "wgt",
    "load_inp": "inp",
    "load_acc": "acc",
    "load_acc8": "acc",
}

_ALU_NAMES = [f"alu_{operation}_{form}" for operation in ALU_OPERATIONS for form in ("imm", "reg")]

ENGINE_OF: dict[str, Engine] = {
    "load_inp": Engine.LOAD,
    "load_wgt": Engine.LOAD,
    "store": Engine.STORE,
    **dict.fromkeys(
        ["load_uop", "load_acc", "load_acc8", "gemm", "gemm_reset", *_ALU_NAMES, "finish"],
        Engine.COMPUTE,
    ),
}

FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")
_FLAG_QUEUE: dict[Engine, dict[str, Queue]] = {
    Engine.LOAD: {"pop_next": Queue.COMPUTE_TO_LOAD, "push_next": Queue.LOAD_TO_COMPUTE},
    Engine.COMPUTE: {
        "pop_prev": Queue.LOAD_TO_COMPUTE,
        "pop_next": Queue.STORE_TO_COMPUTE,
        "push_prev": Queue.COMPUTE_TO_LOAD,
        "push_next": Queue.COMPUTE_TO_STORE,
    },
    Engine.STORE: {"pop_prev": Queue.COMPUTE_TO_STORE, "push_prev": Queue.STORE_TO_COMPUTE},
}


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of a program with its place and its tokens: pops wait before it, pushes follow its end."""

    index: int
    instruction: MachineInstruction
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


def steps(instructions: Iterable[MachineInstruction], first: int = 0) -> list[Step]:
    """Place every instruction, numbered from `first`; flags its engine lacks end up in `illegal`.

    Unknown names raise UserError.
    """
    return [_step(index, instruction) for index, instruction in enumerate(instructions, first)]


def by_engine(program: Iterable[Step]) -> dict[Engine, list[Step]]:
    """The three instruction queues, each in program order."""
    queues: dict[Engine, list[Step]] = {engine: [] for engine in Engine}
    for step in program:
        queues[step.engine].append(step)
    return queues


def _step(index: int, instruction: MachineInstruction) -> Step:
    engine = ENGINE_OF.get(instruction.name)
    if engine is None:
        raise UserError(f"instruction {index}: VTA has no '{instruction.name}'; it has: {', '.join(ENGINE_OF)}")
    fields = instruction.fields
    raised = tuple(flag for flag in FLAGS if fields.get(flag, 0))
    return Step(index, instruction, engine, *_tokens(engine, raised))


_TokenMoves = tuple[tuple[Queue, ...], tuple[Queue, ...], tuple[str, ...]]
_TOKENS: dict[tuple[Engine, tuple[str, ...]], _TokenMoves] = {}


def _tokens(engine: Engine, raised: tuple[str, ...]) -> _TokenMoves:
    key = (engine, raised)
    if key not in _TOKENS:
        queues = _FLAG_QUEUE[engine]
        pops = tuple(queues[flag] for flag in raised if flag.startswith("pop") and flag in queues)
        pushes = tuple(queues[flag] for flag in raised if flag.startswith("push") and flag in queues)
        _TOKENS[key] = (pops, pushes, tuple(flag for flag in raised if flag not in queues))
    return _TOKENS[key]
