"""Affine index functions: a sum of integer multiples of dims and a constant, such as `2*y+r-1`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Affine:
    """`sum(coefficient * dim) + constant`; terms are in the order written, each dim once, no zero coefficient."""

    terms: tuple[tuple[str, int], ...]
    constant: int = 0

    @classmethod
    def of(cls, terms: Iterable[tuple[str, int]], constant: int = 0) -> "Affine":
        """Collect like terms and drop those that cancel."""
        total: dict[str, int] = {}
        for dim, coefficient in terms:
            total[dim] = total.get(dim, 0) + coefficient
        return cls(tuple((dim, value) for dim, value in total.items() if value), constant)

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple([dim for dim, _ in self.terms])

    def coefficient(self, dim: str) -> int:
        for name, value in self.terms:
            if name == dim:
                return value
        return 0

    def evaluate(self, point: Mapping[str, int]) -> int:
        return self.constant + sum(coefficient * point[dim] for dim, coefficient in self.terms)

    def bounds(self, extents: Mapping[str, int]) -> tuple[int, int]:
        """Smallest and largest value over the box `0 <= dim < extents[dim]`."""
        low = high = self.constant
        for dim, coefficient in self.terms:
            reach = coefficient * (extents[dim] - 1)
            if reach < 0:
                low += reach
            else:
                high += reach
        return low, high

    def shifted(self, origin: Mapping[str, int]) -> "Affine":
        """The same function of dims that count from `origin`."""
        moved = sum(coefficient * origin.get(dim, 0) for dim, coefficient in self.terms)
        return Affine(self.terms, self.constant + moved)

    def replaced(self, places: Mapping[str, "Affine"]) -> "Affine":
        """The function with dims replaced by affine functions of others; dims that `places` lacks stay."""
        terms: list[tuple[str, int]] = []
        constant = self.constant
        for dim, coefficient in self.terms:
            place = places.get(dim)
            terms += [(dim, coefficient)] if place is None else [(n, coefficient * c) for n, c in place.terms]
            constant += 0 if place is None else coefficient * place.constant
        return Affine.of(terms, constant)

    def __str__(self) -> str:
        text = ""
        for dim, coefficient in self.terms:
            magnitude = dim if abs(coefficient) == 1 else f"{abs(coefficient)}*{dim}"
            text += ("-" if coefficient < 0 else "+" if text else "") + magnitude
        if self.constant or not text:
            text += f"{self.constant:+d}" if text else str(self.constant)
        return text
