"""One problem's result on a CPU that is not here: what was counted, estimated and compared."""

from dataclasses import dataclass, field

from embed.cli.record import JsonRecord


@dataclass(frozen=True, slots=True)
class EmulatedRecord(JsonRecord):
    """What a kernel does on a CPU that is not here: counts are exact and of the whole problem, cycles are estimates.

    `cycles` and `gflops` (at the core's clock) are by core of the ISA file; `memory_cycles` is the part of `cycles`
    in which the tensors come once from where they fit. `published` holds, by core, a time that DeepBench published for
    a machine with such cores: `device`, `cores`, `ms`, `how`. `tiles_run` of the outermost loop's `tiles` were
    executed and compared.
    """

    dtype: str
    group: str
    embedding: str = ""
    schedule: str = ""
    macs: int = 0
    compile_s: float | None = None
    instructions: int = 0
    multiply_accumulates: int = 0
    loads: int = 0
    hot_instructions: int = 0
    hot_multiply_accumulates: int = 0
    hot_loads: int = 0
    cycles: dict[str, int] = field(default_factory=dict)
    memory_cycles: dict[str, int] = field(default_factory=dict)
    gflops: dict[str, float] = field(default_factory=dict)
    published: dict[str, dict[str, object]] = field(default_factory=dict)
    tiles: int = 0
    tiles_run: int = 0
    checked: bool | None = None
    executed: str = "no"
    error: str = ""

    @property
    def instructions_per_mac(self) -> float | None:
        return self.instructions / self.macs if self.instructions else None

    @property
    def hot_share(self) -> float | None:
        """Multiply-accumulates among the instructions of the innermost loops; None where there are no loops."""
        return self.hot_multiply_accumulates / self.hot_instructions if self.hot_instructions else None

    @property
    def loads_per_sum(self) -> float | None:
        """Loads for each multiply-accumulate instruction of the innermost loops."""
        return self.hot_loads / self.hot_multiply_accumulates if self.hot_multiply_accumulates else None
