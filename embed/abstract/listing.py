"""An abstract program as text: its memories, where each tensor lies, and every step."""

from collections.abc import Iterator

import numpy as np

from embed.abstract.homes import clearing
from embed.abstract.kernel import AbstractKernel
from embed.abstract.program import Clear, Invoke, Load, Step, Store, Update, Words, steps

_LONGEST = 100_000


def listing(kernel: AbstractKernel) -> str:
    """One line for each memory, tensor and step; a program of very many steps is cut, and the last line says so."""
    lines = [*_head(kernel), ""]
    for number, step in enumerate(steps(kernel.nest, kernel.places)):
        if number == _LONGEST:
            lines.append(f"... and so on: only the first {_LONGEST:,} steps are listed")
            break
        lines.append(_line(kernel, step))
    return "\n".join(lines)


def _head(kernel: AbstractKernel) -> Iterator[str]:
    yield f"# {kernel.embedding.operator.title}"
    yield f"# {kernel.embedding}"
    yield f"# schedule {kernel.schedule}"
    for tensor, place in kernel.places.items():
        where = f"words {place.base}..{place.base + place.words - 1} of {place.home.memory}"
        if place.home.direct:
            where = f"{place.home.memory}, where the instruction reads or writes it"
        yield f"# {kernel.nest.layouts[tensor]} in {where}, {place.buffers} x {place.size} operands"


def _line(kernel: AbstractKernel, step: Step) -> str:
    match step:
        case Load(tensor, box, at):
            home = kernel.places[tensor].home
            return f"{home.entry or 'load'} {home.memory}[{at}..] = {tensor}{_box(box)}"
        case Clear(places):
            entry = clearing(kernel.places[kernel.nest.output].home, kernel.target)
            return f"{entry.name if entry else 'clear'} {_words(kernel, kernel.nest.output, places)}"
        case Invoke(places):
            tensors = kernel.embedding.binding.tensors
            operands = (f"{name}={_words(kernel, tensors[name], words)}" for name, words in places.items())
            return f"{kernel.embedding.name} x {next(iter(places.values())).size} {' '.join(operands)}"
        case Update(update, places, others):
            other = update.immediate if others is None else _words(kernel, update.access, others)
            return f"{update.instruction} {_words(kernel, kernel.nest.output, places)} {other}"
        case Store(plane, box, at):
            home = kernel.places[kernel.nest.output].home
            byte = f" byte {plane}" if kernel.nest.planes > 1 else ""
            return f"{home.entry or 'store'} {kernel.nest.output}{_box(box)} = {home.memory}[{at}..]{byte}"


def _words(kernel: AbstractKernel, tensor: str, places: Words) -> str:
    """First words of operands, all of them where they are few."""
    flat = places.reshape(-1)
    memory = kernel.places[tensor].home.memory
    if flat.size > 1 and np.array_equal(flat, np.arange(flat.size) * (flat[1] - flat[0]) + flat[0]) and flat.size > 4:
        step = flat[1] - flat[0]
        return f"{memory}[{flat[0]}..{flat[-1]}{f' by {step}' if step != 1 else ''}]"
    shown = ",".join(map(str, flat[:8])) + (",..." if flat.size > 8 else "")
    return f"{memory}[{shown}]"


def _box(box: tuple[range, ...]) -> str:
    return f"[{', '.join(f'{span.start}..{span.stop - 1}' if len(span) > 1 else str(span.start) for span in box)}]"
