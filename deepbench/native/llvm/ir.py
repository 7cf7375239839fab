"""A kernel as LLVM IR: the same loop nest with the same tiles, in vector types, as a front end would hand it over.

Accumulators are phi nodes, so that no pass has to find them, and every address is a pointer of the loop around it and a
constant. Each loop has the request to LLVM to unroll it as often as the schedule does, or not at all (LLVM Language
Reference, "llvm.loop.unroll.count" and "disable"): its kernels have as many steps in a row as ours.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from dataflow.errors import UserError
from embed.cpu.arrays.streams import Stream
from embed.cpu.choosing.site import partial_words
from embed.cpu.kernel import CpuKernel

NAME = "kernel"
_ELEMENTS = {"f16": ("half", 2), "f32": ("float", 4), "f64": ("double", 8)}

Point = tuple[int, ...]
Spans = Mapping[str, tuple[int, bool]]
"""Iterations of each loop that the code at hand covers, and whether the loop's last one is among them."""


def module(kernel: CpuKernel, unrolled: bool = True) -> str:
    """The text of `void kernel(ptr tensors, i64 begin, i64 end)`, which takes what the kernel's own code takes.

    Unless `unrolled`, nothing is said of unrolling. Raises UserError where the instruction is no multiply-accumulate of
    vectors of floats.
    """
    return _Function(kernel, unrolled).text()


class _Function:
    """Writes one function, block after block."""

    def __init__(self, kernel: CpuKernel, unrolled: bool) -> None:
        embedding = kernel.embedding
        self.kernel, self.streams, self.tiles = kernel, kernel.streams, kernel.schedule.tiles
        self.output = embedding.pattern.output.tensor
        self.extents = {loop.name: loop.extent for loop in embedding.loops}
        self.results = embedding.result_loops
        tiles = [(name, self.tiles[name]) for name in kernel.schedule.order if name in self.results]
        self.outer = [kernel.schedule.block, *tiles] if kernel.schedule.block else tiles
        self.sums = [name for name in kernel.schedule.order if name not in self.results]
        self.partial = partial_words(embedding)
        self.element, self.bytes = _element(kernel)
        self.lanes = embedding.pattern.tensors[0].size
        self.vector = f"<{self.lanes} x {self.element}>"
        self.mangled = f"v{self.lanes}f{8 * self.bytes}"
        self.unrolled = unrolled
        self.requests: list[str] = []
        self.lines: list[str] = []
        self.block = "entry"
        self.names = 0

    def text(self) -> str:
        pointers = {}
        for number, (operand, found) in enumerate(self.streams.items()):
            place = self.value(f"getelementptr i8, ptr %tensors, i64 {8 * number}")
            array = self.value(f"load ptr, ptr {place}, align 8")
            pointers[operand] = self.moved(array, "1", found.start)
        spans = {name: (extent, True) for name, extent in self.extents.items()}
        self.outermost(pointers, spans)
        self.lines.append("  ret void")
        body = "\n".join(["entry:", *self.lines])
        head = f"define void @{NAME}(ptr %tensors, i64 %begin, i64 %end)"
        return f"{head} {{\n{body}\n}}\n{self.declarations()}{self.metadata()}"

    def metadata(self) -> str:
        """The requests, two nodes for each loop."""
        lines = []
        for number, asked in enumerate(self.requests):
            lines.append(f"!{2 * number} = distinct !{{!{2 * number}, !{2 * number + 1}}}")
            lines.append(f"!{2 * number + 1} = !{{{asked}}}")
        return "".join(f"{line}\n" for line in lines)

    def declarations(self) -> str:
        v, m = self.vector, self.mangled
        return (
            f"declare {v} @llvm.fma.{m}({v}, {v}, {v})\n"
            f"declare {v} @llvm.masked.load.{m}.p0(ptr, i32, <{self.lanes} x i1>, {v})\n"
            f"declare void @llvm.masked.store.{m}.p0({v}, ptr, i32, <{self.lanes} x i1>)\n"
            "declare i64 @llvm.smin.i64(i64, i64)\n"
        )

    def fresh(self) -> str:
        self.names += 1
        return f"x{self.names}"

    def value(self, right: str) -> str:
        """A new value."""
        name = f"%{self.fresh()}"
        self.lines.append(f"  {name} = {right}")
        return name

    def start(self, block: str) -> None:
        self.lines.append(f"{block}:")
        self.block = block

    def outermost(self, pointers: Mapping[str, str], spans: Spans) -> None:
        """Tiles `begin` to `end`; the last may be shorter."""
        (name, size), *inner = self.outer
        full, rest = self.split(name, size, spans)
        stop = self.value(f"call i64 @llvm.smin.i64(i64 %end, i64 {full})")
        whole = {**spans, name: (size, False)}
        outer = name, size
        self.when(
            f"icmp slt i64 %begin, {stop}",
            lambda: self.loop("%begin", stop, (), lambda i, _: self.tile(outer, i, inner, pointers, whole)),
        )
        if rest:
            last = {**spans, name: (rest, spans[name][1])}
            self.when(f"icmp sgt i64 %end, {full}", lambda: self.tile(outer, str(full), inner, pointers, last))

    def when(self, condition: str, body: Callable[[], object]) -> None:
        then, after = self.fresh(), self.fresh()
        self.lines.append(f"  br i1 {self.value(condition)}, label %{then}, label %{after}")
        self.start(then)
        body()
        self.lines.append(f"  br label %{after}")
        self.start(after)

    def loop(
        self,
        begin: str,
        end: str,
        carried: Sequence[str],
        body: Callable[[str, list[str]], Sequence[str]],
        unroll: int = 1,
    ) -> list[str]:
        """Run the body for begin <= i < end, at least once; the vectors `carried` go round, and their last come out."""
        head, before, i = self.fresh(), self.block, f"%{self.fresh()}"
        self.lines.append(f"  br label %{head}")
        self.start(head)
        place = len(self.lines)
        phis = [f"%{self.fresh()}" for _ in carried]
        found = list(body(i, phis))
        following = self.value(f"add nuw nsw i64 {i}, 1")
        again, after = self.value(f"icmp slt i64 {following}, {end}"), self.fresh()
        self.lines.append(f"  br i1 {again}, label %{head}, label %{after}{self.request(unroll)}")
        merged = [f"  {i} = phi i64 [ {begin}, %{before} ], [ {following}, %{self.block} ]"]
        for phi, first, last in zip(phis, carried, found, strict=True):
            merged.append(f"  {phi} = phi {self.vector} [ {first}, %{before} ], [ {last}, %{self.block} ]")
        self.lines[place:place] = merged
        self.start(after)
        return found

    def request(self, unroll: int) -> str:
        """What tells LLVM how often to unroll a loop, behind its branch."""
        if not self.unrolled:
            return ""
        count = f'!"llvm.loop.unroll.count", i32 {unroll}'
        self.requests.append(count if unroll > 1 else '!"llvm.loop.unroll.disable"')
        return f", !llvm.loop !{2 * len(self.requests) - 2}"

    def split(self, name: str, size: int, spans: Spans) -> tuple[int, int]:
        """Whole tiles, and iterations in the last one if it is shorter or holds the partial word."""
        count, last = spans[name]
        full, rest = divmod(count, size)
        if last and not rest and name in self.partial:
            return full - 1, size
        return full, rest

    def tile(
        self,
        outer: tuple[str, int],
        number: str,
        inner: Sequence[tuple[str, int]],
        pointers: Mapping[str, str],
        spans: Spans,
    ) -> tuple[str, ...]:
        """One tile or block of a loop: the loops inside, or the sum of the register tile."""
        name, size = outer
        moved = {
            operand: self.moved(pointers[operand], number, found.tile.get(name, 0) * (size // self.tiles[name]))
            for operand, found in self.streams.items()
        }
        if not inner:
            self.accumulate(moved, spans)
            return ()
        following, *rest_of = inner
        loop, size = following
        full, rest = self.split(loop, size, spans)
        whole = {**spans, loop: (size, False)}
        if full == 1:
            self.tile(following, "0", rest_of, moved, whole)
        elif full:
            self.loop("0", str(full), (), lambda i, _: self.tile(following, i, rest_of, moved, whole))
        if rest:
            self.tile(following, str(full), rest_of, moved, {**spans, loop: (rest, spans[loop][1])})
        return ()

    def moved(self, pointer: str, number: str, step: int) -> str:
        """The pointer, some steps on."""
        if not step or number == "0":
            return pointer
        if number[0] != "%":
            return self.value(f"getelementptr i8, ptr {pointer}, i64 {int(number) * step}")
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {self.value(f'mul nsw i64 {number}, {step}')}")

    def accumulate(self, pointers: Mapping[str, str], spans: Spans) -> None:
        points = list(product(*(range(spans[name][0]) for name in self.results)))
        sums = self.summed(self.sums, pointers, ["zeroinitializer"] * len(points), points, spans)
        found = self.streams[self.output]
        for point, total in zip(points, sums, strict=True):
            place = self.moved(pointers[self.output], "1", self.disp(found, point))
            mask = self.mask(found, point, spans)
            if mask:
                arguments = f"{self.vector} {total}, ptr {place}, i32 {self.bytes}, {mask}"
                self.lines.append(f"  call void @llvm.masked.store.{self.mangled}.p0({arguments})")
            else:
                self.lines.append(f"  store {self.vector} {total}, ptr {place}, align {self.bytes}")

    def summed(
        self, sums: Sequence[str], pointers: Mapping[str, str], totals: Sequence[str], points: list[Point], spans: Spans
    ) -> list[str]:
        """The totals after the loops of the sum, from the outermost on."""
        if not sums:
            return self.step(pointers, totals, points, spans)
        name, *inner = sums
        if self.extents[name] == 1:
            return self.summed(inner, pointers, totals, points, spans)

        def body(i: str, phis: list[str]) -> list[str]:
            moved = {
                operand: self.moved(pointers[operand], i, found.point.get(name, 0))
                for operand, found in self.streams.items()
            }
            return self.summed(inner, moved, phis, points, spans)

        return self.loop("0", str(self.extents[name]), totals, body, self.tiles[name])

    def step(self, pointers: Mapping[str, str], totals: Sequence[str], points: list[Point], spans: Spans) -> list[str]:
        """One step of the sum: every word is loaded once."""
        words: dict[tuple[str, int], str] = {}
        found = []
        v = self.vector
        for point, total in zip(points, totals, strict=True):
            a, b = (
                self.word(words, operand, pointers[operand], point, spans)
                for operand in self.streams
                if operand != self.output
            )
            found.append(self.value(f"call {v} @llvm.fma.{self.mangled}({v} {a}, {v} {b}, {v} {total})"))
        return found

    def word(self, words: dict[tuple[str, int], str], operand: str, pointer: str, point: Point, spans: Spans) -> str:
        found = self.streams[operand]
        key = operand, self.disp(found, point)
        if key not in words:
            place = self.moved(pointer, "1", key[1])
            words[key] = self.loaded(found, place, self.mask(found, point, spans) if found.feed.in_place else "")
        return words[key]

    def loaded(self, found: Stream, place: str, mask: str) -> str:
        v = self.vector
        if found.spread:
            one = self.value(f"load {self.element}, ptr {place}, align {self.bytes}")
            first = self.value(f"insertelement {v} poison, {self.element} {one}, i64 0")
            lanes = f"<{self.lanes} x i32> zeroinitializer"
            return self.value(f"shufflevector {v} {first}, {v} poison, {lanes}")
        if mask:
            arguments = f"ptr {place}, i32 {self.bytes}, {mask}, {v} zeroinitializer"
            return self.value(f"call {v} @llvm.masked.load.{self.mangled}.p0({arguments})")
        return self.value(f"load {v}, ptr {place}, align {self.bytes}")

    def disp(self, found: Stream, point: Point) -> int:
        return sum(found.point.get(name, 0) * i for name, i in zip(self.results, point, strict=True))

    def mask(self, found: Stream, point: Point, spans: Spans) -> str:
        """The lanes in use of a word that is the last of a loop and not full; empty where all are."""
        for name, lanes in self.partial.items():
            used = dict(zip(self.results, point, strict=True)).get(name)
            if not name or (name in found.point and spans[name][1] and used == spans[name][0] - 1):
                bits = ", ".join("i1 true" if lane < lanes else "i1 false" for lane in range(self.lanes))
                return f"<{self.lanes} x i1> <{bits}>"
        return ""


def _element(kernel: CpuKernel) -> tuple[str, int]:
    """LLVM's name of the one element type, and its bytes."""
    pattern = kernel.embedding.pattern
    types = {tensor.dtype for tensor in pattern.tensors}
    summed = set(pattern.extents) - {dim for index in pattern.output.index for dim in index.dims}
    if len(types) > 1 or not types <= _ELEMENTS.keys() or summed:
        raise UserError(f"{kernel.embedding.name} is no multiply-accumulate of float vectors, which LLVM IR has")
    return _ELEMENTS[types.pop()]
