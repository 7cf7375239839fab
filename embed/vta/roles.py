"""What the entries and the memories of an ISA file are to VTA, found by their patterns: no name is known here."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from dataflow.computation import Computation, Tensor
from dataflow.errors import UserError
from dataflow.expression import Apply, Cast, Expression, Read
from embed.moves import is_load, is_store, is_zero, source, update
from embed.vta.engines import Engine
from isa.memo import remembered
from isa.model import FIELD, Instruction, Isa, Operand


class Scratchpad(StrEnum):
    """VTA's memories by what they hold, with their names in reports; OUT is what a store sees of ACC, the low bits."""

    UOP = "uop"
    INP = "inp"
    WGT = "wgt"
    ACC = "acc"
    OUT = "out"


OPERATIONS = ("min", "max", "add", "shr", "mul")
"""What VTA's ALU can do."""

OPERANDS = (Scratchpad.ACC, Scratchpad.INP, Scratchpad.WGT)
"""Where the operands of a product lie, in the order of a micro-op's fields."""


class Job(IntEnum):
    """What an instruction does."""

    LOAD = 0
    STORE = 1
    GEMM = 2
    RESET = 3
    ALU = 4
    FINISH = 5


@dataclass(frozen=True, slots=True)
class Role:
    """What an entry is to VTA, and the engine that runs it.

    `pad` is the scratchpad that it fills, changes or stores; `element` the one whose elements a load or a store has in
    external memory. An ALU instruction applies `operation`, to an immediate or to another accumulator.
    """

    job: Job
    engine: Engine = Engine.COMPUTE
    pad: Scratchpad = Scratchpad.ACC
    element: Scratchpad = Scratchpad.ACC
    operation: str = ""
    immediate: bool = False

    @property
    def moves(self) -> bool:
        """Whether it is a load or a store."""
        return self.job in (Job.LOAD, Job.STORE)

    @property
    def in_hardware(self) -> bool:
        """Whether VTA's cores have it: MUL and ACC_8BIT are the functional simulator's alone (tvm-vta)."""
        return self.operation != "mul" and not self.widens

    @property
    def widens(self) -> bool:
        """Whether it loads narrow elements into wider ones."""
        return self.pad is not self.element


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of the entries and memories of an ISA file by name, and one element of each memory.

    `names` are the entries by role, the first of each that changes no type; `uop_format` is that of micro-operations.
    """

    entries: Mapping[str, Role]
    memories: Mapping[str, Scratchpad]
    elements: Mapping[Scratchpad, Tensor]
    names: Mapping[tuple[Job, Scratchpad], str]
    uop_format: str

    def name(self, job: Job, pad: Scratchpad = Scratchpad.ACC) -> str:
        """The entry that plays a role; loads and stores are told apart by their scratchpads."""
        return self.names[job, pad]


_WANTED = {
    (Job.GEMM, Scratchpad.ACC): (
        "product of i8 operands from two scratchpads, added up as i32 in a third",
        "acc[b,o] += i32(inp[b,i]) * i32(wgt[o,i])",
    ),
    (Job.STORE, Scratchpad.OUT): ("store of the product's sums as i8", "dram[b,o] = i8(acc[b,o])"),
    (Job.RESET, Scratchpad.ACC): ("reset of the product's sums", "acc[b,o] = 0"),
    (Job.LOAD, Scratchpad.INP): ("load of the product's first operand", "inp[b,i] = dram[b,i]"),
    (Job.LOAD, Scratchpad.WGT): ("load of the product's second operand", "wgt[o,i] = dram[o,i]"),
    (Job.LOAD, Scratchpad.ACC): ("load of the product's sums", "acc[b,o] = dram[b,o]"),
    (Job.LOAD, Scratchpad.UOP): ("load of micro-operations", "uop = dram"),
    (Job.FINISH, Scratchpad.ACC): ("end of the program", ""),
}
"""What every program needs, and the pattern of an entry that does it."""


@remembered
def roles_of(target: Isa) -> Roles:
    """Read the roles; raises UserError for the first that no entry plays, and for one on another engine's unit."""
    reader = _Reader(target)
    found = ((entry.name, reader.role(entry)) for entry in target.instructions.values())
    entries = {name: role for name, role in found if role is not None}
    names: dict[tuple[Job, Scratchpad], str] = {}
    for name, role in entries.items():
        if not role.widens:
            names.setdefault((role.job, role.pad), name)
    for job, pad in _WANTED:
        if (job, pad) not in names:
            raise _lacking(target, job, pad)
    roles = Roles(entries, reader.memories, reader.elements, names, reader.uop_format)
    _check_units(roles, target)
    return roles


class _Reader:
    """Knows which memory is which from the product and the store of its sums, and reads the others' roles from that."""

    def __init__(self, target: Isa) -> None:
        self._target = target
        micro = target.micro_operations
        product = next(filter(None, map(self._product, target.instructions.values())), None)
        if product is None or micro is None:
            raise _lacking(target, Job.GEMM, Scratchpad.ACC)
        self.memories = {operand.memory: pad for operand, pad in zip(product, OPERANDS, strict=True)}
        self.memories[micro.name] = Scratchpad.UOP
        self.elements = {self.memories[operand.memory]: operand.tensor for operand in product}
        self.elements |= {Scratchpad.UOP: Tensor(micro.name, f"u{micro.bits}", ()), Scratchpad.OUT: self._stored()}
        self.uop_format = micro.format or ""

    def role(self, entry: Instruction) -> Role | None:
        """What an entry is; None for one that VTA has not."""
        if entry.output is None:
            return None if entry.operands else Role(Job.FINISH)
        if is_store(entry, self._target) or is_load(entry, self._target):
            return self._transfer(entry, entry.output)
        if not self._is(entry.output, Scratchpad.ACC):
            return None
        if is_zero(entry):
            return Role(Job.RESET)
        updated = update(entry)
        if updated is not None:
            operation, immediate = updated
            own = {operand.memory for operand in entry.operands.values()} <= {entry.output.memory, FIELD}
            return Role(Job.ALU, operation=operation, immediate=immediate) if own and operation in OPERATIONS else None
        product = self._product(entry)
        return Role(Job.GEMM) if product and all(map(self._is, product, OPERANDS)) else None

    def _transfer(self, entry: Instruction, output: Operand) -> Role | None:
        """A load into a scratchpad, or a store of sums; None for other copies, and where elements change places."""
        assert entry.pattern is not None
        if entry.pattern.reads[0].index != entry.pattern.output.index:
            return None
        if self._is(source(entry), Scratchpad.ACC):
            stores = _alike(output, self.elements[Scratchpad.OUT])
            return Role(Job.STORE, Engine.STORE, Scratchpad.OUT, Scratchpad.OUT) if stores else None
        pad = self.memories.get(output.memory)
        if pad is None or not self._is(output, pad):
            return None
        engine = Engine.LOAD if pad in (Scratchpad.INP, Scratchpad.WGT) else Engine.COMPUTE
        fitting = (each for each in (pad, Scratchpad.OUT) if _alike(source(entry), self.elements[each]))
        return next((Role(Job.LOAD, engine, pad, each) for each in fitting), None)

    def _stored(self) -> Tensor:
        """What external memory has of an accumulator: the elements of the first store that makes them i8."""
        for entry in self._target.instructions.values():
            if is_store(entry, self._target) and self._is(source(entry), Scratchpad.ACC):
                output = entry.output
                if output is not None and output.tensor.dtype == "i8":
                    return output.tensor
        raise _lacking(self._target, Job.STORE, Scratchpad.OUT)

    def _product(self, entry: Instruction) -> tuple[Operand, ...] | None:
        """Sums of i32 and operands of i8, each in a scratchpad of its own, of a product; None for another pattern."""
        match entry.pattern:
            case Computation(accumulate=True, output=sums, body=Apply("mul", (Cast("i32", one), Cast("i32", other)))):
                reads = next(filter(_contracts, ((sums, one, other), (sums, other, one))), ())
                found = tuple(entry.operands[read.tensor] for read in reads if isinstance(read, Read))
                own = {operand.memory for operand in found} & self._scratchpads
                types = tuple(operand.tensor.dtype for operand in found)
                return found if len(own) == 3 and types == ("i32", "i8", "i8") else None
        return None

    @property
    def _scratchpads(self) -> set[str]:
        return {memory.name for memory in self._target.memories.values() if memory.kind == "scratchpad"}

    def _is(self, operand: Operand, pad: Scratchpad) -> bool:
        """Whether an operand is one element of a scratchpad."""
        return self.memories.get(operand.memory) is pad and _alike(operand, self.elements[pad])


def _contracts(reads: tuple[Expression, ...]) -> bool:
    """Whether they are sums[b,o], first[b,i] and second[o,i]."""
    match reads:
        case (Read(index=(b, o)), Read(index=(first, i)), Read(index=(second, last))):
            return (first, second, last) == (b, o, i)
    return False


def _alike(operand: Operand, element: Tensor) -> bool:
    return operand.tensor.dtype == element.dtype and operand.tensor.shape == element.shape


def _lacking(target: Isa, job: Job, pad: Scratchpad) -> UserError:
    what, pattern = _WANTED[job, pad]
    like = f'one has pattern = "{pattern}"' if pattern else "one has an encoding and neither pattern nor operands"
    return UserError(f"{target.path}: '{target.name}' has micro-operations but no {what}; {like}")


def _check_units(roles: Roles, target: Isa) -> None:
    """Raise UserError where the file times an entry on the unit of an engine that does not run it."""
    units = {name: cost.unit for name, cost in target.timing.costs.items()} if target.timings else {}
    anchors = (roles.name(Job.GEMM), roles.name(Job.STORE, Scratchpad.OUT), roles.name(Job.LOAD, Scratchpad.INP))
    engines = {units[name]: roles.entries[name].engine for name in anchors if units.get(name)}
    if len(engines) < len(Engine):
        return
    for name, role in roles.entries.items():
        if engines.get(units.get(name, ""), role.engine) is not role.engine:
            said = f"'{name}' is timed on unit '{units[name]}', but it is the {role.engine.label} engine that runs it"
            raise UserError(f"{target.path}: {said}")
