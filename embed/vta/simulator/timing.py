"""The numbers of the timing model: what a VTA core and its bus cost, in cycles of the core's clock."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from dataflow.errors import UserError


@dataclass(frozen=True, slots=True)
class TimingModel:
    """Costs of one VTA core on one memory system (Chisel RTL in Verilator, tvm-vta's TSIM memory).

    Bus: `bus_bytes` per beat and cycle, `memory_latency` cycles from a granted burst to its first beat,
    bursts of at most `burst_bytes` that never cross a multiple of that, `outstanding_bursts` at a time.
    `*_overhead`: cycles an instruction takes besides its beats and latency. Fetch reads `fetch_chunk`
    instructions of `instruction_bytes` and hands over one per cycle to queues of `queue_entries`.
    STORE: `store_overhead` + per element `store_element` and its beats + `store_burst` per burst.
    `*_cycles` of GEMM and ALU: per micro-op iteration; of token and FINISH: the whole instruction.
    A token counter holds at most `token_limit`. The values are in the ISA file's timing tables.
    """

    burst_bytes: int
    fetch_chunk: int
    bus_bytes: int
    memory_latency: int
    outstanding_bursts: int
    instruction_bytes: int
    queue_entries: int
    token_limit: int
    fetch_overhead: int
    load_uop_overhead: int
    load_overhead: int
    pad_overhead: int
    store_overhead: int
    store_element: int
    store_burst: int
    gemm_overhead: int
    gemm_cycles: int
    alu_overhead: int
    alu_imm_cycles: int
    alu_reg_cycles: int
    token_cycles: int
    finish_cycles: int

    @classmethod
    def from_table(cls, table: Mapping[str, int]) -> Self:
        """Make a model from a table with exactly these keys; a UserError names what is missing, unknown or wrong."""
        names = [entry.name for entry in fields(cls)]
        missing = [name for name in names if name not in table]
        if missing:
            raise UserError(f"VTA timing lacks {', '.join(missing)}")
        unknown = [name for name in table if name not in names]
        if unknown:
            raise UserError(f"VTA timing has no {', '.join(unknown)}; its entries are: {', '.join(names)}")
        for name, value in table.items():
            smallest = int(name in _SIZES)
            if type(value) is not int or value < smallest:
                raise UserError(f"VTA timing: {name} must be an integer of at least {smallest}, not {value!r}")
        return cls(**table)


_SIZES = {
    "burst_bytes",
    "fetch_chunk",
    "bus_bytes",
    "outstanding_bursts",
    "instruction_bytes",
    "queue_entries",
    "token_limit",
}
