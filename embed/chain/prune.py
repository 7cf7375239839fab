"""Options that no plan of at most so many cycles takes, left out by what their neighbours and copies cost at least."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from embed.chain.options import Flow, Form, Offers
from embed.embedding import Array


def hopeful(offers: Offers, known: int) -> Offers:
    """The offers without options that are in no plan of at most `known` cycles."""
    while True:
        kept = [
            [option for option, floor in zip(options, floors, strict=True) if floor <= known]
            for options, floors in zip(offers.options, _floors(offers), strict=True)
        ]
        if sum(map(len, kept)) == sum(map(len, offers.options)):
            return offers
        offers = replace(offers, options=kept)


def _floors(offers: Offers) -> list[Array]:
    """Cycles that no plan with an option goes below, for each operator's options: each flow beside it pays once."""
    cycles = [np.array([option.cycles for option in options]) for options in offers.options]
    spare = [one - one.min() for one in cycles]
    floors = [one + sum(other.min() for other in cycles) for one in spare]
    for flow in offers.chain.flows:
        for place, paid in _beside(offers, flow, spare):
            floors[place] = floors[place] + paid
    return floors


def _beside(offers: Offers, flow: Flow, spare: Sequence[Array]) -> Iterator[tuple[int, Array]]:
    """The operators that write and read a flow, and what each of their options pays at least at the other end.

    That is a copy, and what the other operator then takes beyond the cheapest of its options, its `spare` cycles.
    """
    source = () if flow.source is None else offers.options[flow.source]
    made, own = _distinct([option.made for option in source] or [offers.ends[flow.name]])
    writing = np.zeros(1, np.int64) if flow.source is None else _least(spare[flow.source], own)
    written = np.zeros(len(made), np.int64)
    read: dict[int, Array] = {}
    for place, entry in flow.readers:
        given, there = _distinct([option.given[entry] for option in offers.options[place]])
        copies = _copies(offers, made, given)
        paid = (writing[:, None] + copies).min(axis=0)[there]
        read[place] = np.maximum(read.get(place, 0), paid)
        written = np.maximum(written, (_least(spare[place], there) + copies).min(axis=1))
    if flow.leaves:
        written = _copies(offers, made, [offers.ends[flow.name]])[:, 0]
    yield from read.items()
    if flow.source is not None:
        yield flow.source, written[own]


def _distinct(forms: Iterable[Form]) -> tuple[list[Form], Array]:
    """Each form once, and where each of the forms is among these."""
    found: dict[Hashable, Form] = {}
    keys = [form.key for form in forms if found.setdefault(form.key, form)]
    places = {key: place for place, key in enumerate(found)}
    return list(found.values()), np.array([places[key] for key in keys])


def _least(values: Array, places: Array) -> Array:
    """The least of the values at each place."""
    found = np.full(places.max() + 1, values.max())
    np.minimum.at(found, places, values)
    return found


def _copies(offers: Offers, made: Sequence[Form], given: Sequence[Form]) -> Array:
    """Cycles of a copy from each form to each other."""
    return np.array([[offers.repack(before, after) for after in given] for before in made])
