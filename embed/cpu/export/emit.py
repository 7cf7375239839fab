"""A kernel for programs in C: an object or assembler text that defines it, and the header that explains it."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dataflow.errors import UserError
from embed import atomic
from embed.cpu.arrays.streams import Stream
from embed.cpu.export.c_packing import c_type, pack_function, unpack_function
from embed.cpu.export.object import LINE, relocatable
from embed.cpu.kernel import CpuKernel
from embed.cpu.runner.machine import machine_of
from embed.physical import Physical

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_LABEL = re.compile(r"\bL\d+\b")
_KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register"
    " restrict return short signed sizeof static struct switch typedef union unsigned void volatile while".split()
)
_DIRECTIVES = {"x86_64": [".intel_syntax noprefix"], "aarch64": [".arch armv8.6-a+fp16"]}
_ROW = 16


def write_object(kernel: CpuKernel, directory: Path, name: str) -> tuple[Path, Path]:
    """Write `name`.o and `name`.h; raises UserError for a name that C cannot call or files that cannot be written."""
    code = relocatable(machine_of(kernel.target).architecture, check_name(name), kernel.code, _data(kernel, name))
    return _written(kernel, directory, name, "o", code)


def write_assembly(kernel: CpuKernel, directory: Path, name: str) -> tuple[Path, Path]:
    """Write `name`.s for GNU as and `name`.h; raises UserError like `write_object`."""
    return _written(kernel, directory, check_name(name), "s", assembler_text(kernel, name).encode())


def _written(kernel: CpuKernel, directory: Path, name: str, ending: str, content: bytes) -> tuple[Path, Path]:
    paths = directory / f"{name}.{ending}", directory / f"{name}.h"
    atomic.write(paths[0], content)
    atomic.write(paths[1], header(kernel, name).encode())
    return paths


def check_name(name: str) -> str:
    """The name, if C can call a function so; else UserError."""
    if not _IDENTIFIER.fullmatch(name) or name in _KEYWORDS:
        raise UserError(f"'{name}' is no name for a C function")
    return name


def assembler_text(kernel: CpuKernel, name: str) -> str:
    """A file that GNU as assembles to the bytes of the object."""
    lines = [*_DIRECTIVES[machine_of(kernel.target).architecture], ".text", f".balign {LINE}"]
    text = _LABEL.sub(r".\g<0>", kernel.assembly())
    lines += [f".globl {name}", f".type {name}, %function", f"{name}:", text, f".size {name}, . - {name}"]
    lines += [".section .rodata"] if _data(kernel, name) else []
    for symbol, content in _data(kernel, name).items():
        lines += [f".balign {LINE}", f".globl {symbol}", f".type {symbol}, %object", f"{symbol}:"]
        rows = (content[at : at + _ROW] for at in range(0, len(content), _ROW))
        lines += [f"    .byte {', '.join(map(str, row))}" for row in rows]
        lines.append(f".size {symbol}, . - {symbol}")
    return "\n".join([*lines, '.section .note.GNU-stack, "", %progbits', ""])


def _data(kernel: CpuKernel, name: str) -> dict[str, bytes]:
    """What the kernel reads that is not the caller's: constants, masks and numbers, by symbol."""
    arrays = {f"{name}_{tensor}": array for tensor, array in kernel.constants.items()}
    arrays |= {f"{name}_table{number}": table for number, table in enumerate(kernel.tables)}
    return {symbol: _memory(array) for symbol, array in arrays.items()}


def _memory(array: np.ndarray) -> bytes:
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    return np.ascontiguousarray(array.transpose(order)).tobytes()


def header(kernel: CpuKernel, name: str) -> str:
    """The C header: what the function takes, functions that pack it, and one that runs all tiles."""
    guard, upper = f"ISA_EMBED_{name.upper()}_H", name.upper()
    parts = [
        "\n".join(["/*", *(f" * {line}".rstrip() for line in comment(kernel, name)), " */"]),
        f"#ifndef {guard}\n#define {guard}",
        "#include <stdint.h>",
        '#ifdef __cplusplus\nextern "C" {\n#endif',
        f"/* Tiles of the outermost loop: the range of `begin` and `end`. */\n#define {upper}_TILES {kernel.tiles}",
        *sizes(kernel, upper),
        f"/* Computes tiles begin to end - 1. */\nvoid {name}(void **tensors, int64_t begin, int64_t end);",
        *_declarations(kernel, name),
        *functions(kernel, name),
        run_function(kernel, name),
        "#ifdef __cplusplus\n}\n#endif",
        f"#endif /* {guard} */\n",
    ]
    return "\n\n".join(parts)


def comment(kernel: CpuKernel, name: str) -> Iterator[str]:
    """What the kernel computes, for whom, and what its tensors are; one line each."""
    operator, target = kernel.operator, kernel.target
    features = dict.fromkeys(f for entry in target.instructions.values() for f in entry.requires)
    yield operator.title
    yield from (f"    {statement}" for statement in operator.statements)
    yield ""
    yield f"For {target.name}; the CPU needs {', '.join(features) or 'no more than the architecture has'}."
    yield f"Embedding: {kernel.embedding}"
    yield ""
    yield f"`{name}(tensors, begin, end)` computes some tiles of the output and overwrites what was there. Calls may"
    yield "run at once, on parts of the tiles or on other tensors. `tensors` points to these, in this order:"
    for number, found in enumerate(kernel.streams.values()):
        yield f"  {number}. {_described(kernel, name, found)}"
    for number in range(len(kernel.tables)):
        yield f"  {len(kernel.streams) + number}. {name}_table{number}, which comes with the function"


def _described(kernel: CpuKernel, name: str, found: Stream) -> str:
    physical = kernel.physical[found.tensor]
    lies = f"{physical.tensor}, {_lies(physical)}, strides in elements {list(physical.strides())}"
    if found.tensor in kernel.constants:
        return f"{lies}: {name}_{found.tensor}, which comes with the function, packed"
    if found.feed.in_place:
        return f"{lies}"
    if found.tensor == kernel.operator.output.name:
        return f"{lies}: room for it in {found.feed.size} elements, from which {name}_unpack_{found.tensor} takes it"
    return f"{lies}: as {name}_pack_{found.tensor} makes it, in {found.feed.size} elements"


def _lies(physical: Physical) -> str:
    shape = f" of {list(physical.shape)}" if physical.blocks else ""
    return f"{physical.name or 'a scalar'}{shape}"


def sizes(kernel: CpuKernel, upper: str) -> Iterator[str]:
    """Macros with the elements of every tensor."""
    for found in kernel.streams.values():
        physical, what = kernel.physical[found.tensor], f"{upper}_{found.tensor.upper()}"
        yield f"/* Elements of {physical.tensor}, {_lies(physical)}. */\n#define {what}_SIZE {physical.size}"
        if not found.feed.in_place:
            yield f"/* The same as the function takes it. */\n#define {what}_PACKED_SIZE {found.feed.size}"


def _declarations(kernel: CpuKernel, name: str) -> Iterator[str]:
    for tensor in kernel.constants:
        kind = c_type(kernel.physical[tensor].tensor.dtype)
        yield f"extern const {kind} {name}_{tensor}[];"
    for number, table in enumerate(kernel.tables):
        yield f"extern const int{8 * table.itemsize}_t {name}_table{number}[];"


def functions(kernel: CpuKernel, name: str) -> Iterator[str]:
    """The functions that pack inputs and unpack the output."""
    for found in kernel.streams.values():
        if found.feed.in_place or found.tensor in kernel.constants:
            continue
        if found.tensor == kernel.operator.output.name:
            yield unpack_function(f"{name}_unpack_{found.tensor}", found.feed)
        else:
            yield pack_function(f"{name}_pack_{found.tensor}", found.feed)


def run_function(kernel: CpuKernel, name: str) -> str:
    """A function that runs all tiles, on tensors as the comment says."""
    output = kernel.operator.output.name
    parameters, given = [], []
    for found in kernel.streams.values():
        kind = c_type(kernel.physical[found.tensor].tensor.dtype)
        own = f"{found.tensor}{'' if found.feed.in_place else '_packed'}"
        own = f"{own}_" if own in _KEYWORDS or own == "tensors" else own
        if found.tensor in kernel.constants:
            given.append(f"(void *){name}_{found.tensor}")
        else:
            parameters.append(f"{'' if found.tensor == output else 'const '}{kind} *{own}")
            given.append(f"(void *){own}")
    given += [f"(void *){name}_table{number}" for number in range(len(kernel.tables))]
    body = f"    void *tensors[] = {{{', '.join(given)}}};\n    {name}(tensors, 0, {name.upper()}_TILES);"
    return f"static inline void {name}_run({', '.join(parameters)}) {{\n{body}\n}}"
