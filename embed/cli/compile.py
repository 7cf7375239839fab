"""`isa-embed compile`: one operator as files that others can run: a bundle for VTA, a kernel or an object for a CPU."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

import embed
from dataflow import UserError
from embed.abstract.kernel import AbstractKernel
from embed.abstract.listing import listing
from embed.cli.asked import AskedEmbedding, AskedIsa, AskedKernel, AskedOperator, refuse
from embed.cli.data import read_inputs
from embed.cli.files import Array, make_directory, write_whole
from embed.cli.groups import grouped
from embed.cli.machines import compile_for_cpu, left_to_pack, written_or_best
from embed.cli.options import Inputs, Written
from embed.cli.plans import refuse_plan
from embed.cpu.export import emit
from embed.cpu.export.c_source import write_source
from embed.cpu.kernel import CpuKernel
from embed.kernel import Machine
from embed.parse import read_embedding
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
Constants = Annotated[
    list[str] | None,
    typer.Option(
        "--constant", metavar="NAME=FILE.npy", help="an input that a CPU kernel holds, packed", show_default=False
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="the files' and the C function's name", show_default=False),
]


@grouped
def compile_command(
    out: Out,
    operator: AskedOperator,
    isa: AskedIsa,
    search: AskedEmbedding,
    cpu: AskedKernel,
    inputs: Inputs = None,
    emit: Emit = None,
    name: Name = None,
    constant: Constants = None,
    embedding: Written = None,
) -> None:
    """Compile an operator: for VTA to code, packed data and the expected result, for a CPU to code and a C header."""
    wanted, target = operator.read(), isa.load()
    _check_emit(emit, target)
    chosen = read_embedding(embedding, wanted, target) if embedding is not None else None
    if chosen is None:
        refuse_plan(wanted, target, search.read())
    if Machine.of(target) is Machine.CPU:
        refuse("compile", target, {"--input": inputs})
        kernel = compile_for_cpu(wanted, target, search, cpu, constant or (), chosen)
        _write(kernel, emit or _EMITS[Machine.CPU][0], out, name or wanted.name)
        return
    refuse("compile", target, {**cpu.given, "--constant": constant, "--name": name})
    if Machine.of(target) is Machine.ABSTRACT:
        refuse("compile", target, {"--input": inputs})
    arrays = read_inputs(wanted, inputs or (), search.seed)
    chosen = written_or_best(wanted, target, search, chosen)
    if Machine.of(target) is Machine.ABSTRACT:
        _program(embed.compile(wanted, target, chosen, layouts=search.layouts), out)
        return
    _bundle(embed.compile(wanted, target, chosen, layouts=search.layouts), out, arrays)


def _program(kernel: object, out: Path) -> None:
    """The listing of an abstract program."""
    assert isinstance(kernel, AbstractKernel)
    make_directory(out)
    path = out / f"{kernel.embedding.operator.name}.txt"
    write_whole(path, f"{listing(kernel)}\n")
    typer.echo("\n".join([kernel.held.own.title, str(kernel.embedding), *_packings(kernel), str(path)]))


def _packings(kernel: VtaKernel | CpuKernel | AbstractKernel) -> Iterator[str]:
    """A line for each pinned tensor: what is left to pack."""
    for left in left_to_pack(kernel):
        yield f"{left.tensor} as {left.layout}: {left}"


def _check_emit(emit: str | None, target: Isa) -> None:
    valid = _EMITS[Machine.of(target)]
    if emit is not None and emit not in valid:
        raise UserError(f"--emit: there is no '{emit}' for {target.name}; there are: {', '.join(valid)}")


def _bundle(kernel: object, out: Path, arrays: Mapping[str, Array]) -> None:
    assert isinstance(kernel, VtaKernel)
    bundle.save(kernel, out, kernel.held.lying(arrays))
    files = ", ".join(sorted(file.name for file in out.iterdir()))
    typer.echo("\n".join([kernel.held.own.title, str(kernel.embedding), *_packings(kernel), f"{out}: {files}"]))
    typer.echo(f"run it with: isa-embed run {out}")


def _write(kernel: CpuKernel, kind: str, out: Path, name: str) -> None:
    emit.check_name(name)
    make_directory(out)
    typer.echo("\n".join([kernel.operator.title, str(kernel.embedding), *_packings(kernel)]))
    if kind == "kernel":
        path = out / f"{name}.kernel"
        kernel.save(path)
        typer.echo(f"{path}\nrun it with: isa-embed run {path}")
        return
    written = {"asm": emit.write_assembly, "obj": emit.write_object, "c": write_source}[kind](kernel, out, name)
    typer.echo(f"{', '.join(map(str, written))}")
