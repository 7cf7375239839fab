"""From an embedding and a schedule to the loop nest."""

from embed import layout
from embed.embedding import Embedding
from embed.epilogue import Epilogue
from embed.epilogue import Pass as EpiloguePass
from embed.layout import Layout
from embed.nest.ir import Compute, Drain, Fill, Nest, Node, Pass, Points, Reset, Tail, Tiles
from embed.nest.schedule import Schedule


def build(embedding: Embedding, schedule: Schedule, epilogue: Epilogue) -> Nest:
    """Blocks, then tiles of the output outside; in each, reset, sum over tiles of the reduction, epilogue and store."""
    results = set(embedding.result_loops)
    inner = points(embedding)
    loads = tuple(Fill(name) for name in embedding.inputs)
    sums = [loop for loop in schedule.order if loop not in results]
    outer = [loop for loop in schedule.order if loop in results]
    accumulate = _tiled(sums, schedule, (*loads, *inner))
    body = (Reset(), *accumulate, *_finish(epilogue, schedule))
    first = tuple(Fill(name) for name in schedule.whole)
    nest = _tiled(outer, schedule, body)
    blocks = (Tiles(*schedule.block, nest),) if schedule.block else nest
    return Nest(embedding, (*first, *blocks), epilogue.planes, epilogue.extras)


def derive(embedding: Embedding, epilogue: Epilogue) -> dict[str, Layout]:
    """Layouts of the operator's accesses and of its epilogue's, by name; the latter lie in words like the output's."""
    return layout.derive(embedding, epilogue.extras)


def points(embedding: Embedding) -> tuple[Node, ...]:
    """The loops inside a tile around one invocation, sums outside so that consecutive invocations differ in output."""
    results = embedding.result_loops
    names = [loop.name for loop in embedding.loops]
    order = [*(name for name in names if name not in results), *(name for name in names if name in results)]
    body: tuple[Node, ...] = (Compute(),)
    for name in reversed(order):
        body = (Points(name, body),)
    return body


def _tiled(order: list[str], schedule: Schedule, body: tuple[Node, ...]) -> tuple[Node, ...]:
    for name in reversed(order):
        body = (Tiles(name, schedule.tiles[name], body),)
    return body


def _finish(epilogue: Epilogue, schedule: Schedule) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for step in epilogue.steps:
        nodes += [Fill(access) for access in step.operands if access not in schedule.whole]
        nodes.append(Pass(step))
    for plane in range(epilogue.planes):
        nodes += _between(epilogue.between) if plane else []
        nodes.append(Drain(plane))
    body = tuple(nodes)
    return (Tail(*schedule.tail, body),) if schedule.tail else body


def _between(steps: tuple[EpiloguePass, ...]) -> list[Node]:
    return [Pass(step) for step in steps]
