"""The [[instruction]] entries of an ISA file."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dataflow.computation import Computation, Tensor
from dataflow.dtypes import bits
from isa.arithmetic import Formula
from isa.c_language import read_template
from isa.context import Context, identifier, layout
from isa.encoding import Encoding
from isa.entries import Entry, read_entry
from isa.errors import Faults, IsaError, listing
from isa.forms import Form
from isa.model import FIELD, Instruction, Mask, Operand, Repeat
from isa.node import Node
from isa.operands import memory_of, read_mask, read_operand, read_tensors
from isa.patterns import read_patterns
from isa.rounding import SUMMATIONS
from isa.schema import CACHES, DENORMALS
from isa.sdm import Place, SdmError, features, read_form
from isa.sequences import read_sequence, with_sequence


def read_instructions(nodes: Iterable[Node], context: Context) -> dict[str, Instruction]:
    """Every entry of these lists by name, in their order."""
    instructions: dict[str, Instruction] = {}
    entries: dict[str, Entry] = {}
    for node in (Node(list_.source, (*list_.path, i), value) for list_ in nodes for i, value in enumerate(list_.value)):
        with context.faults.item(str(node.value.get("name", "")), node.value):
            entry = read_entry(node, entries)
            instruction = _instruction(entry, context)
            if instruction.output is not None or "sequence" in entry.members:
                instruction = _sequenced(entry, instruction, instructions, context)
            _check_distinct(instruction, instructions.values(), entry)
            instructions[entry.name] = instruction
            entries[entry.name] = entry
    return instructions


def _sequenced(
    entry: Entry, instruction: Instruction, known: Mapping[str, Instruction], context: Context
) -> Instruction:
    """The entry with the instructions that it stands for, if it does."""
    if instruction.output is None:
        raise entry.members["sequence"].error("a sequence has one pattern, which says what it does", key=True)
    parts = read_sequence(entry, instruction.operands, instruction.output.name, known, context)
    return with_sequence(instruction, parts, known)


def _check_distinct(new: Instruction, before: Iterable[Instruction], entry: Entry) -> None:
    for old in before:
        if (
            old.encoding
            and new.encoding
            and old.encoding.size == new.encoding.size
            and old.fixed_bits == new.fixed_bits
        ):
            raise entry.node.error(
                f"'{new.name}' has the same bits as '{old.name}'; tell them apart with `set`", key=True
            )


def _instruction(entry: Entry, context: Context) -> Instruction:
    index, choice = _extents(entry, "index", context), _extents(entry, "choice", context)
    tensors = read_tensors(entry, index, context)
    encoding = _encoding(entry, choice, context)
    fixed = _fixed(entry, encoding, context)
    statements, variants = read_patterns(entry, index, choice, tensors)
    repeat = _repeat(entry, encoding, context)
    names = _names(encoding, repeat, context)
    mask = read_mask(entry, index, context)
    operands = _operands(entry, tensors, statements, _Scope(encoding, names, context))
    _check_mask(mask, operands, variants, entry)
    _check_room(entry, operands, context)
    return Instruction(
        name=entry.name,
        doc=entry.text("doc"),
        index={name: extent for statement in statements for name, extent in statement.extents.items()},
        choice=choice,
        pattern=variants[0] if variants else None,
        variants=variants,
        operands=operands,
        repeat=repeat,
        when=_formula(entry.members["when"], names, context) if "when" in entry.members else None,
        requires=entry.texts("requires"),
        syntax=entry.text("syntax"),
        notation=_notation(entry),
        encoding=encoding,
        fixed=fixed,
        like=entry.text("like") or None,
        mask=mask,
        denormals=_one_of(entry, "denormals", DENORMALS),
        caches=_one_of(entry, "caches", CACHES),
        summation=_one_of(entry, "summation", tuple(SUMMATIONS)),
        form=_form(entry, operands, mask, context),
        c=_c(entry, operands, choice, mask),
        statements=statements,
    )


def _c(entry: Entry, operands: Mapping[str, Operand], choice: Mapping[str, int], mask: Mask | None) -> str:
    if "emit" not in entry.members:
        return ""
    names = (*operands, *choice, *([mask.operand.name] if mask else []))
    return read_template(entry.members["emit"], names)


def _one_of(entry: Entry, key: str, known: Collection[str]) -> str:
    if key in entry.members and entry.text(key) not in known:
        raise entry.members[key].error(f"'{entry.text(key)}' is not one of: {listing(known)}")
    return entry.text(key)


def _check_mask(
    mask: Mask | None, operands: Mapping[str, Operand], variants: tuple[Computation, ...], entry: Entry
) -> None:
    """A mask has one element for each element of the output, and of what is read from external memory."""
    if mask is None:
        return
    if not variants or mask.operand.name in operands:
        raise entry.members["mask"].error("a mask belongs to a pattern without an operand 'k'", key=True)
    if any(operand.stride for operand in operands.values()):
        raise entry.members["mask"].error("a strided operand takes no mask", key=True)
    pattern, shape = variants[0], mask.operand.tensor.shape
    for name, read in pattern.accesses.items():
        outer = name == pattern.output.tensor or operands[name].pointers
        if outer and (operands[name].tensor.shape != shape or read.index != pattern.output.index):
            raise entry.members["mask"].error(f"'{read}' is not one element for each lane of the mask", key=True)


def _check_room(entry: Entry, operands: Mapping[str, Operand], context: Context) -> None:
    """Every memory holds the operands of one invocation, all at once."""
    words: dict[str, dict[str, int]] = {}
    for name, operand in operands.items():
        memory = context.memories.get(operand.memory)
        if memory is None or memory.count is None:
            continue
        taken = words.setdefault(memory.name, {})
        taken[name] = -(-operand.tensor.size * bits(operand.tensor.dtype) // memory.bits)
        if sum(taken.values()) > memory.count:
            total, shares = sum(taken.values()), listing(f"{each} {count}" for each, count in taken.items())
            raise entry.inner("operands", name).error(
                f"one invocation takes {total} words of '{memory.name}' ({shares}), which has {memory.count}",
                key=True,
            )


def _form(entry: Entry, operands: Mapping[str, Operand], mask: Mask | None, context: Context) -> Form | None:
    """What an x86 entry is to the assembler; None for entries in no manual's notation."""
    if not _notation(entry):
        return None
    shown = dict(operands)
    if mask and "{k}" in entry.text("syntax"):
        shown["k"], mask = mask.operand, None
    places = {name: _place(operand, context) for name, operand in shown.items()}
    try:
        zeroing = mask is not None and mask.idle == "zero"
        form = read_form(entry.text("syntax"), _notation(entry), places, "k" if mask else "", zeroing)
        needed = features(form.code)
    except SdmError as error:
        raise entry.members.get(error.key, entry.node).error(f"{entry.name}: {error.message}") from None
    if set(entry.texts("requires")) != needed:
        node = entry.members.get("requires", entry.node)
        raise node.error(f"{entry.name} requires exactly: {listing(sorted(needed))}")
    return form


def _place(operand: Operand, context: Context) -> Place:
    """An operand as the assembler sees it."""
    size = operand.tensor.size * bits(operand.tensor.dtype)
    if operand.memory == FIELD:
        return Place(FIELD, FIELD, 0, size, operand.at)
    memory = context.memories[operand.memory]
    return Place(memory.name, memory.kind, memory.count or 0, size, operand.at, bool(operand.stride))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What formulas of an entry may use."""

    encoding: Encoding | None
    names: Collection[str]
    context: Context


def _extents(entry: Entry, key: str, context: Context) -> dict[str, int]:
    extents: dict[str, int] = {}
    for name, node in entry.table(key).items():
        identifier(node, name)
        if name in context.names:
            raise node.error(f"'{name}' is already a parameter; use another name", key=True)
        extents[name] = node.integer(context.names, 1)
    return extents


def _notation(entry: Entry) -> str:
    node = entry.members.get("encoding")
    return node.value if node and isinstance(node.value, str) else ""


def _encoding(entry: Entry, choice: Mapping[str, int], context: Context) -> Encoding | None:
    if "format" in entry.members and "encoding" in entry.members:
        raise entry.members["encoding"].error("an entry has a format or an encoding, not both", key=True)
    if "format" in entry.members:
        return context.format(entry.members["format"]).encoding
    node = entry.members.get("encoding")
    if node is None or isinstance(node.value, str):
        return None
    return layout(node.table("encoding"), context, _implied_widths(entry, choice, context))


def _implied_widths(entry: Entry, choice: Mapping[str, int], context: Context) -> dict[str, int]:
    """Bits of a field that is written by name alone: enough to number the operand's words or the choice's values."""
    counts = dict(choice)
    for name, node in entry.table("operands").items():
        memory = memory_of(node, context)
        if memory and memory.count:
            counts[name] = memory.count
    return {name: max(1, (count - 1).bit_length()) for name, count in counts.items()}


def _fixed(entry: Entry, encoding: Encoding | None, context: Context) -> dict[str, int]:
    """The values of the fields that make this entry; a manual's notation knows its own fields."""
    if _notation(entry):
        return {name: node.integer(context.names) for name, node in entry.settings.items()}
    fixed = dict(encoding.defaults) if encoding else {}
    for name, node in entry.settings.items():
        if encoding is None or name not in encoding.fields:
            there = listing(encoding.fields if encoding else ())
            raise node.error(f"there is no field '{name}' to set; the fields are: {there}", key=True)
        fixed[name] = node.integer(context.names)
        try:
            encoding.fields[name].place(fixed[name])
        except IsaError as error:
            raise node.error(str(error)) from None
    return fixed


def _names(encoding: Encoding | None, loops: Iterable[Repeat], context: Context) -> dict[str, None]:
    """The names that a formula may use while an instruction runs."""
    fields = encoding.fields if encoding else ()
    return dict.fromkeys((*fields, *(loop.name for loop in loops), *context.names))


def _formula(node: Node, names: Collection[str], context: Context) -> Formula:
    return node.known(node.formula(), names, context.words)


def _repeat(entry: Entry, encoding: Encoding | None, context: Context) -> tuple[Repeat, ...]:
    loops: list[Repeat] = []
    for name, node in entry.table("repeat").items():
        names = _names(encoding, loops, context)
        identifier(node, name)
        if name in names:
            raise node.error(f"'{name}' is already a field or parameter; use another name", key=True)
        loops.append(_loop(name, node, names, context))
    return tuple(loops)


def _loop(name: str, node: Node, names: Collection[str], context: Context) -> Repeat:
    node.check("formula")
    start, dots, stop = str(node.value).partition("..")
    if not dots:
        return Repeat(name, Formula.parse("0"), _formula(node, names, context))
    places = ((start, 0), (stop, len(start) + 2))
    return Repeat(name, *(node.known(node.part(text, at), names, context.words, at) for text, at in places))


def _operands(
    entry: Entry, tensors: Mapping[str, Tensor], statements: tuple[Computation, ...], scope: _Scope
) -> dict[str, Operand]:
    """The operands the statements use."""
    if not statements:
        return {}
    nodes = entry.table("operands")
    used = {tensor.name for statement in statements for tensor in statement.tensors}
    operands, faults = {}, Faults()
    for name in nodes:
        with faults.item():
            if name in used:
                operands[name] = read_operand(nodes[name], tensors[name], scope.encoding, scope.names, scope.context)
    faults.check()
    for name in dict.fromkeys(statement.output.tensor for statement in statements):
        _check_output(operands[name], nodes[name])
    return operands


def _check_output(output: Operand, node: Node) -> None:
    if output.memory == FIELD:
        raise node.error("the pattern writes a field; an output is in a memory", key=True)
    if output.when:
        raise dict(node.items())["when"].error("an output has no `when`; guard the whole entry", key=True)
