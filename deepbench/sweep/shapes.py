"""The shapes of a sweep: every combination of the values that `--set` gives to the parameters of an ISA file."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import isa
from dataflow import UserError
from deepbench.abstract.typed import Typed
from deepbench.suite import Settings
from embed.cli.operators import read_pairs
from embed.errors import NoEmbedding
from isa.arithmetic import Formula, FormulaError
from isa.errors import IsaError

Axes = Mapping[str, Sequence[Formula]]
"""Parameters in the order of the command line, each with its values: formulas over the ones before it."""

_COMMA = re.compile(r",(?![^()]*\))")
"""One outside parentheses: `8,min(a,b)` are two formulas."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One combination: the parameters that the sweep sets, and `refusal`, why the ISA file does not take them, or "".

    `macs` are the multiply-accumulates a cycle of its fastest instruction, 0 where it is refused. `series` names the
    values it has in common with the shapes that differ in the first parameter and what follows from it.
    """

    settings: Settings
    series: str
    macs: float = 0.0
    refusal: str = ""

    @property
    def name(self) -> str:
        return _named(self.settings.parameters)


def read_axes(words: Sequence[str]) -> dict[str, list[Formula]]:
    """The axes of `--set block_in=8,16 --set block_out=block_in`; raises UserError where there are none."""
    if not words:
        raise UserError("a sweep needs --set NAME=VALUE,VALUE,..., e.g. --set block_in=8,16,32,64")
    pairs = read_pairs("--set", words)
    return {name: [_formula(name, part) for part in _COMMA.split(text)] for name, text in pairs.items()}


def shapes(asked: Settings, axes: Axes) -> list[Shape]:
    """The product of the axes, the last one fastest, each shape once; `asked` is what they have in common.

    Raises UserError for a parameter that the file does not have, or if it refuses every shape.
    """
    isa.load(asked.isa, {name: 0 for name in axes if name not in isa.load(asked.isa).parameters})
    free = [name for name in list(axes)[1:] if len(axes[name]) > 1]
    found = [_shape(replace(asked, parameters=each), free) for each in dict.fromkeys(_combinations(axes))]
    if all(shape.refusal for shape in found):
        raise UserError(f"{found[0].name}: {found[0].refusal}")
    return found


def _formula(name: str, text: str) -> Formula:
    try:
        return Formula.parse(text)
    except FormulaError as fault:
        raise UserError(f"--set: {name}={text}: {fault.message}") from None


def _combinations(axes: Axes) -> Iterator[tuple[tuple[str, int], ...]]:
    for row in product(*axes.values()):
        values: dict[str, int] = {}
        for name, formula in zip(axes, row, strict=True):
            try:
                values[name] = formula.value(values)
            except FormulaError as fault:
                raise UserError(f"--set: {name}={formula}: {fault.message}") from None
        yield tuple(values.items())


def _shape(settings: Settings, free: Collection[str]) -> Shape:
    series = _named(pair for pair in settings.parameters if pair[0] in free)
    try:
        target = isa.load(settings.isa, dict(settings.parameters))
        return Shape(settings, series, Typed.of(target).macs_per_cycle)
    except (IsaError, NoEmbedding) as error:
        return Shape(settings, series, refusal=str(error).splitlines()[0])


def _named(parameters: Iterable[tuple[str, int]]) -> str:
    return " ".join(f"{name}={value}" for name, value in parameters)
