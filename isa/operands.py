"""The operands of an entry: which memory, which type, at which address."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from dataflow.computation import Tensor
from dataflow.dtypes import bits, is_dtype, is_integer, is_signed
from isa.arithmetic import Formula, FormulaError
from isa.context import Context, identifier
from isa.encoding import Encoding
from isa.entries import Entry
from isa.errors import Faults, listing
from isa.model import FIELD, Mask, Memory, Operand
from isa.node import Node
from isa.schema import IDLE

_TYPE = re.compile(r"\s*([A-Za-z]+[0-9]+)\s*(?:\[([^\[\]]*)\]\s*)?")


def read_tensors(entry: Entry, index: Mapping[str, int], context: Context) -> dict[str, Tensor]:
    """The tensors of the pattern, from the types of the operands."""
    found, faults = {}, Faults()
    for name, node in entry.table("operands").items():
        with faults.item():
            found[name] = _tensor(node, index, context)
    faults.check()
    return found


def read_operand(
    node: Node, tensor: Tensor, encoding: Encoding | None, names: Collection[str], context: Context
) -> Operand:
    """One operand; `names` are those its address may use."""
    members = dict(node.items())
    found = memory_of(node, context)
    at = members["at"].text() if "at" in members else tensor.name
    if found is None:
        _check_field(node, at, tensor, encoding)
        return Operand(tensor.name, FIELD, tensor, at=at)
    if found.pointers and "address" not in members and (encoding is None or f"{tensor.name}.base" in encoding.fields):
        stride = _stride(members["stride"], members["type"]) if "stride" in members else ""
        return Operand(tensor.name, found.name, tensor, at=at, pointers=found.pointers, stride=stride)
    if "stride" in members:
        raise members["stride"].error("only an operand behind a pointer has a stride", key=True)
    when = members["when"].formula() if "when" in members else None
    if when:
        members["when"].known(when, names, context.words)
    if "address" in members:
        address = members["address"].known(members["address"].formula(), names, context.words)
    elif encoding is None or at in encoding.fields:
        address = Formula.parse(at if encoding else tensor.name)
    else:
        raise node.error(f"operand '{tensor.name}' needs an address: there is no field '{at}'", key=True)
    return Operand(tensor.name, found.name, tensor, address, when, at)


def _stride(node: Node, kind: Node) -> str:
    """The dim that an index register steps along: the outermost of the shape."""
    match = _TYPE.fullmatch(kind.text())
    outermost = (match[2] or "").split(",")[0].strip() if match else ""
    if node.text() != outermost or not outermost:
        raise node.error(f"the stride is of the outermost dim of {kind.value}, '{outermost or 'none'}'")
    return node.text()


def memory_of(node: Node, context: Context) -> Memory | None:
    """The memory an operand is in; None if it is the value of a field."""
    where = node.table("operand")["in"]
    if where.text() == FIELD:
        return None
    if where.text() not in context.memories:
        there = listing(context.memories)
        raise where.error(f"memory '{where.value}' is not declared; this file has: {there}")
    return context.memories[where.text()]


def read_mask(entry: Entry, index: Mapping[str, int], context: Context) -> Mask | None:
    """The predicate of an entry, and what its output's idle elements become."""
    if "mask" not in entry.members:
        return None
    node = entry.members["mask"]
    members = node.table("mask")
    if members["idle"].text() not in IDLE:
        raise members["idle"].error(f"'{members['idle'].value}' is not one of: {listing(IDLE)}")
    if members["in"].text() not in context.memories:
        there = listing(context.memories)
        raise members["in"].error(f"memory '{members['in'].value}' is not declared; this file has: {there}")
    memory = context.memories[members["in"].text()]
    if memory.kind != "register":
        raise members["in"].error(f"a mask is a register; '{memory.name}' is {memory.kind} memory")
    tensor = replace(_typed(node, members["type"], memory, index, context), name="k")
    if not is_integer(tensor.dtype):
        raise members["type"].error("a mask has elements of an integer type")
    return Mask(Operand("k", memory.name, tensor, Formula.parse("k"), at="k"), members["idle"].text())


def _tensor(node: Node, index: Mapping[str, int], context: Context) -> Tensor:
    identifier(node, node.name)
    memory = memory_of(node, context)
    return _typed(node, node.table("operand")["type"], memory, index, context)


def _typed(node: Node, kind: Node, memory: Memory | None, index: Mapping[str, int], context: Context) -> Tensor:
    match = _TYPE.fullmatch(kind.text())
    if match is None or not is_dtype(match[1]):
        raise kind.error(f"'{kind.value}' is not a type; write a scalar type and its shape: i8[b,i], f32[l], i32")
    shape = _shape(kind, match, index, context) if match[2] and match[2].strip() else ()
    tensor = Tensor(node.name, match[1], shape)
    size = tensor.size * bits(tensor.dtype)
    narrow = memory is not None and memory.kind == "register" and size < memory.bits
    if memory and size % memory.bits and not narrow:
        worked_out = f"{tensor.dtype}{list(shape)}, {size} bits," if shape else f"{size} bits"
        raise kind.error(f"{kind.value} is {worked_out} but one word of '{memory.name}' is {memory.bits} bits")
    if memory is None and (shape or not is_integer(tensor.dtype)):
        raise kind.error(f"a field holds one integer, not {kind.value}")
    return tensor


def _shape(node: Node, match: re.Match[str], index: Mapping[str, int], context: Context) -> tuple[int, ...]:
    shape, at = [], match.start(2)
    for text in match[2].split(","):
        shape.append(_extent(node, text, at, index, context))
        at += len(text) + 1
    return tuple(shape)


def _extent(node: Node, text: str, at: int, index: Mapping[str, int], context: Context) -> int:
    formula = node.part(text, at)
    names = {**context.names, **index}
    for name in formula.names():
        if name.text not in names:
            there = listing(index)
            raise node.error(f"index '{name.text}' has no size; `index` has: {there}", at + name.offset)
    try:
        extent = formula.value(names)
    except FormulaError as error:
        raise node.error(error.message, at) from None
    if extent < 1:
        raise node.error(f"a shape is positive, not {extent}", at)
    return extent


def _check_field(node: Node, at: str, tensor: Tensor, encoding: Encoding | None) -> None:
    if encoding is None:
        return
    if at not in encoding.fields:
        raise node.error(f"there is no field '{at}'; the fields are: {listing(encoding.fields)}", key=True)
    field = encoding.fields[at]
    room = bits(tensor.dtype) - (is_signed(tensor.dtype) and not field.signed)
    if field.width > room or (field.signed and not is_signed(tensor.dtype)):
        kind = "signed" if field.signed else "unsigned"
        raise node.error(f"field '{at}' has {field.width} {kind} bits; {tensor.dtype} cannot hold it", key=True)
