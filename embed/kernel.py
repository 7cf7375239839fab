"""A compiled operator, whatever machine it is for: making one, and reading a saved one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.abstract import joint as abstract
from embed.abstract.kernel import AbstractKernel, compile_abstract
from embed.cpu import archive
from embed.cpu.cache import Cache, key_of
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.demands import Demand, check
from embed.embedding import Embedding
from embed.epilogue import plan
from embed.parse import moved
from embed.solver import search
from embed.solver.questions import held_under
from embed.solver.settings import Settings
from embed.vta import bundle_reader, joint
from embed.vta.executable import VtaKernel, compile_vta
from embed.vta.refine import schedule_of
from isa.model import Isa

Array = npt.NDArray[Any]


class Kernel(Protocol):
    """What every kernel can do: run on arrays of the operator's shapes and dtypes, and be saved for `embed.load`.

    Inputs come in the operator's order or by name; wrong ones raise UserError. A saved kernel is what its machine
    calls for: one file for a CPU, a directory for VTA.
    """

    @property
    def embedding(self) -> Embedding: ...

    def __call__(self, *arrays: Array, **named: Array) -> Array: ...

    def save(self, path: str | Path) -> None: ...


class Machine(Enum):
    """What an ISA file describes: a CPU with code, micro-operations on scratchpads with code, or a file alone."""

    CPU = "cpu"
    MICRO_OPERATIONS = "micro-operations"
    ABSTRACT = "abstract"

    @classmethod
    def of(cls, target: Isa) -> "Machine":
        """By the processor that the file names, and by whether it has words of micro-operations with an encoding."""
        if target.processor:
            return cls.CPU
        encoded = any(entry.pattern and entry.encoding for entry in target.instructions.values())
        return cls.MICRO_OPERATIONS if encoded and target.micro_operations else cls.ABSTRACT


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a kernel, as `embed.compile` says; `constants` and everything after are for CPUs."""

    embedding: Embedding | None
    layouts: Mapping[str, str]
    threads: int
    constants: Mapping[str, Array]
    cache: Cache | None
    tune: int
    time_limit: float
    demands: tuple[Demand, ...]

    @property
    def plain(self) -> bool:
        """Whether nothing is asked but a kernel."""
        return self.embedding is None and not (self.layouts or self.demands or any(self.for_cpus.values()))

    @property
    def for_cpus(self) -> dict[str, object]:
        """What only register machines have, by name; empty or 0 where it is not asked for."""
        return {"constants": self.constants, "threads": self.threads - 1, "cache": self.cache, "tune": self.tune}


def compile_kernel(operator: Operator, target: Isa, wanted: Wanted) -> VtaKernel | CpuKernel | AbstractKernel:
    """Code for the kind of machine that the ISA describes; an abstract program where the file describes no code."""
    machine = Machine.of(target)
    if machine is not Machine.CPU:
        _refuse(target, wanted.for_cpus)
        return _on_scratchpads(operator, target, wanted, machine)
    embedding = wanted.embedding
    if embedding is not None and embedding.relaxed:
        raise UserError(f"embedding '{embedding}': kernels for {target.name} rewrite no operator; leave out `with ...`")
    _check(operator, wanted)
    check(wanted.demands, operator, target)
    kernel = _compiled(operator, target, wanted)
    return kernel.fix(**wanted.constants) if wanted.constants else kernel


def best_embedding(operator: Operator, target: Isa, settings: Settings) -> search.Solution:
    """The embedding that the compiler takes: the best together with its schedule; raises NoEmbedding."""
    if Machine.of(target) is not Machine.CPU:
        plan(operator, target)
    if Machine.of(target) is Machine.MICRO_OPERATIONS:
        return joint.choose(operator, target, settings)[0]
    if Machine.of(target) is Machine.ABSTRACT:
        return abstract.choose(operator, target, settings)[0]
    return search.best(operator, target, settings)


def _on_scratchpads(operator: Operator, target: Isa, wanted: Wanted, machine: Machine) -> VtaKernel | AbstractKernel:
    settings = Settings(time_limit=wanted.time_limit, layouts=tuple(wanted.layouts.items()), demands=wanted.demands)
    held = held_under(operator, target, settings)
    if wanted.embedding is not None:
        asked = moved(wanted.embedding, held.operator, target)
        if machine is not Machine.MICRO_OPERATIONS:
            return compile_abstract(asked, target, held=held)
        return compile_vta(asked, target, schedule_of(asked, target), held)
    plan(operator, target)  # what the machine has no instructions for needs no search
    if machine is not Machine.MICRO_OPERATIONS:
        solution, kernel = abstract.choose(operator, target, settings, held)
        return replace(kernel, note=solution.note)
    solution, schedule = joint.choose(operator, target, settings)
    return replace(compile_vta(solution.embedding, target, schedule, held), note=solution.note)


def load_kernel(path: Path) -> VtaKernel | CpuKernel:
    """The kernel that `save` wrote; one of a bundle runs the bundle's own instructions."""
    return bundle_reader.kernel(path) if path.is_dir() else archive.load(path)


def _compiled(operator: Operator, target: Isa, wanted: Wanted) -> CpuKernel:
    options = {name: getattr(wanted, name) for name in ("layouts", "threads", "embedding", "tune")}
    options["constants"] = tuple(wanted.constants)
    cache = None if wanted.demands else wanted.cache
    key = key_of(operator, target, **options) if cache else ""
    known = cache.get(key, target) if cache else None
    if known is not None:
        return known
    made = compile_cpu(operator, target, **options, time_limit=wanted.time_limit, demands=wanted.demands)
    if cache and not made.note:  # with more time another kernel may come out
        cache.put(key, made)
    return made


def _refuse(target: Isa, given: Mapping[str, object]) -> None:
    """What only register machines have."""
    for name, value in given.items():
        if value:
            raise UserError(f"{name}: {target.name} is no register machine and takes none")


def _check(operator: Operator, wanted: Wanted) -> None:
    inputs = [tensor.name for tensor in operator.inputs]
    tensors = [*inputs, operator.output.name]
    for name in wanted.layouts:
        if name not in tensors:
            raise UserError(f"layouts: there is no tensor '{name}'; there are: {', '.join(tensors)}")
    for name in wanted.constants:
        if name not in inputs:
            raise UserError(f"constants: there is no input '{name}'; there are: {', '.join(inputs)}")
