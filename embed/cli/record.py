"""One problem's result as the tables show it and `--json` writes it."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class JsonRecord:
    """What the records of all machines have: plain values, one line of JSON."""

    problem: str
    suite: str
    op: str
    isa: str
    parameters: dict[str, int]
    status: str

    def to_dict(self) -> dict[str, Any]:
        """What `--json` writes."""
        return asdict(self)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Raises ValueError or TypeError where the line is not a record of this version."""
        values = json.loads(line)
        if not isinstance(values, dict) or set(values) - {field.name for field in fields(cls)}:
            raise ValueError("not a record")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Record(JsonRecord):
    """`cycles` and `bytes` are simulated, None where nothing ran; the modelled ones are what the solver minimised.

    `executed` is "full", "slice", "reduced" or "no"; `checked` says that what ran equals the reference bit for bit (or
    is within the error bound of floats). `traffic` is `bytes` by the memory on the other side, where they are modelled.
    `compile_s` is processor time for embedding, schedule and code. `predicted_cycles` are the schedule's, `lost` the
    compute unit's cycles by cause that its bound does not count, `store_cycles` the store unit's, in neither bound;
    `reads` says how often the packed inputs are loaded. `relaxation` is what rewrote the operator, if anything did;
    `plain_cycles` and `plain_utilisation` are simulated without it.
    `packings` says of each tensor whose layout is pinned what is left to pack.
    The reference is TVM's strategy on the same simulator, where asked for. `utilisation_best` is what the objective
    `invocations` reaches and `modelled_cycles_at_best` its price.
    """

    objective: str
    embedding: str
    relaxation: str = ""
    solve_s: float | None = None
    compile_s: float | None = None
    utilisation: float | None = None
    utilisation_fixed: float | None = None
    utilisation_best: float | None = None
    invocations: int | None = None
    modelled_cycles: int | None = None
    modelled_cycles_at_best: int | None = None
    modelled_bytes: int | None = None
    cycles: int | None = None
    bytes: int | None = None
    compute_bound: int | None = None
    bus_bound: int | None = None
    packings: dict[str, str] = field(default_factory=dict)
    predicted_cycles: int | None = None
    lost: dict[str, int] = field(default_factory=dict)
    store_cycles: int | None = None
    reads: float | None = None
    traffic: dict[str, int] = field(default_factory=dict)
    plain_cycles: int | None = None
    plain_utilisation: float | None = None
    reference_cycles: int | None = None
    reference_utilisation: float | None = None
    checked: bool | None = None
    executed: str = "no"
    error: str = ""
