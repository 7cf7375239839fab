"""The int8 epilogue of a quantised operator: bias, arithmetic shift, clip and narrowing, as statements of their own."""

from dataclasses import replace

from dataflow.computation import Computation, Tensor
from dataflow.errors import UserError
from dataflow.expression import Read
from dataflow.notation import parse
from dataflow.operator import Operator


def requantise(
    operator: Operator, *, shift: int = 8, bias: bool = False, relu: bool = False, low: int = -128, high: int = 127
) -> Operator:
    """Follow an operator with i32 output by `out = i8(clip((acc + bias[k]) >> shift, low, high))`.

    The sums are renamed `acc`; `bias` is i32, one for each output channel (the output's second dimension of a
    convolution, the first of a matrix product). `relu` raises `low` to 0. Raises UserError for a range or shift
    outside i8 and 0..31, or an operator that does not sum in i32.
    """
    main = operator.main
    sums = main.tensors[0]
    if operator.epilogue or sums.dtype != "i32":
        raise UserError(f"requantise follows sums in i32; {operator.name} ends in {operator.output.dtype}")
    if bias and not sums.shape:
        raise UserError(f"a bias needs output channels; the output of {operator.name} is one number")
    if not 0 <= shift <= 31:
        raise UserError(f"shift={shift}: must be 0 to 31")
    if not -128 <= low <= high <= 127:
        raise UserError(f"clip {low}..{high}: must be a range within -128..127")
    first = _renamed(main, "acc")
    narrow = _narrowing(operator.name, sums, shift, bias, max(low, 0) if relu else low, high)
    shown = {"shift": shift, **({"bias": 1} if bias else {}), **({"relu": 1} if relu else {})}
    return Operator(operator.name, (first, narrow), (*operator.parameters, *shown.items()))


def _renamed(statement: Computation, name: str) -> Computation:
    tensors = (replace(statement.tensors[0], name=name), *statement.tensors[1:])
    return replace(statement, tensors=tensors, output=Read(name, statement.output.index))


def _narrowing(name: str, sums: Tensor, shift: int, bias: bool, low: int, high: int) -> Computation:
    """The epilogue indexes the output itself, so that it is the same for every operator."""
    dims = [f"d{axis}" for axis in range(len(sums.shape))]
    channel = 1 if "conv" in name else max(0, len(dims) - 2)
    place = f"[{','.join(dims)}]" if dims else ""
    value = f"acc{place} + bias[{dims[channel]}]" if bias else f"acc{place}"
    shifted = f"({value}) >> {shift}" if shift and bias else f"{value} >> {shift}" if shift else value
    text = f"out{place} = i8(min(max({shifted}, {low}), {high}))"
    tensors = {"out": replace(sums, name="out", dtype="i8"), "acc": replace(sums, name="acc")}
    if bias:
        tensors["bias"] = Tensor("bias", "i32", (sums.shape[channel],))
    return parse(text, dict(zip(dims, sums.shape, strict=True)), tensors)
