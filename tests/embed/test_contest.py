"""Programs that race: the fewest cycles win, of those alike one is made, and a factor asks for more than a few less."""

from dataclasses import dataclass

from regular import SMALL

import embed
from dataflow import conv2d
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.joint import Contest, Entrant


@dataclass(frozen=True)
class Timed:
    cycles: int


def test_each_program_races_with_the_best_so_far() -> None:
    solutions = list(embed.alternatives(conv2d(c=3, h=5, w=5, k=4, r=3, s=3), SMALL))[:5]
    cycles = dict(zip((str(one.embedding) for one in solutions), (1000, 990, 970, 970, 5000), strict=True))
    limits = []

    def made(embedding: Embedding, below: int | None) -> Timed:
        limits.append(below)
        found = cycles[str(embedding)]
        if below is not None and found >= below:
            raise NoEmbedding("too slow")
        return Timed(found)

    contest = Contest(made, lambda _, price: price.total, lambda embedding: min(cycles[str(embedding)], 980), 5)
    entrants = [Entrant(one.embedding, one.costs) for one in solutions]
    first = entrants[0]
    assert contest.total is None
    assert contest.may_win(first)
    for one in entrants:
        contest.enter(one, 1.02)
    assert limits == [None, 981]
    assert contest.best == (entrants[2], Timed(970))
    assert contest.total == 970
    assert contest.may_win(first)
    assert contest.may_win(first, 969 / first.price.total)
    assert not contest.may_win(first, 970 / first.price.total)
