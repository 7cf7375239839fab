"""Index notation whose tensors are not declared: shapes are what the indices reach, types follow from one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dataflow.arguments import of_kind
from dataflow.arguments import texts as texts_of
from dataflow.computation import Computation, Tensor
from dataflow.dtypes import ACCUMULATOR, is_dtype
from dataflow.errors import UserError
from dataflow.expression import Cast, Expression, dtype_of, map_reads, walk
from dataflow.notation import NotationError, Reader, Undeclared, parse


def infer(text: str, extents: Mapping[str, int], dtype: str) -> Computation:
    """Read one statement whose tensors are not declared.

    Inputs have type `dtype` and just the shape the indices reach (an index below 0 reads padding). A text
    without casts means products summed in the accumulator type of `dtype`: the casts are put in. One with casts
    means what it says, and the output has the type of the body. `i16:i16` says both types, of inputs and of sums.
    Raises UserError for a type that is none, NotationError as `parse`.
    """
    if not all(map(is_dtype, of_kind("dtype", dtype, str, "the name of a type").split(":", 1))):
        raise UserError(f"unknown dtype '{dtype}'; there are: f16, bf16, f32, f64, i1..i64, u1..u64")
    reader = Reader(text, extents, Undeclared())
    draft = reader.statement()
    dtype, _, total = dtype.partition(":")
    total = total or ACCUMULATOR.get(dtype, dtype)
    body, output = draft.body, draft.output.tensor
    if _has_cast(body):
        total = dtype_of(body, lambda name: None if name == output else dtype) or total
    elif total != dtype:
        body = map_reads(body, lambda read: read if read.tensor == output else Cast(total, read))
    tensors = {}
    for name in dict.fromkeys((output, *(read.tensor for read in draft.reads))):
        shape = reader.reached([read for read in (draft.output, *draft.reads) if read.tensor == name])
        tensors[name] = Tensor(name, total if name == output else dtype, shape)
    statement = Computation(draft.dims, tuple(tensors.values()), draft.output, draft.accumulate, body)
    return parse(str(statement), extents, tensors)


def infer_all(texts: Sequence[str], extents: Mapping[str, int], dtype: str) -> tuple[Computation, ...]:
    """Read statements that are done one after another, each over those of the sizes that it names.

    The first is read as by `infer`. What a later one reads is what was written before it, an input known by then, or an
    input of the type `dtype` where it sums products, else of the type of the first statement's sums. Several statements
    may write parts of one tensor.
    """
    texts = texts_of("texts", texts, "['acc[i] += a[i]', 'out[i] = max(acc[i], 0)']")
    if not texts:
        raise UserError("texts: there is no statement")
    first, *rest = texts
    if not rest:
        return (infer(first, extents, dtype),)
    readers = [Reader(text, extents, Undeclared()) for text in texts]
    drafts = [reader.statement() for reader in readers]
    sizes = [{name: extent for name, extent in extents.items() if name in _dims(draft)} for draft in drafts]
    lead = infer(first, sizes[0], dtype)
    types = {tensor.name: tensor.dtype for tensor in lead.tensors}
    total = types[lead.output.tensor]
    texts = [str(lead), *(_typed(draft, types, dtype.partition(":")[0], total) for draft in drafts[1:])]
    shapes = _shapes(drafts, readers)
    tensors = {name: Tensor(name, types[name], shape) for name, shape in shapes.items()}
    return tuple(parse(text, box, tensors) for text, box in zip(texts, sizes, strict=True))


def _dims(draft: Computation) -> set[str]:
    return {dim for read in (draft.output, *draft.reads) for index in read.index for dim in index.dims}


def _typed(draft: Computation, types: dict[str, str], dtype: str, total: str) -> str:
    """The text of a later statement with casts where it sums products; what it reads and writes gets a type."""
    for read in draft.reads:
        types.setdefault(read.tensor, dtype if draft.accumulate else total)
    body = draft.body
    if draft.accumulate and not _has_cast(body):
        body = map_reads(body, lambda read: read if types[read.tensor] == total else Cast(total, read))
    types.setdefault(draft.output.tensor, dtype_of(body, types.get) or total)
    return str(replace(draft, body=body))


def _shapes(drafts: Sequence[Computation], readers: Sequence["Reader"]) -> dict[str, tuple[int, ...]]:
    """Just what the writers reach of a tensor that is written, or the readers of one that is not."""
    written: dict[str, list[tuple[int, ...]]] = {}
    read: dict[str, list[tuple[int, ...]]] = {}
    for draft, reader in zip(drafts, readers, strict=True):
        written.setdefault(draft.output.tensor, []).append(reader.reached([draft.output]))
        for name in dict.fromkeys(one.tensor for one in draft.reads):
            read.setdefault(name, []).append(reader.reached([one for one in draft.reads if one.tensor == name]))
    return {name: _widest(reached, readers[0]) for name, reached in (read | written).items()}


def _widest(reached: Sequence[tuple[int, ...]], reader: "Reader") -> tuple[int, ...]:
    if len({len(shape) for shape in reached}) > 1:
        raise NotationError("a tensor has a different number of indices in places", reader.start + 1, reader.text)
    return tuple(map(max, zip(*reached, strict=True)))


def _has_cast(body: Expression) -> bool:
    return any(isinstance(node, Cast) for node in walk(body))
