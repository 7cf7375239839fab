"""The int8 epilogue of a quantised operator: bias, arithmetic shift, clip and narrowing, as statements of their own."""

from dataclasses import replace

from dataflow.computation import Computation, Tensor
from dataflow.errors import UserError
from dataflow.expression import Read
from dataflow.notation import parse
from dataflow.operator import Operator


def requantise(
    operator: Operator,
    *,
    shift: int = 8,
    bias: bool = False,
    relu: bool = False,
    low: int = -128,
    high: int = 127,
    bias_last: bool = False,
) -> Operator:
    """Follow an operator with i32 output by `out = i8(clip((acc + bias[k]) >> shift, low, high))`.

    With `bias_last` the bias is added to what was shifted, `clip((acc >> shift) + bias[k], low, high)`, as in TVM's
    quantised convolutions. The sums are renamed `acc`; `bias` is i32, one for each output channel (the output's second
    dimension of a convolution, the first of a matrix product). `relu` raises `low` to 0. Raises UserError for a range
    or shift outside i8 and 0..31, or an operator that does not sum in i32.
    """
    main = operator.main
    sums = main.tensors[0]
    if operator.epilogue or sums.dtype != "i32":
        raise UserError(f"requantise follows sums in i32; {operator.name} ends in {operator.output.dtype}")
    if (bias or bias_last) and not sums.shape:
        raise UserError(f"a bias needs output channels; the output of {operator.name} is one number")
    if not 0 <= shift <= 31:
        raise UserError(f"shift={shift}: must be 0 to 31")
    if not -128 <= low <= high <= 127:
        raise UserError(f"clip {low}..{high}: must be a range within -128..127")
    first = _renamed(main, "acc")
    bias_after = bias_last if bias or bias_last else None
    narrow = _narrowing(operator.name, sums, shift, bias_after, max(low, 0) if relu else low, high)
    given = {"bias": bias and not bias_last, "bias_last": bias_last, "relu": relu}
    shown = {"shift": shift, **{name: 1 for name, value in given.items() if value}}
    return Operator(operator.name, (first, narrow), (*operator.parameters, *shown.items()))


def _renamed(statement: Computation, name: str) -> Computation:
    tensors = (replace(statement.tensors[0], name=name), *statement.tensors[1:])
    return replace(statement, tensors=tensors, output=Read(name, statement.output.index))


def _shifted(sums: str, bias: str, shift: int, bias_last: bool) -> str:
    """The text of what is clipped; `bias` is empty where there is none."""
    early, late = ("", bias) if bias_last else (bias, "")
    value = f"{sums} + {early}" if early else sums
    value = f"({value}) >> {shift}" if shift else value
    return f"({value}) + {late}" if late else value


def _narrowing(name: str, sums: Tensor, shift: int, bias_after: bool | None, low: int, high: int) -> Computation:
    """The epilogue indexes the output itself, so that it is the same for every operator; no bias for None."""
    dims = [f"d{axis}" for axis in range(len(sums.shape))]
    channel = 1 if "conv" in name else max(0, len(dims) - 2)
    place = f"[{','.join(dims)}]" if dims else ""
    bias = "" if bias_after is None else f"bias[{dims[channel]}]"
    shifted = _shifted(f"acc{place}", bias, shift, bool(bias_after))
    text = f"out{place} = i8(min(max({shifted}, {low}), {high}))"
    tensors = {"out": replace(sums, name="out", dtype="i8"), "acc": replace(sums, name="acc")}
    if bias:
        tensors["bias"] = Tensor("bias", "i32", (sums.shape[channel],))
    return parse(text, dict(zip(dims, sums.shape, strict=True)), tensors)
