"""Follows a program through the scratchpads: bounds, initialisation, last writers and races."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from embed.vta.checker.access import Access, Accesses
from embed.vta.checker.external import Area, External, data_rows
from embed.vta.checker.fields import SHIFT_LIMIT, UOP_ENTRIES
from embed.vta.checker.order import Clock, Order
from embed.vta.checker.stamps import Stamps
from embed.vta.checker.violation import Findings
from embed.vta.engines import Engine
from embed.vta.machine import Machine
from embed.vta.program import Program
from embed.vta.roles import Job, Role, Scratchpad
from embed.vta.simulator.dma import Shape, shape_of
from embed.vta.simulator.indices import Places, loops_of
from embed.vta.steps import Step, by_engine, moves_data

_Conflict = tuple[Engine, int] | None


class Walk:
    """Scratchpads and segments as the checker sees them: not values, but who wrote and read each element."""

    def __init__(self, program: Program, machine: Machine, order: Order, findings: Findings) -> None:
        depths = machine.depths
        self._machine = machine
        self._sizes = machine.element_bytes
        self._findings = findings
        self._order = order
        self._by_engine = by_engine(sorted(order.sequence, key=lambda step: step.index))
        self._external = External(program.segments, machine)
        self._accesses = Accesses(machine)
        self._uop = np.zeros(depths[Scratchpad.UOP], np.uint32)
        self._uop_known = np.zeros(depths[Scratchpad.UOP], bool)
        self._inputs = {
            pad: Stamps(depths[pad], Engine.LOAD, Engine.COMPUTE) for pad in (Scratchpad.INP, Scratchpad.WGT)
        }
        self._acc = Stamps(depths[Scratchpad.ACC], Engine.COMPUTE, Engine.STORE)
        self._storable = np.zeros(depths[Scratchpad.ACC], bool)
        self._amounts = np.zeros(depths[Scratchpad.ACC], bool)
        self._shifts_by_register = any(_shifts_by_register(step.role) for step in order.sequence)

    def run(self) -> None:
        """Follow every instruction whose fields made sense, in an order that the tokens allow."""
        actions: dict[Job, Callable[[Step, Clock], None]] = {
            Job.LOAD: self._load,
            Job.STORE: self._store,
            Job.GEMM: self._gemm,
            Job.RESET: self._reset,
            Job.ALU: self._alu,
            Job.FINISH: self._finish,
        }
        for step in self._order.sequence:
            if step.index not in self._findings.broken:
                actions[step.role.job](step, self._order.clocks[step.index])

    def _load(self, step: Step, clock: Clock) -> None:
        if not moves_data(step.instruction):
            return
        shape = shape_of(step.instruction)
        memory = step.role.pad
        places = self._range(step, shape, memory)
        area = self._external.area(step, shape, self._findings)
        if places is None or area is None:
            return
        self._read_area(step, area, clock)
        if memory is Scratchpad.UOP:
            self._load_uops(step, area, shape, places)
        elif memory is Scratchpad.ACC:
            self._write_acc(step, places, clock, storable=False)
            if self._shifts_by_register:
                self._amounts[places] = self._loaded_amounts(area, shape)
        else:
            conflict = self._inputs[memory].write(places, clock)
            self._race(step, conflict, f"{memory} is overwritten before it is read")

    def _load_uops(self, step: Step, area: Area, shape: Shape, places: slice) -> None:
        if places.stop > UOP_ENTRIES:
            text = f"LOAD UOP writes entry {places.stop - 1}; the hardware has {UOP_ENTRIES}"
            self._findings.add(step.index, "uop-depth", text)
        if area.segment.data is None:
            text = f"micro-ops come from segment {area.segment.name}, which has no data"
            self._findings.add(step.index, "uninitialised", text)
            return
        image = np.zeros((shape.height, shape.width), np.uint32)
        words = data_rows(area, self._sizes[Scratchpad.UOP]).view(np.uint32)
        image[shape.top : shape.top + shape.rows, shape.left : shape.left + shape.columns] = words
        self._uop[places] = image.reshape(-1)
        self._uop_known[places] = True

    def _loaded_amounts(self, area: Area, shape: Shape) -> npt.NDArray[np.bool_]:
        """Which elements that a LOAD ACC fills are safe shift amounts, pads (zeros) among them."""
        safe = np.ones((shape.height, shape.width), bool)
        data = safe[shape.top : shape.top + shape.rows, shape.left : shape.left + shape.columns]
        if area.segment.data is None:
            data[...] = False
            return safe.reshape(-1)
        values = data_rows(area, self._sizes[Scratchpad.ACC]).view(np.int32)
        lanes = values.reshape(shape.rows, shape.columns, -1)
        data[...] = ((lanes >= 0) & (lanes <= SHIFT_LIMIT)).all(axis=2)
        return safe.reshape(-1)

    def _store(self, step: Step, clock: Clock) -> None:
        if not moves_data(step.instruction):
            return
        shape = shape_of(step.instruction)
        places = self._range(step, shape, step.role.pad)
        if places is not None:
            self._read_out(step, places, clock)
        area = self._external.area(step, shape, self._findings)
        if area is None:
            return
        if area.segment.data is not None:
            text = f"segment {area.segment.name} has data, it is not an output"
            self._findings.add(step.index, "store-target", text)
            return
        stamps = self._external.stamps(area.segment)
        for engine in (Engine.LOAD, Engine.COMPUTE):
            latest = int(area.of(stamps.read[engine]).max())
            conflict = (engine, latest) if latest > clock[engine] else None
            self._race(step, conflict, f"segment {area.segment.name} is overwritten before it is loaded")
        area.of(stamps.written)[...] = clock[Engine.STORE]

    def _read_out(self, step: Step, places: slice, clock: Clock) -> None:
        self._require_initialised(step, self._acc, places, Scratchpad.OUT)
        if not self._storable[places].all() and self._acc.initialised(places):
            text = "an element was written last by LOAD ACC or a resetting GEMM, which hardware does not store"
            self._findings.add(step.index, "last-writer", text)
        self._race(
            step,
            self._acc.note_read(places, clock, Engine.STORE),
            "out is stored before it is written",
        )

    def _read_area(self, step: Step, area: Area, clock: Clock) -> None:
        """Note a load from a segment that the program itself writes."""
        if area.segment.data is not None:
            return
        stamps = self._external.stamps(area.segment)
        written = area.of(stamps.written)
        name = area.segment.name
        if not written.all():
            self._findings.add(step.index, "uninitialised", f"segment {name} is loaded before it is stored")
        latest = int(written.max())
        conflict = (Engine.STORE, latest) if latest > clock[Engine.STORE] else None
        self._race(step, conflict, f"segment {name} may be loaded before it is stored")
        area.of(stamps.read[step.engine])[...] = clock[step.engine]

    def _range(self, step: Step, shape: Shape, memory: Scratchpad) -> slice | None:
        start = step.instruction["sram_base"]
        end = start + shape.height * shape.width
        depth = self._machine.depths[memory]
        if end > depth:
            self._out_of_bounds(step, f"{memory} index {end - 1} is beyond the last element {depth - 1}")
            return None
        return slice(start, end)

    def _gemm(self, step: Step, clock: Clock) -> None:
        access = self._access(step, alu=False)
        if access is None:
            return
        for (memory, stamps), places in zip(self._inputs.items(), (access.src, access.wgt), strict=True):
            self._require_initialised(step, stamps, places, memory)
            conflict = stamps.note_read(places, clock, Engine.COMPUTE)
            self._race(step, conflict, f"{memory} may be read before it is loaded")
        self._require_initialised(step, self._acc, access.dst, Scratchpad.ACC)
        self._write_acc(step, access.dst, clock, storable=True)

    def _reset(self, step: Step, clock: Clock) -> None:
        access = self._access(step, alu=False)
        if access is not None:
            self._write_acc(step, access.dst, clock, storable=False)

    def _alu(self, step: Step, clock: Clock) -> None:
        access = self._access(step, alu=True)
        if access is None:
            return
        register = not step.role.immediate
        if not register and not access.same_source:
            self._findings.add(step.index, "imm-source", "src differs from dst, and hardware reads src")
        if not access.write_distance or (register and not access.read_distance):
            text = "an element is needed within two iterations of being written"
            self._findings.add(step.index, "alu-distance", text)
        self._require_initialised(step, self._acc, access.dst, Scratchpad.ACC)
        if register:
            self._require_initialised(step, self._acc, access.src, Scratchpad.ACC)
        if _shifts_by_register(step.role) and not self._amounts[access.src].all():
            text = f"a shift amount is not a loaded constant of 0..{SHIFT_LIMIT}"
            self._findings.add(step.index, "register-shift", text)
        self._write_acc(step, access.dst, clock, storable=True)

    def _access(self, step: Step, *, alu: bool) -> Access | None:
        loops = loops_of(step.instruction)
        listed = slice(loops.begin, loops.end)
        if loops.end > len(self._uop):
            self._out_of_bounds(step, f"uop_end {loops.end} is beyond the uop memory of {len(self._uop)}")
            return None
        if not self._uop_known[listed].all():
            self._findings.add(step.index, "uninitialised", "a micro-op is used before it is loaded")
            return None
        access = self._accesses.of(loops, self._uop[listed], alu)
        if access.beyond:
            self._out_of_bounds(step, access.beyond)
            return None
        if not access.list_distance:
            text = "a micro-op has the dst of one of the two before it"
            self._findings.add(step.index, "hls-distance", text)
        return access

    def _write_acc(self, step: Step, places: Places, clock: Clock, *, storable: bool) -> None:
        self._race(step, self._acc.write(places, clock), "acc is overwritten before it is stored")
        self._storable[places] = storable
        if self._shifts_by_register:
            self._amounts[places] = False

    def _finish(self, _step: Step, _clock: Clock) -> None:
        """FINISH touches no memory."""

    def _require_initialised(self, step: Step, stamps: Stamps, places: Places, memory: Scratchpad) -> None:
        if not stamps.initialised(places):
            self._findings.add(step.index, "uninitialised", f"{memory} is read where nothing was written")

    def _race(self, step: Step, conflict: _Conflict, text: str) -> None:
        if conflict is not None:
            engine, time = conflict
            other = self._by_engine[engine][time - 1]
            partner = f"no token orders {step.name} and {other.name} (instruction {other.index})"
            self._findings.add(step.index, "race", f"{text}: {partner}")

    def _out_of_bounds(self, step: Step, text: str) -> None:
        self._findings.add(step.index, "sram-bounds", text)


def _shifts_by_register(role: Role) -> bool:
    return role.operation == "shr" and not role.immediate
