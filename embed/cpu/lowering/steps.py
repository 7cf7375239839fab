"""The steps of a sum inside one tile as instructions: loads, and the multiply-accumulates that wait for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from embed.cpu.assembler.program import Fields, Filled, Repeat
from embed.cpu.lowering.loads import Loads, Place, Word, moved
from embed.cpu.lowering.roles import Roles

Taker = tuple[int, int, int]
"""What needs a passing word: the accumulator, the place of the held word, and the lane of that."""


@dataclass(slots=True)
class Steps:
    """What a step does, at the words of the first: `places` are held in `keep`, those of `uses` pass through `free`.

    `fields` are of the multiply-accumulate: output, held operand, passing one, and the lane if it picks one itself;
    `expand` makes of it the instructions that it stands for, if that is not just one.
    """

    roles: Roles
    fields: Fields
    held: Loads
    passed: Loads
    places: Sequence[Word]
    keep: Sequence[int]
    uses: Mapping[Word, Sequence[Taker]]
    free: Sequence[int]
    expand: Callable[[Filled], list[Filled]] | None = None

    def all(self, held: Sequence[Place], passed: Sequence[Place]) -> list[Filled] | Repeat:
        """The steps whose words lie so far from those of the first."""
        if self.alike(held):
            moves = ((self.held, held), (self.passed, passed))
            run = self.run(held[:1], passed[:1])
            return Repeat(run, {loads.pointer: [disp for (disp, _, _), _ in own] for loads, own in moves})
        return self.run(held, passed)

    def alike(self, held: Sequence[Place]) -> bool:
        """Whether steps differ in nothing but displacements, and encodings hold all of these."""
        if self.roles.pair or self.roles.indexed is not None or self.held.limited or self.passed.limited:
            return False
        return all(before != after for before, after in pairwise(held))

    def run(self, held: Sequence[Place], passed: Sequence[Place]) -> list[Filled]:
        """The instructions of some steps, in order."""
        found: list[Filled] = []
        words = [moved(word, move) for move, _ in passed for word in self.uses]
        arrivals = self.passing(words)
        loaded: list[Word | None] = [None] * len(self.places)
        made: dict[tuple[int, int, int], list[Filled]] = {}
        for move, lane in held:
            found += self.arriving([moved(word, move) for word in self.places], loaded)
            for number, takers in enumerate(self.uses.values()):
                load, register = next(arrivals)
                if load is not None:
                    found.append(load)
                key = number, register, lane
                if key not in made:
                    made[key] = self.multiplies(takers, register, lane)
                found += made[key]
        return found

    def arriving(self, words: Sequence[Word], loaded: list[Word | None]) -> Iterator[Filled]:
        """The loads of held words that are not in their registers yet, neighbours two at a time."""
        keep, place = self.keep, 0
        while place < len(words):
            word, following = words[place], words[place + 1 : place + 2]
            if loaded[place] == word:
                place += 1
            elif self.roles.pair and self.held.is_pair(word, following) and keep[place + 1] == keep[place] + 1:
                yield self.held.pair(keep[place], word)
                loaded[place : place + 2] = word, *following
                place += 2
            else:
                yield self.held.load(keep[place], word)
                loaded[place] = word
                place += 1

    def passing(self, words: Sequence[Word]) -> Iterator[tuple[Filled | None, int]]:
        """For each word in turn its register, and the load that brings it unless the one before has."""
        slots = self.free[:-1:2] if self.roles.pair else []
        turn, ahead = 0, -1
        for number, word in enumerate(words):
            if ahead >= 0:
                yield None, ahead
                ahead = -1
                continue
            register = slots[turn % len(slots)] if slots else self.free[number % len(self.uses) % len(self.free)]
            turn += 1
            if slots and self.passed.is_pair(word, words[number + 1 : number + 2]):
                ahead = register + 1
                yield self.passed.pair(register, word), register
            else:
                yield self.passed.load(register, word), register

    def multiplies(self, takers: Sequence[Taker], register: int, lane: int) -> list[Filled]:
        """The multiply-accumulates of a passing word in a register, for a step at some lane of the held words."""
        fields, keep = self.fields, self.keep
        found: list[Filled] = [(fields, accumulator, keep[place], register) for accumulator, place, _ in takers]
        if self.roles.indexed is not None:
            found = [(*each, lane + own) for each, (_, _, own) in zip(found, takers, strict=True)]
        return found if self.expand is None else [part for each in found for part in self.expand(each)]
