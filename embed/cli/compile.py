"""`isa-embed compile`: one operator as files that others can run: a bundle for VTA, a kernel or an object for a CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

import embed
import isa as isa_files
from dataflow import Operator, UserError
from embed.abstract.kernel import AbstractKernel, compile_abstract
from embed.abstract.listing import listing
from embed.cli.data import read_inputs
from embed.cli.files import Array, make_directory, write_whole
from embed.cli.machines import Constants, Layouts, Threads, Tune, compile_for_cpu
from embed.cli.operators import read_operator, read_settings
from embed.cli.options import (
    Dtype,
    EpilogueText,
    Expr,
    Inputs,
    IsaName,
    Objective,
    Seed,
    Settings,
    TimeLimit,
    Words,
    Written,
)
from embed.cpu import archive, emit
from embed.cpu.c_source import write_source
from embed.cpu.kernel import CpuKernel
from embed.embedding import Embedding
from embed.kernel import Machine, best_embedding
from embed.parse import read_embedding
from embed.solver.settings import Settings as SearchSettings
from embed.vta import bundle
from embed.vta.executable import VtaKernel
from isa.model import Isa

_EMITS = {
    Machine.MICRO_OPERATIONS: ("bundle",),
    Machine.CPU: ("kernel", "asm", "obj", "c"),
    Machine.ABSTRACT: ("program",),
}

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="where the files go")]
Emit = Annotated[
    str | None,
    typer.Option(
        "--emit",
        metavar="|".join(kind for kinds in _EMITS.values() for kind in kinds),
        help="what to write; a bundle for VTA, a kernel file for a CPU, the program of a file alone unless given",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="the files' and the C function's name", show_default=False),
]


def compile_command(
    out: Out,
    words: Words = None,
    expr: Expr = None,
    dtype: Dtype = None,
    epilogue: EpilogueText = "none",
    isa: IsaName = "vta",
    settings: Settings = None,
    objective: Objective = "cycles",
    time_limit: TimeLimit = 10.0,
    seed: Seed = 0,
    inputs: Inputs = None,
    emit: Emit = None,
    name: Name = None,
    layout: Layouts = None,
    threads: Threads = 1,
    tune: Tune = 0,
    constant: Constants = None,
    embedding: Written = None,
) -> None:
    """Compile an operator: for VTA to code, packed data and the expected result, for a CPU to code and a C header."""
    operator = read_operator(words or (), expr=expr, dtype=dtype, epilogue=epilogue)
    target = isa_files.load(isa, read_settings(settings or ()))
    _check_emit(emit, target)
    chosen = read_embedding(embedding, operator, target) if embedding is not None else None
    if Machine.of(target) is Machine.CPU:
        _refuse(target, "--input", inputs)
        kernel = compile_for_cpu(
            operator, target, layout or (), threads, objective, constant or (), tune, time_limit, chosen
        )
        _write(kernel, emit or _EMITS[Machine.CPU][0], out, name or operator.name)
        return
    for option, given in (
        ("--layout", layout),
        ("--constant", constant),
        ("--name", name),
        ("--threads", threads - 1),
        ("--tune", tune),
    ):
        _refuse(target, option, given)
    arrays = read_inputs(operator, inputs or (), seed)
    chosen = chosen or best_embedding(operator, target, SearchSettings(objective, time_limit, 1, seed))
    if Machine.of(target) is Machine.ABSTRACT:
        _refuse(target, "--input", inputs)
        _program(compile_abstract(chosen, target), out)
        return
    _bundle(operator, target, chosen, out, arrays)


def _program(kernel: AbstractKernel, out: Path) -> None:
    """The listing of an abstract program."""
    make_directory(out)
    path = out / f"{kernel.embedding.operator.name}.txt"
    write_whole(path, f"{listing(kernel)}\n")
    typer.echo(f"{kernel.embedding.operator.title}\n{kernel.embedding}\n{path}")


def _check_emit(emit: str | None, target: Isa) -> None:
    valid = _EMITS[Machine.of(target)]
    if emit is not None and emit not in valid:
        raise UserError(f"--emit: there is no '{emit}' for {target.name}; there are: {', '.join(valid)}")


def _refuse(target: Isa, option: str, given: object) -> None:
    if given:
        raise UserError(f"{option} has no meaning for {target.name}; see isa-embed compile --help")


def _bundle(operator: Operator, target: Isa, embedding: Embedding, out: Path, arrays: Mapping[str, Array]) -> None:
    kernel = embed.compile(operator, target, embedding)
    assert isinstance(kernel, VtaKernel)
    bundle.save(kernel, out, arrays)
    typer.echo(f"{operator.title}\n{embedding}\n{out}: {', '.join(sorted(file.name for file in out.iterdir()))}")
    typer.echo(f"run it with: isa-embed run {out}")


def _write(kernel: CpuKernel, kind: str, out: Path, name: str) -> None:
    emit.check_name(name)
    make_directory(out)
    typer.echo(f"{kernel.operator.title}\n{kernel.embedding}")
    if kind == "kernel":
        path = out / f"{name}.kernel"
        archive.save(kernel, path)
        typer.echo(f"{path}\nrun it with: isa-embed run {path}")
        return
    written = {"asm": emit.write_assembly, "obj": emit.write_object, "c": write_source}[kind](kernel, out, name)
    typer.echo(f"{', '.join(map(str, written))}")
