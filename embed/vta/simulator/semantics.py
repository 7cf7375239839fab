"""The two published behaviours of VTA, as values: the functional simulator's and the Chisel hardware's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Semantics:
    """Where implementations of one VTA configuration differ (tvm-vta fsim against Chisel RTL).

    `out_buffer`: STORE reads a separate OUT memory that only ALU and non-reset GEMM write, instead of
    truncating ACC. `immediate_reads_src`: an immediate ALU computes acc[dst] = op(acc[src], imm).
    `modular_shift`: the low 5 bits of a register amount are an unsigned shift, its direction the sign of
    imm. `fsim_only`: MUL, ACC_8BIT and empty loops exist. `uop_depth`: entries of uop memory, if fixed.
    """

    name: str
    out_buffer: bool
    immediate_reads_src: bool
    modular_shift: bool
    fsim_only: bool
    uop_depth: int | None


FSIM = Semantics("fsim", False, False, False, True, None)
CHISEL = Semantics("chisel", True, True, True, False, 2048)
