"""An operator rewritten for the sake of its embeddings, and the map from its iteration points back to the user's."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim
from dataflow.expression import Read, map_reads
from dataflow.operator import Operator
from embed.binding import named_accesses

Array = npt.NDArray[Any]


class Refused(Exception):
    """A relaxation does not apply, and why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One relaxation of an operator: its name, the dims it is about, and its factor."""

    kind: str
    dims: tuple[str, ...]
    factor: int

    def __str__(self) -> str:
        return f"{self.kind} {','.join(self.dims)}:{self.factor}"


@dataclass(frozen=True)
class Rewritten:
    """`operator`, made from the operator `user` by `steps`.

    `places` gives the user's dims that are gone as functions of the new ones. A point of the rewritten box is one of
    the user's if these lie in the user's box and every function of `zeros` is zero there; others are added points.
    `held` are dims that the steps were made for: an embedding with one of them in a loop has a better one without the
    step. Of two dims in `apart` the first stands in lanes, and not in the lane dimension of the other. The output has a
    first axis for each dim of `parts`, the last one first; the user's is the sum over these.
    """

    user: Operator
    operator: Operator
    steps: tuple[Step, ...] = ()
    places: tuple[tuple[str, Affine], ...] = ()
    zeros: tuple[Affine, ...] = ()
    held: tuple[str, ...] = ()
    apart: tuple[tuple[str, str], ...] = ()
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join(map(str, self.steps))

    def summed(self, output: Array) -> Array:
        """The user's output from that of the rewritten operator."""
        for _ in self.parts:
            output = output.sum(axis=0, dtype=output.dtype)
        return output

    @property
    def where(self) -> str:
        """The user's dims that are gone, and what is zero at the user's points, in words."""
        gone = [f"{dim} = {function}" for dim, function in self.places]
        return ", ".join([*gone, *(f"{function} = 0" for function in self.zeros)])

    @cached_property
    def functions(self) -> dict[str, Affine]:
        """Each of the user's dims as a function of the rewritten operator's."""
        known = dict(self.places)
        return {dim: known.get(dim, Affine(((dim, 1),))) for dim in self.user.main.extents}

    def back(self, points: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
        """The user's coordinates of points of the rewritten box, and which are points of the user's at all."""
        found = {dim: values(function, points) for dim, function in self.functions.items()}
        real = np.ones((), bool)
        for dim, extent in self.user.main.extents.items():
            real = real & (found[dim] >= 0) & (found[dim] < extent)
        for function in self.zeros:
            real = real & (values(function, points) == 0)
        return found, real

    def changed(
        self,
        step: Step,
        dims: Mapping[str, tuple[Dim, ...]],
        places: Mapping[str, Affine],
        *,
        reads: Callable[[str, Read], Read] | None = None,
        zeros: Iterable[Affine] = (),
        held: tuple[str, ...] = (),
        apart: tuple[tuple[str, str], ...] = (),
    ) -> "Rewritten":
        """One step more: `dims` replaces dims of the box, and `places` gives those as functions of the new ones.

        `reads` changes accesses further, each given with its name, after `places` has been put into them. Raises
        Refused where an added point would multiply by no zero.
        """
        main = self.operator.main
        _check_ends(main, {new.name: new.extent for found in dims.values() for new in found}, places)
        box = tuple(new for dim in main.dims for new in dims.get(dim.name, (dim,)))
        names = iter(named_accesses(main))

        def access(read: Read) -> Read:
            name, found = next(names), Read(read.tensor, tuple(index.replaced(places) for index in read.index))
            return reads(name, found) if reads else found

        output = access(main.output)
        relaxed = replace(main, dims=box, output=output, body=map_reads(main.body, access))
        known = {dim: function.replaced(places) for dim, function in self.functions.items()}
        return Rewritten(
            self.user,
            replace(self.operator, statements=(relaxed, *self.operator.epilogue)),
            (*self.steps, step),
            tuple((dim, function) for dim, function in known.items() if function != Affine(((dim, 1),))),
            (*(function.replaced(places) for function in self.zeros), *zeros),
            (*(dim for dim in self.held if dim not in dims), *held),
            (*(pair for pair in self.apart if dims.keys().isdisjoint(pair)), *apart),
            self.parts,
        )


@dataclass(frozen=True, slots=True)
class Relaxation:
    """A kind of rewriting: what a step's names are `about`, how many they are and how many of them, the first, dims.

    `sites` gives the names that it may apply to; `rewrite` adds a step to what is known or raises Refused.
    """

    name: str
    about: str
    names: int
    dims: int
    sites: Callable[[Computation], Iterator[tuple[str, ...]]]
    rewrite: Callable[[Rewritten, tuple[str, ...], int], Rewritten]

    def apply(self, known: Rewritten, names: tuple[str, ...], factor: int) -> Rewritten:
        """One step more; raises Refused."""
        extents = known.operator.main.extents
        if len(names) != self.names:
            raise Refused(f"it is about {self.about}")
        unknown = [dim for dim in names[: self.dims] if dim not in extents]
        if unknown:
            raise Refused(f"there is no dim '{unknown[0]}'; there are: {', '.join(extents)}")
        return self.rewrite(known, names, factor)


def _check_ends(main: Computation, extents: Mapping[str, int], places: Mapping[str, Affine]) -> None:
    """Where a dim leaves its box, what it is for must leave its tensor: the output, or for a summed dim an input."""
    spans = {dim: (0, extent - 1) for dim, extent in main.extents.items()}
    spans |= {dim: place.bounds(extents) for dim, place in places.items()}
    for dim in places:
        extent = main.extents[dim]
        needed = (main.output,) if dim in main.output_dims else main.reads
        for beyond in ((extent, spans[dim][1]), (spans[dim][0], -1)):
            if beyond[0] <= beyond[1] and not any(_leaves(main, read, {**spans, dim: beyond}) for read in needed):
                raise Refused(f"{dim} would leave 0..{extent - 1} where {_listed(needed)} stays within its tensor")


def _leaves(main: Computation, read: Read, spans: Mapping[str, tuple[int, int]]) -> bool:
    """Whether an access lies outside its tensor at every point of a box."""
    for index, size in zip(read.index, main.tensor(read.tensor).shape, strict=True):
        ends = [sorted(coefficient * end for end in spans[dim]) for dim, coefficient in index.terms]
        low = index.constant + sum(low for low, _ in ends)
        high = index.constant + sum(high for _, high in ends)
        if high < 0 or low >= size:
            return True
    return False


def _listed(reads: Iterable[Read]) -> str:
    return " and ".join(map(str, reads))


def new_names(main: Computation, *wanted: str) -> tuple[str, ...]:
    """The wanted names of dims, each with zeros behind it until the operator has no such dim."""
    found = []
    for name in wanted:
        while name in main.extents:
            name += "0"
        found.append(name)
    return tuple(found)


def values(function: Affine, points: Mapping[str, Array]) -> Array:
    """The values of an affine function at points, an array for each dim."""
    total: Array = np.asarray(function.constant)
    for dim, coefficient in function.terms:
        total = total + coefficient * points[dim]
    return total
