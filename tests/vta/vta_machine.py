"""Shared by the VTA tests: machines, short ways to write programs, and a scalar VTA in plain Python loops."""

from collections.abc import Iterator, Sequence

import numpy as np

import isa
from embed.vta.engines import Engine
from embed.vta.machine import Machine
from embed.vta.program import Program, Segment
from embed.vta.roles import Scratchpad
from embed.vta.simulator import TimingModel
from isa.machine import MachineInstruction

MACHINE = Machine.of(isa.load("vta"))
CORES = {name: TimingModel.from_table(each.constants) for name, each in isa.load("vta").timings.items()}
DE10, PYNQ = CORES["de10"], CORES["pynq"]
BASES = {"uop": 0x1000, "inp": 0x10000, "wgt": 0x80000, "acc": 0x100000, "out": 0x200000}


def engine_of(name: str) -> Engine:
    return MACHINE.roles.entries[name].engine


def instruction(name: str, **fields: int) -> MachineInstruction:
    return MachineInstruction(name, fields)


def uop_words(uops: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Words of (dst, src, wgt) for the default machine: 11, 11 and 10 bits."""
    return np.array([dst | src << 11 | wgt << 22 for dst, src, wgt in uops], np.uint32)


def segment(memory: str, data: np.ndarray | int, machine: Machine = MACHINE) -> Segment:
    """A segment at the usual place of its memory: of the given array, or an output of so many elements."""
    if isinstance(data, int):
        size = data * machine.element_bytes[memory]
        return Segment(memory, Scratchpad(memory), BASES[memory], size)
    flat = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
    return Segment(memory, Scratchpad(memory), BASES[memory], flat.size, flat)


def base(memory: str, offset: int = 0, machine: Machine = MACHINE) -> int:
    """dram_base of an element of the usual segment."""
    return BASES[memory] // machine.element_bytes[memory] + offset


def program(instructions: Sequence[MachineInstruction], segments: Sequence[Segment]) -> Program:
    return Program("vta", {}, list(instructions), tuple(segments))


class ScalarVta:
    """VTA one element at a time, written from the loops of its description; Python integers, wrapped by hand."""

    def __init__(self, machine: Machine, segments: Sequence[Segment], hardware: bool = False) -> None:
        self.machine = machine
        self.hardware = hardware
        self.dram: dict[int, int] = {}
        for part in segments:
            data = [0] * part.size if part.data is None else part.data.tolist()
            self.dram.update({part.address + offset: byte for offset, byte in enumerate(data)})
        depths = machine.depths
        rows, lanes_in, lanes_out = machine.batch, machine.block_in, machine.block_out
        self.uop = [0] * depths["uop"]
        self.inp = [[0] * (rows * lanes_in) for _ in range(depths["inp"])]
        self.wgt = [[0] * (lanes_out * lanes_in) for _ in range(depths["wgt"])]
        self.acc = [[0] * (rows * lanes_out) for _ in range(depths["acc"])]
        self.out = [[0] * (rows * lanes_out) for _ in range(depths["out"])]

    def run(self, instructions: Sequence[MachineInstruction]) -> None:
        for each in instructions:
            kind = each.name.split("_")[0]
            getattr(self, f"_{kind}")(each)

    def bytes_of(self, part: Segment) -> list[int]:
        return [self.dram[part.address + offset] for offset in range(part.size)]

    def _load(self, each: MachineInstruction) -> None:
        memory = each.name.split("_")[1]
        if each["x_size"] == 0:
            return
        width = {"uop": 4, "acc": 4}.get(memory, 1)
        target = getattr(self, "acc" if memory == "acc8" else memory)
        size = 1 if memory == "uop" else len(target[0])
        zero = 0 if memory == "uop" else [0] * size
        at = each["sram_base"]
        line = each["x_pad_0"] + each["x_size"] + each["x_pad_1"]
        for row in range(-each["y_pad_0"], each["y_size"] + each["y_pad_1"]):
            for column in range(-each["x_pad_0"], line - each["x_pad_0"]):
                inside = 0 <= row < each["y_size"] and 0 <= column < each["x_size"]
                value = zero
                if inside:
                    element = each["dram_base"] + row * each["x_stride"] + column
                    value = self._element(element * size * width, size, width, memory != "uop")
                    value = value[0] if memory == "uop" else value
                target[at] = value
                at += 1

    def _element(self, address: int, size: int, width: int, signed: bool) -> list[int]:
        raw = bytes(self.dram[address + offset] for offset in range(size * width))
        return [
            int.from_bytes(raw[lane * width : lane * width + width], "little", signed=signed) for lane in range(size)
        ]

    def _store(self, each: MachineInstruction) -> None:
        source = self.out if self.hardware else self.acc
        for row in range(each["y_size"] if each["x_size"] else 0):
            for column in range(each["x_size"]):
                values = source[each["sram_base"] + row * each["x_size"] + column]
                address = (each["dram_base"] + row * each["x_stride"] + column) * len(values)
                for lane, value in enumerate(values):
                    self.dram[address + lane] = value & 255

    def _indices(self, each: MachineInstruction) -> Iterator[list[int]]:
        machine = self.machine.depths
        bits = [(machine[memory] - 1).bit_length() for memory in ("acc", "inp", "wgt")]
        for outer in range(each["iter_out"]):
            for inner in range(each["iter_in"]):
                for word in self.uop[each["uop_bgn"] : each["uop_end"]]:
                    parts, rest = [], word
                    for name, width in zip(("dst", "src", "wgt"), bits, strict=True):
                        factors = each[f"{name}_factor_out"], each[f"{name}_factor_in"]
                        parts.append(rest % (1 << width) + outer * factors[0] + inner * factors[1])
                        rest >>= width
                    yield parts

    def _gemm(self, each: MachineInstruction) -> None:
        lanes, depth = self.machine.block_out, self.machine.block_in
        for dst, src, wgt in self._indices(each):
            if each.name == "gemm_reset":
                self.acc[dst] = [0] * len(self.acc[dst])
                continue
            sums = list(self.acc[dst])
            for row in range(self.machine.batch):
                for lane in range(lanes):
                    left = self.inp[src][row * depth : (row + 1) * depth]
                    right = self.wgt[wgt][lane * depth : (lane + 1) * depth]
                    sums[row * lanes + lane] += sum(a * b for a, b in zip(left, right, strict=True))
            self.acc[dst] = [wrap(value) for value in sums]
            self.out[dst] = [value & 255 for value in sums]

    def _alu(self, each: MachineInstruction) -> None:
        _, operation, form = each.name.split("_")
        for dst, src, _ in self._indices(each):
            left = self.acc[src] if form == "imm" and self.hardware else self.acc[dst]
            right = [each["imm"]] * len(left) if form == "imm" else self.acc[src]
            scalar = getattr(self, f"_{operation}")
            values = [wrap(scalar(a, b, each["imm"])) for a, b in zip(left, right, strict=True)]
            self.acc[dst] = values
            self.out[dst] = [value & 255 for value in values]

    def _min(self, a: int, b: int, _: int) -> int:
        return min(a, b)

    def _max(self, a: int, b: int, _: int) -> int:
        return max(a, b)

    def _add(self, a: int, b: int, _: int) -> int:
        return a + b

    def _mul(self, a: int, b: int, _: int) -> int:
        return a * b

    def _shr(self, a: int, b: int, immediate: int) -> int:
        if self.hardware:
            return a << (-b % 32) if immediate < 0 else a >> (b % 32)
        return a >> b if b >= 0 else a << -b

    def _finish(self, each: MachineInstruction) -> None:
        pass


def wrap(value: int) -> int:
    """A Python integer as 32-bit two's complement."""
    return (value + 2**31) % 2**32 - 2**31


_HANDOVER = {
    (Engine.LOAD, Engine.COMPUTE): ("push_next", "pop_prev"),
    (Engine.STORE, Engine.COMPUTE): ("push_prev", "pop_next"),
    (Engine.COMPUTE, Engine.LOAD): ("push_prev", "pop_next"),
    (Engine.COMPUTE, Engine.STORE): ("push_next", "pop_prev"),
}


def in_sequence(instructions: Sequence[MachineInstruction]) -> list[MachineInstruction]:
    """The same instructions and a FINISH, with tokens (and NOPs) that force them to run one after the other."""
    placed: list[MachineInstruction] = []
    previous: Engine | None = None
    for each in [*instructions, instruction("finish")]:
        engine = engine_of(each.name)
        if previous is not None and engine is not previous:
            if Engine.COMPUTE not in (engine, previous):
                _hand_over(placed, previous, instruction("load_uop"))
                previous = Engine.COMPUTE
            _hand_over(placed, previous, each)
        else:
            placed.append(each)
        previous = engine
    return placed


def _hand_over(placed: list[MachineInstruction], previous: Engine, following: MachineInstruction) -> None:
    push, pop = _HANDOVER[previous, engine_of(following.name)]
    placed[-1] = with_fields(placed[-1], **{push: 1})
    placed.append(with_fields(following, **{pop: 1}))


def with_fields(each: MachineInstruction, **fields: int) -> MachineInstruction:
    """The instruction with some fields changed."""
    return MachineInstruction(each.name, {**each.fields, **fields})
