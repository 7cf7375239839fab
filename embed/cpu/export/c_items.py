"""The items of a kernel as C statements: registers become variables, instructions what their templates say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dataflow.dtypes import bits
from dataflow.errors import UserError
from embed.cpu.assembler import control
from embed.cpu.assembler.control import Item
from embed.cpu.export.c_packing import c_type
from isa.c_language import CLanguage
from isa.machine import MachineInstruction
from isa.model import Isa, Operand

_SIGNS = {control.Add: "+", control.Multiply: "*", control.AddImmediate: "+", control.MultiplyImmediate: "*"}


def alias(dtype: str) -> str:
    """The C type through which an element of any tensor may be read: instructions that move bits know no types."""
    return f"any_{dtype}"


def language_of(target: Isa) -> CLanguage:
    """What the ISA file says of C; raises UserError if nothing."""
    if target.c is None:
        raise UserError(f"{target.name} does not say how it is written in C: its file has no [emit.c]")
    return target.c


@dataclass
class Body:
    """The statements of a function, and the variables that they use; `pointers` names pointer registers by number."""

    target: Isa
    pointers: Mapping[int, str]
    vectors: dict[str, str] = field(default_factory=dict)
    scalars: set[str] = field(default_factory=set)
    elements: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    frame: bool = False

    def lines(self, items: Sequence[Item]) -> list[str]:
        """One statement a line, indented; a jump back is the end of a `do`."""
        heads = set(_loops(items))
        used = {item.label for item in items if hasattr(item, "label")}
        found: list[str] = []
        depth = 1
        for item in items:
            match item:
                case control.Label(name) if name in heads:
                    found.append(f"{'    ' * depth}do {{")
                    depth += 1
                case control.Label(name):
                    found += [f"{name}:;"] if name in used else []
                case control.Loop() | control.BranchIfLess() if item.label in heads:
                    depth -= 1
                    found.append(f"{'    ' * depth}}} while ({self.condition(item)});")
                case _:
                    found += [f"{'    ' * depth}{line}" for line in self.statements(item)]
        return found

    def condition(self, item: control.Loop | control.BranchIfLess) -> str:
        if isinstance(item, control.Loop):
            return f"--{self.pointer(item.counter)}"
        return f"{self.pointer(item.left)} < {self.pointer(item.right)}"

    def statements(self, item: Item) -> Iterator[str]:
        match item:
            case MachineInstruction():
                yield from self.vector(item)
            case control.Move(dst, src):
                yield f"{self.pointer(dst)} = {self.pointer(src)};"
            case control.SetImmediate(dst, value):
                yield f"{self.pointer(dst)} = {value};"
            case control.Add(dst, src) | control.Multiply(dst, src):
                yield f"{self.pointer(dst)} {_SIGNS[type(item)]}= {self.pointer(src)};"
            case control.AddImmediate(dst, src, value) | control.MultiplyImmediate(dst, src, value):
                yield f"{self.pointer(dst)} = {self.pointer(src)} {_SIGNS[type(item)]} {value};"
            case control.LoadPointer(dst, base, disp):
                yield f"{self.pointer(dst)} = (intptr_t)*(void *const *)({self.pointer(base)} + {disp});"
            case control.LoadWord(dst, base, disp):
                yield f"{self.pointer(dst)} = *(const int32_t *)({self.pointer(base)} + {disp});"
            case control.StorePointer(src, base, disp):
                yield f"*(void **)({self.pointer(base)} + {disp}) = (void *){self.pointer(src)};"
            case control.Branch(label):
                yield f"goto {label};"
            case control.BranchIfLess(left, right, label):
                yield f"if ({self.pointer(left)} < {self.pointer(right)}) goto {label};"
            case control.BranchIfZero(register, label):
                yield f"if (!{self.pointer(register)}) goto {label};"
            case control.SetMask(mask, value, _):
                memory = next(e.mask.operand.memory for e in self.target.instructions.values() if e.mask)
                yield f"{self.register(memory, mask)} = {value:#x};"
            case control.Prefetch() | control.Return():
                return
            case _:
                raise UserError(f"{item} cannot be written in C")

    def pointer(self, number: int) -> str:
        """The variable of a pointer register; what a function keeps on the stack is an array of its own."""
        if number == control.STACK:
            self.frame = True
            return "(intptr_t)frame"
        name = self.pointers.get(number, f"r{number}")
        self.scalars.add(name)
        return name

    def register(self, memory: str, number: int) -> str:
        """The variable of a vector register."""
        name = f"{memory}{number}"
        width = self.target.memories[memory].bits
        self.vectors[name] = language_of(self.target).types.get(str(width), "")
        return name

    def vector(self, item: MachineInstruction) -> Iterator[str]:
        """What the template of an entry says of these registers and addresses."""
        entry = self.target.instructions[item.name]
        if not entry.c:
            raise UserError(f"{self.target.name}: '{entry.name}' has no emit.c, which the kernel needs")
        operands = dict(entry.operands) | ({entry.mask.operand.name: entry.mask.operand} if entry.mask else {})
        texts = {name: self.read(operand, item) for name, operand in operands.items() if f"{{{name}}}" in entry.c}
        texts |= {name: str(item[name]) for name in entry.choice}
        text = entry.c.format(**texts)
        output = entry.output
        if output is None or self.target.memories[output.memory].kind != "register":
            yield f"{text};"
            return
        yield from self.assign(output, item, text)

    def read(self, operand: Operand, item: MachineInstruction) -> str:
        """An operand as the template takes it: a value of its own type, or a pointer."""
        tensor = operand.tensor
        if operand.pointers:
            self.elements[alias(tensor.dtype)] = c_type(tensor.dtype)
            return f"({alias(tensor.dtype)} *)({self.place(operand.name, item)})"
        width = tensor.size * bits(tensor.dtype)
        if operand.memory == "field":
            return str(item[operand.name])
        whole = self.register(operand.memory, item[operand.name])
        self.used.add(whole)
        language, word = language_of(self.target), self.target.memories[operand.memory].bits
        wanted = language.type_of(tensor.dtype, tensor.size, width)
        value = language.low[str(width)].format(whole) if width < word and str(width) in language.low else whole
        return value if not wanted or wanted == self.vectors[whole] else f"({wanted}){value}"

    def place(self, name: str, item: MachineInstruction) -> str:
        base, disp, scale = self.pointer(item[f"{name}.base"]), item[f"{name}.disp"], item[f"{name}.scale"]
        index = f" + {self.pointer(item[f'{name}.index'])} * {scale}" if scale else ""
        return f"{base}{index} + {disp}" if disp else f"{base}{index}"

    def assign(self, output: Operand, item: MachineInstruction, text: str) -> Iterator[str]:
        """The output into its register, or into as many in a row as it takes."""
        word = self.target.memories[output.memory].bits
        width = output.tensor.size * bits(output.tensor.dtype)
        language, number = language_of(self.target), item[output.name]
        if width > word:
            whole = language.type_of(output.tensor.dtype, output.tensor.size, width)
            registers = [self.register(output.memory, number + part) for part in range(width // word)]
            moves = " ".join(f"{name} = several.val[{part}];" for part, name in enumerate(registers))
            yield f"{{ const {whole} several = {text}; {moves} }}"
            return
        name = self.register(output.memory, number)
        filled = language.fill.get(str(width), "") if width < word else ""
        narrow = language.types.get(str(width), "")
        value = filled.format(f"({narrow})({text})" if narrow else text) if filled else text
        yield f"{name} = ({self.vectors[name]}){value};"


def _loops(items: Sequence[Item]) -> Iterator[str]:
    """Labels that one jump back alone goes to."""
    places = {item.name: place for place, item in enumerate(items) if isinstance(item, control.Label)}
    jumps: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        if hasattr(item, "label"):
            jumps.setdefault(item.label, []).append(place)
    for label, found in jumps.items():
        if (
            len(found) == 1
            and found[0] > places[label]
            and isinstance(items[found[0]], control.Loop | control.BranchIfLess)
        ):
            yield label
