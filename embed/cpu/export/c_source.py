"""A kernel as one C file: packing functions, the kernel in intrinsics, plain loops to compare with, a self-test.

Every entry that the kernel uses needs an `emit.c` in its ISA file; the file names the headers and the flags.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dataflow.computation import Tensor
from dataflow.dtypes import is_integer, is_signed
from embed import atomic
from embed.cpu.export.c_items import Body, language_of
from embed.cpu.export.c_packing import c_type, nested, place_of
from embed.cpu.export.c_reference import HELPERS, reference_function
from embed.cpu.export.emit import check_name, comment, functions, run_function, sizes
from embed.cpu.kernel import CpuKernel
from embed.cpu.lowering.sums import FIRST_POINTER
from embed.physical import Physical

_FRAME_BYTES = 4096
_RANDOM = """\
/* Small whole numbers, whose sums every type holds. */
static int next_number(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (int)(state >> 24) % 9;
}"""


def write_source(kernel: CpuKernel, directory: Path, name: str) -> tuple[Path, ...]:
    """Write `name`.c; raises UserError for a name that C cannot use and for an instruction without a template."""
    path = directory / f"{check_name(name)}.c"
    atomic.write(path, source(kernel, name).encode())
    return (path,)


def source(kernel: CpuKernel, name: str) -> str:
    """The text of the file; raises UserError for an instruction without a template."""
    language = language_of(kernel.target)
    flags = " ".join(language.flags)
    head = [*comment(kernel, name), "", f"cc -O2 {flags}{' ' if flags else ''}{name}.c -lm && ./a.out checks it."]
    includes = ["math.h", "stdint.h", "stdio.h", "string.h", *language.headers]
    parts = [
        "\n".join(["/*", *(f" * {line}".rstrip() for line in head), " */"]),
        "\n".join(f"#include <{header}>" for header in includes),
        f"/* Tiles of the outermost loop. */\n#define {name.upper()}_TILES {kernel.tiles}",
        *sizes(kernel, name.upper()),
        *_tables(kernel, name),
        *functions(kernel, name),
        "\n".join(_function(kernel, name)),
        run_function(kernel, name),
        *(text.rstrip() for dtype, text in HELPERS.items() if _has(kernel, dtype)),
        "\n".join(reference_function(kernel.operator)),
        _RANDOM,
        "\n".join(_main(kernel, name)),
    ]
    return "\n\n".join(parts) + "\n"


def _has(kernel: CpuKernel, dtype: str) -> bool:
    return any(t.dtype == dtype for statement in kernel.operator.statements for t in statement.tensors)


def _tables(kernel: CpuKernel, name: str) -> Iterator[str]:
    """Masks and numbers that the kernel reads, as bytes of their elements."""
    for number, table in enumerate(kernel.tables):
        width = 8 * table.itemsize
        values = np.ascontiguousarray(table).reshape(-1).view(f"i{table.itemsize}")
        text = ", ".join(map(str, values))
        yield f"static const int{width}_t {name}_table{number}[] = {{{text}}};"


def _function(kernel: CpuKernel, name: str) -> Iterator[str]:
    """The kernel itself."""
    names = {0: "limit", 1: "begin", 2: "end"}
    names |= {FIRST_POINTER + place: f"{found.tensor}_at" for place, found in enumerate(kernel.streams.values())}
    body = Body(kernel.target, names)
    lines = body.lines(kernel.items)
    for alias, kind in body.elements.items():
        yield f"typedef {kind} {alias} __attribute__((may_alias));"
    yield "\n/* Computes tiles first to last - 1. */"
    yield f"static void {name}(void **tensors, int64_t first, int64_t last) {{"
    yield "    intptr_t limit = (intptr_t)tensors, begin = first, end = last;"
    yield from (f"    intptr_t {scalar};" for scalar in sorted(body.scalars - {"limit", "begin", "end"}))
    yield from ([f"    char frame[{_FRAME_BYTES}];"] if body.frame else [])
    by_type: dict[str, list[str]] = {}
    for variable, kind in body.vectors.items():
        by_type.setdefault(kind, []).append(variable)
    yield from (f"    {kind} {', '.join(variables)};" for kind, variables in by_type.items())
    yield from lines
    unused = ["limit", *sorted(body.vectors.keys() - body.used)]
    yield from (f"    (void){variable};" for variable in unused)
    yield "}"


def _main(kernel: CpuKernel, name: str) -> Iterator[str]:
    """Fills the inputs, runs kernel and reference, and says where they differ."""
    operator = kernel.operator
    output = kernel.physical[operator.output.name]
    yield "int main(void) {"
    for tensor in (*operator.inputs, operator.output):
        yield f"    static {c_type(tensor.dtype)} {tensor.name}_rows[{max(1, tensor.size)}];"
        yield f"    static {c_type(tensor.dtype)} {tensor.name}_lying[{kernel.physical[tensor.name].size}];"
    for tensor in operator.inputs:
        yield f"    for (int64_t i = 0; i < {tensor.size}; ++i) {tensor.name}_rows[i] = {_number(tensor)};"
        yield from (
            f"    {line}" for line in _copied(kernel.physical[tensor.name], "{name}_lying[{to}] = {name}_rows[at];")
        )
    given = []
    for found in kernel.streams.values():
        if found.feed.in_place:
            given.append(f"{found.tensor}_lying")
            continue
        packed = f"{found.tensor}_packed"
        yield f"    static {c_type(found.feed.physical.tensor.dtype)} {packed}[{found.feed.size}];"
        if found.tensor != operator.output.name:
            yield f"    {name}_pack_{found.tensor}({found.tensor}_lying, {packed});"
        given.append(packed)
    yield f"    {name}_run({', '.join(given)});"
    if given[0] != f"{operator.output.name}_lying":
        yield f"    {name}_unpack_{operator.output.name}({given[0]}, {operator.output.name}_lying);"
    rows = ", ".join(f"{tensor.name}_rows" for tensor in (*operator.inputs, operator.output))
    yield f"    reference({rows});"
    yield from (f"    {line}" for line in _copied(output, _compared(operator.output)))
    yield '    puts("ok");'
    yield "    return 0;"
    yield "}"


def _copied(physical: Physical, statement: str) -> list[str]:
    """The statement for every element: `at` counts them row-major, `to` is where each lies."""
    tensor = physical.tensor
    names = [f"i{number}" for number in range(len(tensor.shape))]
    place = place_of(names, physical)
    rows = place_of(names, Physical.of(tensor))
    body = [f"const int64_t at = {rows};", statement.replace("{name}", tensor.name).replace("{to}", place)]
    return nested(list(zip(names, tensor.shape, strict=True)), body)


def _number(tensor: Tensor) -> str:
    if tensor.dtype in HELPERS:
        return f"to_{tensor.dtype}((float)(next_number() - 4))"
    signed = not is_integer(tensor.dtype) or is_signed(tensor.dtype)
    return f"({c_type(tensor.dtype)})(next_number(){' - 4' if signed else ''})"


def _compared(tensor: Tensor) -> str:
    """Whole numbers are equal; floats differ by no more than their rounding."""
    got, want = "{name}_lying[{to}]", "{name}_rows[at]"
    if tensor.dtype in HELPERS:
        got, want = (f"from_{tensor.dtype}({number})" for number in (got, want))
    bound = {"bf16": "0.01", "f16": "0.01", "f32": "1e-5", "f64": "1e-12"}.get(tensor.dtype)
    wrong = f"fabs((double){got} - {want}) > {bound} * (1 + fabs((double){want}))" if bound else f"{got} != {want}"
    report = f'printf("element %lld: %g, not %g\\n", (long long)at, (double){got}, (double){want})'
    return f"if ({wrong}) {{ {report}; return 1; }}"
