"""From an ISA file to an Isa: parameters, memories and formats here, then instructions and timing."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from os import PathLike
from pathlib import Path

from dataflow.arguments import PATH, named, of_kind
from isa.arithmetic import Formula
from isa.c_language import read_language
from isa.context import Context, identifier, layout
from isa.errors import Faults, IsaError, listing
from isa.instructions import read_instructions
from isa.model import Format, Isa, Memory, Parameter
from isa.node import Node
from isa.schema import MEMORY_KINDS, PROCESSORS, TABLES
from isa.source import Source, text_of
from isa.timing import read_timings

_LARGEST_WORD = 1 << 24


def names() -> list[str]:
    """Names of the ISAs that are shipped."""
    return sorted(entry.name.removesuffix(".toml") for entry in files("isa").iterdir() if entry.name.endswith(".toml"))


def load(name_or_path: str | PathLike[str], parameters: Mapping[str, int] | None = None) -> Isa:
    """Load a shipped ISA by name, or a file by path, with some parameters overridden.

    The same text with the same parameters is the same Isa: read, not to be changed.
    Raises IsaError for a name or file that does not exist, a mistake in the file, or a parameter it does not have.
    """
    path, label = _find(name_or_path)
    given = _integers(parameters, label)
    return _built(text_of(path, label), label, path, tuple(given.items()))


def loads(text: str, parameters: Mapping[str, int] | None = None, label: str = "isa.toml") -> Isa:
    """Load an ISA from the text of a file; `label` names it in errors."""
    given = _integers(parameters, label)
    return _build(Source.of(of_kind("isa.loads", text, str, "the text of an ISA file"), label), Path(label), given)


def _integers(overrides: Mapping[str, int] | None, label: str) -> dict[str, int]:
    found = named("parameters", overrides, object, "{'batch': 1}")
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise IsaError(f"{label}: parameter '{name}' is an integer, not {value!r}")
    return {name: value for name, value in found.items() if isinstance(value, int)}


@lru_cache(maxsize=64)
def _built(text: str, label: str, path: Path, overrides: tuple[tuple[str, int], ...]) -> Isa:
    """The Isa of the text of a file; what a shipped file extends does not change while a process runs."""
    return _build(Source.of(text, label), path, dict(overrides))


def _build(source: Source, path: Path, overrides: Mapping[str, int]) -> Isa:
    context = Context()
    layers = _layers(source, context.faults)
    parameters = _parameters(_all(layers, "parameters"), overrides, context, source.label)
    for layer in layers:
        if "memory" in layer:
            _memories(layer["memory"], context)
    for node in _all(layers, "format"):
        _formats(node, context)
    for node in _all(layers, "memory"):
        _word_formats(node, context)
    instructions = read_instructions(_all(layers, "instruction"), context)
    timings = read_timings(_all(layers, "timing"), instructions, context)
    language, processor = None, ""
    with context.faults.item():
        language = read_language(_all(layers, "emit"))
    with context.faults.item():
        processor = _processor(layers)
    context.faults.check()
    top = layers[-1]
    doc = top["doc"].text() if "doc" in top else ""
    given = (parameters, context.memories, context.formats, instructions, timings)
    return Isa(top["name"].text(), doc, path, *given, processor, language)


def _processor(layers: Iterable[Mapping[str, Node]]) -> str:
    """The processor that the file names, or the one that it extends."""
    for node in reversed(_all(layers, "processor")):
        if node.text() not in PROCESSORS:
            raise node.error(f"there is no code for '{node.value}'; a processor is one of: {listing(PROCESSORS)}")
        return node.text()
    return ""


def _layers(source: Source, faults: Faults) -> list[dict[str, Node]]:
    """The members of the file that this one extends, if it does, and then its own."""
    root = Node(source, (), source.values)
    with faults.item():
        root.members("file")
    top = root.usable("file")
    below: list[dict[str, Node]] = []
    if "extends" in top:
        with faults.item():
            below = _layers(Source.read(*_find(_shipped(top["extends"]))), faults)
    known = {key: node for layer in [*below, top] for key, node in layer.items() if key != "name" or layer is top}
    if not ("extends" in top and not below):
        with faults.item():
            root.require({**known, **source.values}, "file")
    if any(key.required and name not in known for name, key in TABLES["file"].items()):
        faults.check()
    return [*below, top]


def _shipped(base: Node) -> str:
    """The name of a shipped ISA that a file extends."""
    if base.text() not in names():
        raise base.error(f"there is no ISA '{base.value}' to extend; there are: {listing(names())}")
    return base.text()


def _all(layers: Iterable[Mapping[str, Node]], key: str) -> list[Node]:
    return [layer[key] for layer in layers if key in layer]


def _find(name_or_path: str | PathLike[str]) -> tuple[Path, str]:
    """The file, and its name in messages."""
    given = str(of_kind("isa", name_or_path, PATH, "the name of an instruction set or the path of its file"))
    if given in names():
        return Path(str(files("isa") / f"{given}.toml")), f"isa/{given}.toml"
    path = Path(given)
    if not given or "\0" in given:
        raise IsaError(f"{given!r} is not the name of a file")
    if path.is_dir():
        raise IsaError(f"{given}: error: this is a folder, not an ISA file")
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path, given
    raise IsaError(f"there is no ISA '{given}'; there are: {listing(names())}, or give the path of a file")


def _parameters(
    nodes: Iterable[Node], overrides: Mapping[str, int], context: Context, label: str
) -> tuple[Parameter, ...]:
    found = {name: entry for node in nodes for name, entry in node.items()}
    for name in overrides:
        if name not in found:
            raise IsaError(f"{label}: there is no parameter '{name}'; the parameters are: {listing(found)}")
    parameters = []
    for name, entry in found.items():
        with context.faults.item(name, entry.value):
            parameter = _parameter(name, entry, overrides, context)
            context.define(name, parameter.value, [name])
            parameters.append(parameter)
    return tuple(parameters)


def _parameter(name: str, entry: Node, overrides: Mapping[str, int], context: Context) -> Parameter:
    identifier(entry, name)
    doc = ""
    if isinstance(entry.value, dict):
        members = entry.table("parameter")
        doc = members["doc"].text() if "doc" in members else ""
        entry = members["default"]
    default = entry.integer(context.names)
    return Parameter(name, overrides.get(name, default), default, doc)


def _memories(node: Node, context: Context) -> None:
    for name, entry in node.items():
        with context.faults.item(name, entry.value):
            _add_memory(name, entry, context)
    if not context.memories and not context.faults.found:
        raise node.error("there is no memory", key=True)


def _add_memory(name: str, entry: Node, context: Context) -> None:
    identifier(entry, name)
    if name == "field":
        raise entry.error("'field' means a field of the instruction; give the memory another name", key=True)
    if name in context.memories:
        raise entry.error(f"there is already a memory '{name}' in the file that this one extends", key=True)
    memory, sizes = _memory(name, entry, context)
    context.memories[name] = memory
    context.define(f"{name}.bits", memory.bits, context.origins_of(*sizes))
    if memory.count is not None:
        context.define(f"{name}.count", memory.count, context.origins_of(*sizes))


def _memory(name: str, entry: Node, context: Context) -> tuple[Memory, list[Formula]]:
    members = entry.table("memory")
    kind = members["kind"].text()
    if kind not in MEMORY_KINDS:
        raise members["kind"].error(f"unknown kind '{kind}'; a memory is one of: {listing(MEMORY_KINDS)}")
    bits = members["bits"].integer(context.names, 8)
    if bits % 8 or bits > _LARGEST_WORD:
        raise members["bits"].error(f"a word is a multiple of 8 bits and at most {_LARGEST_WORD}, not {bits}")
    doc = members["doc"].text() if "doc" in members else ""
    sizes = [members[key].formula() for key in ("bits", "count", "bytes") if key in members]
    pads = members["pads"].integer(context.names, 0) if "pads" in members else 0
    pointers = _pointers(members["pointers"], context) if "pointers" in members else ""
    count = _count(members, kind, bits, entry, context)
    return Memory(name, kind, bits, count, doc, pads=pads, pointers=pointers), sizes


def _pointers(node: Node, context: Context) -> str:
    """The memory of pointer registers that a memory names; it stands above."""
    found = context.memories.get(node.text())
    if found is None or found.kind != "register":
        there = listing(name for name, memory in context.memories.items() if memory.kind == "register")
        raise node.error(f"there is no register memory '{node.value}' above; there are: {there}")
    return found.name


def _count(members: Mapping[str, Node], kind: str, bits: int, entry: Node, context: Context) -> int | None:
    given = [key for key in ("count", "bytes") if key in members]
    if kind == "external":
        if given:
            raise members[given[0]].error("external memory has no size", key=True)
        return None
    if len(given) != 1:
        raise entry.error(f"'{entry.name}' needs its size: write count, or bytes", key=True)
    size = members[given[0]].integer(context.names, 1)
    if given == ["count"]:
        return size
    if size * 8 % bits:
        whole = max(1, size * 8 // bits) * bits // 8
        raise members["bytes"].error(f"{size} bytes are not a whole number of words of {bits} bits; {whole} are")
    return size * 8 // bits


def _formats(node: Node, context: Context) -> None:
    for name, entry in node.items():
        with context.faults.item(name, entry.value):
            identifier(entry, name)
            if name in context.formats:
                raise entry.error(f"there is already a format '{name}' in the file that this one extends", key=True)
            members = entry.table("format")
            doc = members["doc"].text() if "doc" in members else ""
            context.formats[name] = Format(name, layout(members, context), doc)


def _word_formats(node: Node, context: Context) -> None:
    """Tie memories to the formats of their words: an address may then read `uop[u].dst`."""
    for name, entry in node.items():
        if name in context.memories and "format" in entry.value:
            with context.faults.item(name, entry.value):
                _word_format(context.memories[name], dict(entry.items())["format"], context)


def _word_format(memory: Memory, node: Node, context: Context) -> None:
    used = context.format(node)
    if used.encoding.size != memory.bits:
        raise node.error(
            f"format '{used.name}' has {used.encoding.size} bits but one word of '{memory.name}' has {memory.bits}"
        )
    context.memories[memory.name] = replace(memory, format=used.name)
    context.words.update({f"{memory.name}.{field}": None for field in used.encoding.fields})
