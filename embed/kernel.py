"""A compiled operator, whatever machine it is for: making one, and reading a saved one."""

from collections.abc import Mapping
from dataclasses import replace
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
        micro_operations = any(memory.format for memory in target.memories.values())
        return cls.MICRO_OPERATIONS if encoded and micro_operations else cls.ABSTRACT


def compile_kernel(
    operator: Operator,
    target: Isa,
    embedding: Embedding | None,
    *,
    layouts: Mapping[str, str],
    threads: int,
    constants: Mapping[str, Array],
    cache: Cache | None,
    tune: int = 0,
    time_limit: float = 10.0,
    demands: tuple[Demand, ...] = (),
) -> VtaKernel | CpuKernel | AbstractKernel:
    """Code for the kind of machine that the ISA describes; an abstract program where the file describes no code."""
    machine = Machine.of(target)
    if machine is not Machine.CPU:
        given = {
            "constants": constants,
            "threads": range(threads - 1),
            "cache": cache,
            "tune": tune,
        }
        _refuse(target, given)
        settings = Settings(time_limit=time_limit, layouts=tuple(layouts.items()), demands=demands)
        return _on_scratchpads(operator, target, embedding, machine, settings)
    if embedding is not None and embedding.relaxed:
        raise UserError(f"embedding '{embedding}': kernels for {target.name} rewrite no operator; leave out `with ...`")
    _check(operator, layouts, threads, constants)
    check(demands, operator, target)
    kernel = _compiled(
        operator, target, embedding, layouts, threads, tuple(constants), None if demands else cache, tune, time_limit,
        demands,
    )  # fmt: skip
    return kernel.fix(**constants) if constants else kernel


def best_embedding(operator: Operator, target: Isa, settings: Settings) -> search.Solution:
    """The embedding that the compiler takes: the best together with its schedule; raises NoEmbedding."""
    if Machine.of(target) is Machine.MICRO_OPERATIONS:
        return joint.choose(operator, target, settings)[0]
    if Machine.of(target) is Machine.ABSTRACT:
        return abstract.choose(operator, target, settings)[0]
    return search.best(operator, target, settings)


def _on_scratchpads(
    operator: Operator, target: Isa, embedding: Embedding | None, machine: Machine, settings: Settings
) -> VtaKernel | AbstractKernel:
    held = held_under(operator, target, settings)
    if embedding is not None:
        asked = embedding.on(held.operator)
        if machine is not Machine.MICRO_OPERATIONS:
            return compile_abstract(asked, target, held=held)
        return compile_vta(asked, target, schedule_of(asked, target), held)
    if machine is not Machine.MICRO_OPERATIONS:
        solution, kernel = abstract.choose(operator, target, settings, held)
        return replace(kernel, note=solution.note)
    solution, schedule = joint.choose(operator, target, settings)
    return replace(compile_vta(solution.embedding, target, schedule, held), note=solution.note)


def load_kernel(path: Path) -> VtaKernel | CpuKernel:
    """The kernel that `save` wrote; one of a bundle runs the bundle's own instructions."""
    return bundle_reader.kernel(path) if path.is_dir() else archive.load(path)


def _compiled(
    operator: Operator,
    target: Isa,
    embedding: Embedding | None,
    layouts: Mapping[str, str],
    threads: int,
    constants: tuple[str, ...],
    cache: Cache | None,
    tune: int,
    time_limit: float,
    demands: tuple[Demand, ...],
) -> CpuKernel:
    options = {"layouts": layouts, "threads": threads, "constants": constants, "embedding": embedding, "tune": tune}
    key = key_of(operator, target, **options) if cache else ""  # type: ignore[arg-type]
    known = cache.get(key, target) if cache else None
    if known is not None:
        return known
    made = compile_cpu(operator, target, **options, time_limit=time_limit, demands=demands)  # type: ignore[arg-type]
    if cache and not made.note:  # with more time another kernel may come out
        cache.put(key, made)
    return made


def _refuse(target: Isa, given: Mapping[str, object]) -> None:
    """What only register machines have."""
    for name, value in given.items():
        if value:
            raise UserError(f"{name}: {target.name} is no register machine and takes none")


def _check(operator: Operator, layouts: Mapping[str, str], threads: int, constants: Mapping[str, Array]) -> None:
    inputs = [tensor.name for tensor in operator.inputs]
    tensors = [*inputs, operator.output.name]
    for name in layouts:
        if name not in tensors:
            raise UserError(f"layouts: there is no tensor '{name}'; there are: {', '.join(tensors)}")
    for name in constants:
        if name not in inputs:
            raise UserError(f"constants: there is no input '{name}'; there are: {', '.join(inputs)}")
    if not isinstance(threads, int) or threads < 1:
        raise UserError(f"threads: {threads} is not a positive integer")
