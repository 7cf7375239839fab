"""What TVM's fixed strategy would take on VTA: the usual baseline, on the same lowering and the same simulator.

Packing is n, c, k, channels padded up to a block. Tiles of rows, output channels, columns and input channels; nothing
is reused between tiles; two virtual threads, each with half the scratchpads, so that one loads while the other computes
(apache/tvm, vta/python/vta/top/vta_conv2d.py and vta_dense.py at db6d2059a2). ResNet-18's layers have the tiles that
TVM tuned; others the best of TVM's own knobs, divisors of each loop, under the price of `embed.nest.price`.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import product

from deepbench.problems import Problem
from embed.costs import fixed_embeddings
from embed.embedding import Placeable
from embed.epilogue import plan
from embed.errors import NoEmbedding
from embed.nest.build import build
from embed.nest.price import price, tile_words
from embed.nest.schedule import Schedule
from embed.nest.task import Choice, Task
from embed.pinned import Held
from embed.vta.executable import VtaKernel, lowered, task_of
from isa.model import Isa


@dataclass(frozen=True, slots=True)
class Tuned:
    """One of TVM's tuned schedules: rows, columns and output blocks of a tile, and its time on a Pynq board in ms."""

    rows: int
    columns: int
    blocks: int
    milliseconds: float
    layer: str
    source: str


def tuned(problem: str) -> Tuned | None:
    """TVM's tiles and time for a layer of ResNet-18 by problem name; None for any other problem."""
    suite, _, number = problem.split("/")
    if suite != "resnet18":
        return None
    text = files("deepbench").joinpath("problems", "resnet18.csv").read_text(encoding="utf-8")
    row = next(row for row in csv.DictReader(text.splitlines()) if int(row["idx"]) == int(number))
    rows, columns, blocks = (int(row[name]) for name in ("tile_h", "tile_w", "tile_co"))
    return Tuned(rows, columns, blocks, float(row["tvm_ms"]), row["layer"], row["source"])


def reference_kernel(problem: Problem, instruction: str, target: Isa) -> VtaKernel:
    """The program of TVM's strategy with one instruction of a target; raises NoEmbedding where no tile fits."""
    operator = problem.operator()
    embedding = next(fixed_embeddings(operator, Placeable.of(target, instruction)))
    task = task_of(embedding, target)
    schedule = _schedule(task, _best(task, tuned(problem.name), problem.op))
    nest = build(embedding, schedule, plan(operator, target))
    return lowered(nest, schedule, target, Held.free(operator))


def _order(task: Task) -> tuple[str, ...]:
    """Rows, output channels, columns; then what is summed."""
    wide, deep = (task.moves(tensor) for tensor in task.inputs)
    spatial = [name for name in task.results if name in wide]
    channels = [name for name in task.results if name in deep and name not in wide]
    sums = [name for name in task.extents if name not in task.results]
    others = [name for name in task.results if name not in spatial and name not in channels]
    return (*others, *spatial[:-1], *channels, *spatial[-1:], *sums)


def _best(task: Task, known: Tuned | None, op: str) -> Choice:
    found = [choice for choice in _choices(task, known, op, True) if _fits(task, choice)]
    found = found or [choice for choice in _choices(task, known, op, False) if _fits(task, choice)]
    if not found:
        raise NoEmbedding(f"no tile of TVM's strategy for {task.embedding} fits the scratchpads")
    return min(found, key=lambda choice: price(task, choice))


def _fits(task: Task, choice: Choice) -> bool:
    """Each thread has tiles of its own in every scratchpad, epilogue tensors too."""
    threads = 2 if choice.double else 1
    room, words = task.room.words, {tensor: tile_words(task, tensor, choice.tiles) for tensor in task.layouts}
    extra = sum(words[name] for name in task.room.shared)
    inputs = all(threads * words[tensor] <= room[tensor] for tensor in task.inputs)
    copied = not any(task.pads_outside(tensor, choice.tiles) for tensor in task.inputs)
    return copied and inputs and choice.result_buffers * (words[task.output] + extra) <= room[task.output]


def _choices(task: Task, known: Tuned | None, op: str, whole_filter: bool) -> Iterator[Choice]:
    """Every setting of TVM's knobs: tiles that divide their loops, one or two threads.

    TVM never cuts a filter; where nothing fits so (64 words of weights, say) it may here.
    """
    order = _order(task)
    kept = dict.fromkeys(task.inputs, len(order))
    buffers = min(2, task.room.result_buffers)
    for sizes in product(*(_sizes(task, name, known, op, whole_filter) for name in order)):
        tiles = dict(zip(order, sizes, strict=True))
        yield Choice(tiles, order, kept, True, buffers, (), 1)
        yield Choice(tiles, order, kept, False, 1, (), 1)


def _sizes(task: Task, name: str, known: Tuned | None, op: str, whole_filter: bool) -> list[int]:
    dims = next(loop.dims for loop in task.embedding.loops if loop.name == name)
    extent = task.extents[name]
    if dims[0] in ("r", "s") and whole_filter:
        return [extent]
    if known is not None:
        return [{"y": known.rows, "x": known.columns, "k": known.blocks}.get(dims[0], 1)]
    if op == "conv" and dims[0] == "n":
        return [1]
    return [size for size in range(1, extent + 1) if extent % size == 0]


def _schedule(task: Task, choice: Choice) -> Schedule:
    buffers = 2 if choice.double else 1
    cycles = price(task, choice)
    return Schedule(choice.tiles, choice.order, buffers, choice.result_buffers, reload=True, cycles=cycles)
