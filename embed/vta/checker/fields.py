"""Rules that one instruction breaks or keeps by its fields alone."""

from collections.abc import Callable

from embed.vta.checker.violation import Findings
from embed.vta.engines import FLAGS
from embed.vta.machine import Machine
from embed.vta.roles import OPERANDS, Job, Scratchpad
from embed.vta.simulator.dma import shape_of
from embed.vta.simulator.indices import loops_of
from embed.vta.steps import Step, moves_data
from embed.vta.uops import index_bits

UOP_ENTRIES = 2048
"""Micro-op entries of the Chisel core, whatever the configuration says."""

INP_LOAD_LIMIT = 2048
"""Elements that overflow a 12-bit counter in one LOAD INP (Chisel with 256-beat bursts)."""

SHIFT_LIMIT = 15
"""Largest shift of the HLS core, which keeps five signed bits."""

Limits = dict[str, tuple[int, int]]


def field_limits(machine: Machine) -> dict[str, Limits]:
    """Smallest and largest value of every field, by instruction name (VTA instruction words)."""
    limits = _limits(machine)
    return {name: limits[role.job] for name, role in machine.roles.entries.items()}


def _limits(machine: Machine) -> dict[Job, Limits]:
    flags = dict.fromkeys(FLAGS, (0, 1))
    transfer = {"sram_base": 16, "dram_base": 32, "y_size": 16, "x_size": 16, "x_stride": 16}
    transfer |= dict.fromkeys(("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1"), 4)
    uop, acc, inp, wgt = (index_bits(machine.depths[pad]) for pad in (Scratchpad.UOP, *OPERANDS))
    loops = {"uop_bgn": uop, "uop_end": uop + 1, "iter_out": 14, "iter_in": 14}
    loops |= {"dst_factor_out": acc, "dst_factor_in": acc, "src_factor_out": inp, "src_factor_in": inp}
    gemm = flags | _unsigned(loops | {"wgt_factor_out": wgt, "wgt_factor_in": wgt})
    return {
        Job.LOAD: flags | _unsigned(transfer),
        Job.STORE: flags | _unsigned(transfer),
        Job.GEMM: gemm,
        Job.RESET: gemm,
        Job.ALU: flags | _unsigned(loops) | {"imm": (-(2**15), 2**15 - 1)},
        Job.FINISH: flags,
    }


def _unsigned(widths: dict[str, int]) -> Limits:
    return {name: (0, 2**width - 1) for name, width in widths.items()}


def check_fields(program: list[Step], machine: Machine, findings: Findings) -> None:
    """Check every instruction by itself."""
    limits = field_limits(machine)
    for step in program:
        _check_ranges(step, limits[step.name], findings)
        if step.illegal:
            text = f"the {step.engine.label} engine has no {', '.join(step.illegal)}"
            findings.add(step.index, "illegal-flag", text)
        if step.index not in findings.broken:
            _RULES[step.role.job](step, findings)


def _check_ranges(step: Step, limits: Limits, findings: Findings) -> None:
    for name, value in step.instruction.fields.items():
        if name not in limits:
            findings.add(step.index, "instruction", f"{step.name} has no field {name}", broken=True)
            continue
        low, high = limits[name]
        if not low <= value <= high:
            text = f"{name} = {value} is not in {low}..{high}"
            findings.add(step.index, "field-range", text, broken=True)


def _accept(_step: Step, _findings: Findings) -> None:
    """FINISH has nothing but flags."""


def _check_load(step: Step, findings: Findings) -> None:
    if step.role.widens:
        findings.add(step.index, "fsim-only", "ACC_8BIT does not exist in hardware", broken=True)
    if not moves_data(step.instruction):
        return
    shape = shape_of(step.instruction)
    _check_rows(step, findings)
    if step.role.pad is Scratchpad.UOP and (shape.rows > 1 or shape.padded):
        findings.add(step.index, "uop-load-shape", "LOAD UOP must have y_size 1 and no pads")
    if step.role.pad is Scratchpad.WGT and shape.padded:
        findings.add(step.index, "wgt-pad", "LOAD WGT must have no pads")
    elements = shape.rows * shape.columns
    if step.role.pad is Scratchpad.INP and elements >= INP_LOAD_LIMIT:
        text = f"LOAD INP of {elements} elements; the most is {INP_LOAD_LIMIT - 1}"
        findings.add(step.index, "inp-load-size", text)


def _check_store(step: Step, findings: Findings) -> None:
    if not moves_data(step.instruction):
        return
    _check_rows(step, findings)
    if shape_of(step.instruction).padded:
        findings.add(step.index, "store-pad", "the pad fields of a STORE must be 0", broken=True)


def _check_rows(step: Step, findings: Findings) -> None:
    if step.instruction["y_size"] == 0:
        findings.add(step.index, "empty-rows", "y_size 0 with x_size > 0 hangs the hardware", broken=True)


def _check_loops(step: Step, findings: Findings) -> None:
    loops = loops_of(step.instruction)
    if not loops.iterations:
        findings.add(step.index, "empty-loop", "a loop extent or the uop list is empty", broken=True)
    if loops.end > UOP_ENTRIES:
        text = f"uop_end {loops.end} is beyond the {UOP_ENTRIES} entries of the hardware"
        findings.add(step.index, "uop-depth", text)


def _check_alu(step: Step, findings: Findings) -> None:
    _check_loops(step, findings)
    operation = step.role.operation
    if operation == "mul":
        findings.add(step.index, "fsim-only", "MUL does not exist in hardware")
    immediate = step.instruction["imm"]
    # In the register form the hardware takes the direction of the shift from the unused immediate.
    lowest = -SHIFT_LIMIT if step.role.immediate else 0
    if operation == "shr" and not lowest <= immediate <= SHIFT_LIMIT:
        text = f"imm {immediate} of a shift is not in {lowest}..{SHIFT_LIMIT}"
        findings.add(step.index, "shift-amount", text)


_RULES: dict[Job, Callable[[Step, Findings], None]] = {
    Job.LOAD: _check_load,
    Job.STORE: _check_store,
    Job.GEMM: _check_loops,
    Job.RESET: _check_loops,
    Job.ALU: _check_alu,
    Job.FINISH: _accept,
}
