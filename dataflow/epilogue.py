"""What follows the sums of an operator, as a statement of its own: bias, residual, ReLU, narrowing."""

from collections.abc import Mapping
from dataclasses import replace

from dataflow.computation import Computation, Tensor
from dataflow.dtypes import is_dtype, is_integer, limits
from dataflow.errors import UserError
from dataflow.expression import Read
from dataflow.notation import parse
from dataflow.operator import Operator, operator_of


def requantise(
    operator: Operator,
    *,
    shift: int = 8,
    scale: bool = False,
    zero: int = 0,
    bias: bool = False,
    bias_last: bool = False,
    add: bool = False,
    relu: bool = False,
    low: int | None = None,
    high: int | None = None,
    dtype: str = "i8",
    channel: int | None = None,
) -> Operator:
    """Follow an operator with i32 output by `out = i8(clip((acc + bias[k]) >> shift, low, high))`.

    With `add` the shifted sums meet `res`, a tensor like the output: the shortcut of a residual block.
    With `bias_last` the bias is added to what was shifted, `clip((acc >> shift) + bias[k], low, high)`, as in TVM's
    quantised convolutions. With `scale` it is `i8(clip(rint(f32(acc + bias[k]) * scale[k]) + zero, low, high))`, for a
    quantised network whose channels have scales of their own (ONNX QLinearConv). `dtype` is i8 or u8, `low` and `high`
    are its limits by default, and `relu` raises `low` to `zero`. `bias` is i32 and `scale` f32, one for each output
    channel: dimension `channel` of the output, by default the second of a convolution and the last but one of a
    product. The sums are renamed `acc`. Raises UserError for a range, shift or zero that does not fit, or an operator
    that does not sum in i32.
    """
    if operator_of(operator).epilogue or operator.main.tensors[0].dtype != "i32":
        raise UserError(f"requantise follows sums in i32; {operator.name} ends in {operator.output.dtype}")
    if not (isinstance(shift, int) and 0 <= shift <= 31):
        raise UserError(f"shift={shift}: must be 0 to 31")
    low, high = _clip(dtype, low, high)
    _check_ends(add, bias_last, scale, zero, low, high)
    low = max(low, zero) if relu else low
    place, index = _place(operator, channel, bias or bias_last or scale)
    early, late = bias and not bias_last, bias_last
    value = f"acc{place} + bias{index}" if early else f"acc{place}"
    if scale:
        clipped = f"min(max(f32({value}) * scale{index}, {low - zero}), {high - zero})"
        text = f"{dtype}(i32(rint({clipped})){f' + {zero}' if zero else ''})"
    else:
        shifted = f"(({value}) >> {shift})" if shift else value
        shifted += (f" + bias{index}" if late else "") + (f" + i32(res{place})" if add else "")
        text = f"{dtype}(min(max({shifted}, {low}), {high}))"
    given = {"bias": early, "bias_last": late, "add": add, "relu": relu}
    shown = {**({"scale": 1} if scale else {"shift": shift}), **{name: 1 for name, value in given.items() if value}}
    inputs = {**({"bias": "i32"} if early or late else {}), **({"scale": "f32"} if scale else {})}
    found = _by_channel(operator, channel, inputs)
    if add:
        found["res"] = replace(operator.main.tensors[0], name="res", dtype=dtype)
    return _followed(operator, text, dtype, found, shown)


def _check_ends(add: bool, bias_last: bool, scale: bool, zero: int, low: int, high: int) -> None:
    """What goes with a scale, and what does not."""
    if add and scale:
        raise UserError("add: goes with a shift, not with scale")
    if zero and not (scale and low <= zero <= high):
        raise UserError(f"zero={zero}: goes with scale, and lies within the clip {low}..{high}")
    if scale and bias_last:
        raise UserError("bias_last: goes with a shift, not with scale")


def _clip(dtype: str, low: int | None, high: int | None) -> tuple[int, int]:
    """The range of the results: that of the type where nothing narrower is asked for."""
    if dtype not in ("i8", "u8"):
        raise UserError(f"dtype={dtype}: requantise makes i8 or u8")
    least, most = limits(dtype)
    found = least if low is None else low, most if high is None else high
    if not least <= found[0] <= found[1] <= most:
        raise UserError(f"clip {found[0]}..{found[1]}: must be a range within {least}..{most}")
    return found


def bias_relu(
    operator: Operator,
    *,
    bias: bool = True,
    relu: bool = True,
    add: bool = False,
    high: float | None = None,
    dtype: str | None = None,
    channel: int | None = None,
) -> Operator:
    """Follow an operator by `out = min(max(acc + bias[k] + res, 0), high)`: any of bias, residual, ReLU and ReLU6.

    `bias` has the type of the sums and an element for each output channel, as in `requantise`; `add` adds `res`, a
    tensor like the output; `high=6` makes a ReLU6. `dtype` is the type of the output and of `res`, by default that of
    the sums; floats may be stored in fewer bits. Raises UserError for another type, or an operator with an epilogue.
    """
    sums = operator_of(operator).main.tensors[0]
    target = dtype or sums.dtype
    if operator.epilogue:
        raise UserError(f"{operator.name} has an epilogue already")
    if not is_dtype(target) or (target != sums.dtype and (is_integer(target) or is_integer(sums.dtype))):
        raise UserError(
            f"dtype={target}: sums in {sums.dtype} become a float of fewer bits, or i8 and u8 by requantise"
        )
    if not isinstance(high, int | float | None):
        raise UserError(f"high={high!r}: must be a number")
    if high is not None and is_integer(sums.dtype) and int(high) != high:
        raise UserError(f"high={high}: sums in {sums.dtype} have integer limits")
    place, index = _place(operator, channel, bias)
    text = f"acc{place}" + (f" + bias{index}" if bias else "")
    if add:
        text += f" + res{place}" if target == sums.dtype else f" + {sums.dtype}(res{place})"
    text = f"max({text}, 0)" if relu else text
    if high is not None:
        text = f"min({text}, {int(high) if int(high) == high else high})"
    inputs = _by_channel(operator, channel, {"bias": sums.dtype} if bias else {})
    if add:
        inputs["res"] = replace(sums, name="res", dtype=target)
    shown = {name: 1 for name, given in (("bias", bias), ("add", add), ("relu", relu)) if given}
    return _followed(operator, text if target == sums.dtype else f"{target}({text})", target, inputs, shown)


def _place(operator: Operator, channel: int | None, wanted: bool) -> tuple[str, str]:
    """The index of an element of the output, and that of its channel."""
    rank = len(operator.main.tensors[0].shape)
    if not rank:
        if wanted:
            raise UserError(f"a bias needs output channels; the output of {operator.name} is one number")
        return "", ""
    return f"[{','.join(f'd{axis}' for axis in range(rank))}]", f"[d{_channel(operator, channel)}]"


def _channel(operator: Operator, channel: int | None) -> int:
    rank = len(operator.main.tensors[0].shape)
    if channel is None:
        return 1 if "conv" in operator.name else max(0, rank - 2)
    if not 0 <= channel < rank:
        raise UserError(f"channel={channel}: the output of {operator.name} has dimensions 0 to {rank - 1}")
    return channel


def _by_channel(operator: Operator, channel: int | None, dtypes: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors with an element for each output channel."""
    shape = operator.main.tensors[0].shape
    return {name: Tensor(name, dtype, (shape[_channel(operator, channel)],)) for name, dtype in dtypes.items()}


def _followed(
    operator: Operator, text: str, dtype: str, inputs: Mapping[str, Tensor], shown: Mapping[str, int]
) -> Operator:
    """The operator with its sums renamed, then `out = text` on every element: the same for any operator."""
    taken = {tensor.name for tensor in operator.inputs} & {"acc", "out", *inputs}
    if taken:
        raise UserError(f"{operator.name} has an input called '{min(taken)}', which its epilogue needs a name for")
    first = _renamed(operator.main, "acc")
    sums = first.tensors[0]
    dims = {f"d{axis}": size for axis, size in enumerate(sums.shape)}
    place = f"[{','.join(dims)}]" if dims else ""
    tensors = {"out": replace(sums, name="out", dtype=dtype), "acc": sums, **inputs}
    last = parse(f"out{place} = {text}", dims, tensors)
    return Operator(operator.name, (first, last), (*operator.parameters, *shown.items()))


def _renamed(statement: Computation, name: str) -> Computation:
    tensors = (replace(statement.tensors[0], name=name), *statement.tensors[1:])
    return replace(statement, tensors=tensors, output=Read(name, statement.output.index))
