"""What the checker says: rules by name, and violations of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.errors import UserError

RULES: dict[str, str] = {
    "segment": "segments are aligned to their elements, in 4096..4 GiB, disjoint, and as long as their data",
    "instruction": "only instructions that VTA has, with the fields they have",
    "field-range": "every field fits its bits",
    "illegal-flag": "load has no prev queues, store no next queues",
    "fsim-only": "no MUL and no ACC_8BIT: only the functional simulator has them",
    "empty-loop": "loop extents and the micro-op list are not empty",
    "empty-rows": "y_size is at least 1 where x_size is",
    "uop-depth": "only the first 2048 micro-op entries are used",
    "uop-load-shape": "LOAD UOP has one row and no pads",
    "wgt-pad": "LOAD WGT has no pads",
    "store-pad": "STORE has no pads",
    "inp-load-size": "one LOAD INP moves fewer than 2048 elements",
    "sram-bounds": "scratchpad indices are below the depth",
    "dram-bounds": "every transfer stays inside one segment",
    "dram-memory": "the segment holds elements of the memory that is loaded or stored",
    "store-target": "STORE writes to output segments only",
    "imm-source": "an immediate ALU instruction has src = dst",
    "shift-amount": "shifts are by -15..15",
    "register-shift": "register shift amounts are constants of 0..15",
    "alu-distance": "no ALU iteration writes or reads what one of the two before it wrote",
    "hls-distance": "a micro-op's dst differs from those of the two micro-ops before it",
    "uninitialised": "everything read has been written",
    "last-writer": "what is stored was written last by the ALU or a GEMM without reset",
    "race": "engines that meet in a memory element are ordered by tokens",
    "token-limit": "at most 255 tokens are in one queue",
    "token-balance": "no token is left at the end",
    "deadlock": "every token that is waited for is pushed",
    "queue-depth": "no instruction waits for one that fetch cannot reach with 512 entries per queue",
    "finish": "FINISH comes once, as the last instruction",
    "finish-order": "FINISH is ordered after every other instruction",
}
"""The rules of a program that runs alike on fsim, on the Chisel core and on the HLS core."""

PROGRAM = -1
"""The index of a violation that belongs to no instruction."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule of `RULES` at an instruction (or PROGRAM)."""

    index: int
    rule: str
    text: str

    def __str__(self) -> str:
        place = "program" if self.index == PROGRAM else f"instruction {self.index}"
        return f"{place}: {self.text} [{self.rule}]"


class ProgramError(UserError):
    """A VTA program breaks rules; the message is the first violation, `violations` has all that were found."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(f"{violations[0]}{more}")
        self.violations = tuple(violations)


class Findings:
    """Collects violations, and remembers which instructions cannot be followed any further."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.broken: set[int] = set()

    def add(self, index: int, rule: str, text: str, *, broken: bool = False) -> None:
        """Record a violation; `broken`: what the instruction does to memory is not modelled."""
        assert rule in RULES, rule
        self.violations.append(Violation(index, rule, text))
        if broken:
            self.broken.add(index)
