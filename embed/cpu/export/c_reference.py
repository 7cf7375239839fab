"""A computation as plain C loops, written from its index expression alone: what a self-test compares with."""

from collections.abc import Iterator, Mapping

from dataflow.affine import Affine
from dataflow.computation import Computation
from dataflow.dtypes import bits, is_integer, limits
from dataflow.errors import UserError
from dataflow.expression import Apply, Cast, Const, Expression, Read, dtype_of
from dataflow.operator import Operator
from embed.cpu.export.c_packing import c_type

_INFIX = {"add": "+", "sub": "-", "mul": "*"}

HELPERS = {
    "bf16": """\
static inline float from_bf16(uint16_t x) {
    const uint32_t wide = (uint32_t)x << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}
static inline uint16_t to_bf16(float value) {
    uint32_t x;
    memcpy(&x, &value, sizeof x);
    return (uint16_t)((x + 0x7fff + ((x >> 16) & 1)) >> 16);
}
""",
    "f16": """\
static inline float from_f16(uint16_t x) {
    _Float16 value;
    memcpy(&value, &x, sizeof value);
    return (float)value;
}
static inline uint16_t to_f16(float value) {
    const _Float16 half = (_Float16)value;
    uint16_t x;
    memcpy(&x, &half, sizeof x);
    return x;
}
""",
}
"""Conversions of the floats that C has no arithmetic for, or not everywhere: they travel as their bits."""


def reference_function(operator: Operator) -> Iterator[str]:
    """`static void reference(...)` on row-major tensors; what statements hand on lies in arrays of its own."""
    parameters = [f"const {c_type(tensor.dtype)} *{tensor.name}" for tensor in operator.inputs]
    output = operator.output
    yield f"static void reference({', '.join([*parameters, f'{c_type(output.dtype)} *{output.name}'])}) {{"
    for statement in operator.statements[:-1]:
        sums = statement.tensors[0]
        yield f"    static {c_type(sums.dtype)} {sums.name}[{sums.size}];"
    for statement in operator.statements:
        yield from (f"    {line}" for line in _loops(statement))
    yield "}"


def _loops(statement: Computation) -> Iterator[str]:
    out = statement.tensors[0]
    shapes = {tensor.name: tensor.shape for tensor in statement.tensors}
    writer = _Writer(statement, shapes)
    place = writer.place(statement.output)
    if statement.accumulate:
        yield f"for (int64_t i = 0; i < {out.size}; ++i) {out.name}[i] = 0;"
    for dim in statement.dims:
        yield f"for (int64_t {dim.name} = 0; {dim.name} < {dim.extent}; ++{dim.name})"
    value = writer.value(statement.body)
    if statement.accumulate:
        value = writer.combined("add", [writer.loaded(out.dtype, f"{out.name}[{place}]"), value], out.dtype)
    yield f"    {out.name}[{place}] = {writer.stored(out.dtype, value)};"


class _Writer:
    """Expressions of one statement in C; integers are computed unsigned, so that they wrap."""

    def __init__(self, statement: Computation, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.statement, self.shapes = statement, shapes

    def place(self, read: Read) -> str:
        """Row-major."""
        text = "0"
        for index, extent in zip(read.index, self.shapes[read.tensor], strict=True):
            text = f"({text}) * {extent} + {_affine(index)}" if text != "0" else _affine(index)
        return text

    def value(self, node: Expression) -> str:
        match node:
            case Const(value):
                return str(value)
            case Read(tensor):
                return self.read(node, self.statement.tensor(tensor).dtype)
            case Cast(dtype, argument):
                return f"({_computed(dtype)}){self.rounded(dtype, self.value(argument))}"
            case Apply(operation, arguments):
                dtype = dtype_of(node, lambda name: self.statement.tensor(name).dtype) or "i64"
                return self.combined(operation, [self.value(argument) for argument in arguments], dtype)

    def read(self, read: Read, dtype: str) -> str:
        """An element, zero outside the tensor."""
        extents = self.statement.extents
        inside = []
        for index, extent in zip(read.index, self.shapes[read.tensor], strict=True):
            low, high = index.bounds(extents)
            inside += [f"{_affine(index)} >= 0"] if low < 0 else []
            inside += [f"{_affine(index)} < {extent}"] if high >= extent else []
        element = self.loaded(dtype, f"{read.tensor}[{self.place(read)}]")
        return f"({' && '.join(inside)} ? {element} : 0)" if inside else element

    @staticmethod
    def loaded(dtype: str, text: str) -> str:
        return f"from_{dtype}({text})" if dtype in HELPERS else text

    @staticmethod
    def stored(dtype: str, text: str) -> str:
        return f"to_{dtype}({text})" if dtype in HELPERS else f"({c_type(dtype)})({text})"

    @staticmethod
    def rounded(dtype: str, text: str) -> str:
        return f"from_{dtype}(to_{dtype}({text}))" if dtype in HELPERS else f"({text})"

    def combined(self, operation: str, values: list[str], dtype: str) -> str:
        first, *rest = values
        kind = _computed(dtype)
        if operation in _INFIX and is_integer(dtype):
            wide = f"uint{max(32, bits(dtype))}_t"
            return f"({kind})(({wide}){first} {_INFIX[operation]} ({wide}){rest[0]})"
        if operation in _INFIX:
            return f"({first} {_INFIX[operation]} {rest[0]})"
        if operation in ("min", "max"):
            sign = "<" if operation == "min" else ">"
            return f"({kind})({first} {sign} {rest[0]} ? {first} : {rest[0]})"
        if operation == "shr" and rest[0].lstrip("-").isdecimal():
            amount = int(rest[0])
            return f"({kind})({first} >> {amount})" if amount >= 0 else f"({kind})({first} * {1 << -amount})"
        if operation == "fma":
            return f"fmaf({first}, {rest[0]}, {rest[1]})" if dtype == "f32" else f"({first} * {rest[0]} + {rest[1]})"
        if operation == "neg":
            return f"(-{first})"
        if operation == "rint":
            return f"rintf({first})"
        if operation.startswith("sat_"):
            low, high = limits(operation.removeprefix("sat_"))
            return f"({kind})({first} < {low} ? {low} : {first} > {high} ? {high} : {first})"
        raise UserError(f"the self-test has no C for '{operation}'")


def _computed(dtype: str) -> str:
    """The C type in which values of a type are computed."""
    return "float" if dtype in HELPERS else c_type(dtype)


def _affine(index: Affine) -> str:
    terms = [dim if factor == 1 else f"{factor} * {dim}" for dim, factor in index.terms]
    text = " + ".join([*terms, *([str(index.constant)] if index.constant or not terms else [])])
    return f"({text})" if len(terms) + bool(index.constant) > 1 else text
