"""The operators of deep learning by name; each returns an `Operator` over dense row-major tensors.

Sizes are in elements. `dtype` is the type of the inputs; products are summed in i32 (i8, u8, i16) or f32. `u8*i8` is
the mixed type of quantised networks: u8 for the first input (activations), i8 for the second (weights). `f16:f16` is
f16 with its products summed in f16.
"""

from collections.abc import Callable, Sequence

from dataflow.arguments import of_kind
from dataflow.computation import Tensor
from dataflow.dtypes import ACCUMULATOR, is_dtype
from dataflow.errors import UserError
from dataflow.notation import parse
from dataflow.operator import Operator

Sizes = int | Sequence[int]


def conv2d(
    *,
    n: int = 1,
    c: int,
    h: int,
    w: int,
    k: int,
    r: int,
    s: int,
    stride: Sizes = 1,
    pad: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    dtype: str = "i8",
) -> Operator:
    """2-D convolution: inp [n,c,h,w] with wgt [k,c/groups,r,s] to out [n,k,y,x].

    `stride`, `pad` and `dilation` are one number or (vertical, horizontal). Raises UserError for impossible sizes.
    """
    sizes = {"n": n, "c": c, "h": h, "w": w, "k": k, "r": r, "s": s}
    return _convolution("conv2d", sizes, "hw", "rs", "yx", stride, pad, dilation, groups, dtype)


def depthwise_conv2d(
    *,
    n: int = 1,
    c: int,
    h: int,
    w: int,
    r: int,
    s: int,
    multiplier: int = 1,
    stride: Sizes = 1,
    pad: Sizes = 0,
    dilation: Sizes = 1,
    dtype: str = "i8",
) -> Operator:
    """Each channel on its own: inp [n,c,h,w] with wgt [c*multiplier,1,r,s] to out [n,c*multiplier,y,x]."""
    _positive(multiplier=multiplier)
    sizes = {"n": n, "c": c, "h": h, "w": w, "k": c * multiplier, "r": r, "s": s}
    return _convolution("depthwise_conv2d", sizes, "hw", "rs", "yx", stride, pad, dilation, c, dtype)


def conv1d(
    *,
    n: int = 1,
    c: int,
    w: int,
    k: int,
    s: int,
    stride: Sizes = 1,
    pad: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    dtype: str = "i8",
) -> Operator:
    """1-D convolution: inp [n,c,w] with wgt [k,c/groups,s] to out [n,k,x]."""
    sizes = {"n": n, "c": c, "w": w, "k": k, "s": s}
    return _convolution("conv1d", sizes, "w", "s", "x", stride, pad, dilation, groups, dtype)


def conv3d(
    *,
    n: int = 1,
    c: int,
    d: int,
    h: int,
    w: int,
    k: int,
    t: int,
    r: int,
    s: int,
    stride: Sizes = 1,
    pad: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    dtype: str = "i8",
) -> Operator:
    """3-D convolution: inp [n,c,d,h,w] with wgt [k,c/groups,t,r,s] to out [n,k,z,y,x]."""
    sizes = {"n": n, "c": c, "d": d, "h": h, "w": w, "k": k, "t": t, "r": r, "s": s}
    return _convolution("conv3d", sizes, "dhw", "trs", "zyx", stride, pad, dilation, groups, dtype)


def gemm(
    *, m: int, n: int, k: int, transpose_a: bool = False, transpose_b: bool = False, dtype: str = "i8"
) -> Operator:
    """Matrix product: a [m,k] (or [k,m] when transposed) with b [k,n] (or [n,k]) to out [m,n]."""
    sizes = {"m": m, "n": n, "k": k}
    _positive(**sizes)
    a, b = ("k,m" if transpose_a else "m,k"), ("n,k" if transpose_b else "k,n")
    shown = {**sizes, **({"transpose_a": 1} if transpose_a else {}), **({"transpose_b": 1} if transpose_b else {})}
    return _contraction("gemm", sizes, {"out": "m,n", "a": a, "b": b}, dtype, shown)


def gemv(*, m: int, k: int, dtype: str = "i8") -> Operator:
    """Matrix-vector product: a [m,k] with x [k] to out [m]."""
    sizes = {"m": m, "k": k}
    _positive(**sizes)
    return _contraction("gemv", sizes, {"out": "m", "a": "m,k", "x": "k"}, dtype, sizes)


def batched_gemm(*, batch: int, m: int, n: int, k: int, dtype: str = "i8") -> Operator:
    """One matrix product for each b < batch: a [b,m,k] with b [b,k,n] to out [b,m,n]."""
    sizes = {"batch": batch, "m": m, "n": n, "k": k}
    _positive(**sizes)
    tensors = {"out": "batch,m,n", "a": "batch,m,k", "b": "batch,k,n"}
    return _contraction("batched_gemm", sizes, tensors, dtype, sizes)


LIBRARY: dict[str, Callable[..., Operator]] = {
    "conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "conv1d": conv1d,
    "conv3d": conv3d,
    "gemm": gemm,
    "gemv": gemv,
    "batched_gemm": batched_gemm,
}
"""Every operator that can be named on the command line."""


def _positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name}={value}: a size is a positive integer")


def _types(dtype: str) -> tuple[str, str, str]:
    """Types of the first input, the second input and their sum."""
    factors, colon, total = of_kind("dtype", dtype, str, "the name of a type").partition(":")
    left, _, right = factors.partition("*")
    right = right or left
    totals = {ACCUMULATOR.get(left), ACCUMULATOR.get(right)}
    if None in totals or len(totals) > 1 or (colon and not is_dtype(total)):
        raise UserError(
            f"dtype={dtype}: the library has {', '.join(ACCUMULATOR)}, mixed types such as u8*i8, "
            "and sums of another type such as f16:f16"
        )
    return left, right, total or ACCUMULATOR[left]


def _product(left: str, right: str, dtype: str) -> str:
    first, second, total = _types(dtype)
    return f"{_widened(left, first, total)} * {_widened(right, second, total)}"


def _widened(read: str, dtype: str, total: str) -> str:
    return read if dtype == total else f"{total}({read})"


def _contraction(
    name: str, sizes: dict[str, int], tensors: dict[str, str], dtype: str, shown: dict[str, int]
) -> Operator:
    (out, left, right) = (f"{tensor}[{index}]" for tensor, index in tensors.items())
    first, second, total = _types(dtype)
    types = dict(zip(tensors, (total, first, second), strict=True))
    declared = {t: Tensor(t, types[t], tuple(sizes[d] for d in index.split(","))) for t, index in tensors.items()}
    statement = parse(f"{out} += {_product(left, right, dtype)}", sizes, declared)
    return Operator(name, (statement,), tuple(shown.items()))


def _per_axis(name: str, value: Sizes, axes: int, least: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(values) != axes:
        raise UserError(f"{name}={value}: give one number or {axes}, one for each spatial dimension")
    for item in values:
        if isinstance(item, bool) or not isinstance(item, int) or item < least:
            raise UserError(f"{name}={item}: must be an integer of at least {least}")
    return values


def _convolution(
    name: str,
    sizes: dict[str, int],
    space: str,
    window: str,
    result: str,
    stride: Sizes,
    pad: Sizes,
    dilation: Sizes,
    groups: int,
    dtype: str,
) -> Operator:
    """Every convolution: `space`, `window` and `result` name the input, filter and output dims of each spatial axis."""
    _positive(**sizes, groups=groups)
    channels = _grouped(sizes, groups)
    rank = len(space)
    steps, pads, spread = (
        _per_axis("stride", stride, rank, 1),
        _per_axis("pad", pad, rank, 0),
        _per_axis("dilation", dilation, rank, 1),
    )
    spatial = _output_sizes(sizes, space, window, result, steps, pads, spread)
    first, second, total = _types(dtype)
    prefix = f"{channels['k']}*g+" if groups > 1 else ""
    extents = {"n": sizes["n"], **({"g": groups} if groups > 1 else {}), "k": channels["k"], **spatial}
    extents |= {"c": channels["c"], **{axis: sizes[axis] for axis in window}}
    index = ",".join(_window_index(*axis) for axis in zip(result, window, steps, pads, spread, strict=True))
    channel = f"{channels['c']}*g+c" if groups > 1 else "c"
    product = _product(f"inp[n,{channel},{index}]", f"wgt[{prefix}k,c,{','.join(window)}]", dtype)
    text = f"out[n,{prefix}k,{','.join(result)}] += {product}"
    shapes = {
        "out": (total, (sizes["n"], sizes["k"], *spatial.values())),
        "inp": (first, (sizes["n"], sizes["c"], *(sizes[axis] for axis in space))),
        "wgt": (second, (sizes["k"], channels["c"], *(sizes[axis] for axis in window))),
    }
    statement = parse(text, extents, {t: Tensor(t, *declared) for t, declared in shapes.items()})
    options = {"stride": (steps, 1), "pad": (pads, 0), "dilation": (spread, 1)}
    shown = {**sizes, **{key: _short(value) for key, (value, usual) in options.items() if set(value) != {usual}}}
    return Operator(name, (statement,), _shown(name, shown, sizes, groups))


def _grouped(sizes: dict[str, int], groups: int) -> dict[str, int]:
    for axis in "ck":
        if sizes[axis] % groups:
            raise UserError(f"groups={groups} does not divide {axis}={sizes[axis]}")
    return {axis: sizes[axis] // groups for axis in "ck"}


def _output_sizes(
    sizes: dict[str, int],
    space: str,
    window: str,
    result: str,
    steps: Sequence[int],
    pads: Sequence[int],
    spread: Sequence[int],
) -> dict[str, int]:
    found = {}
    for axis, tap, out, step, pad, gap in zip(space, window, result, steps, pads, spread, strict=True):
        reach = (sizes[tap] - 1) * gap + 1
        if reach > sizes[axis] + 2 * pad:
            raise UserError(
                f"the filter's {tap}={sizes[tap]} (dilation {gap}) is larger than the padded input's {axis}: "
                f"{reach} > {sizes[axis]}+2*{pad}; make {tap} smaller or pad more"
            )
        found[out] = (sizes[axis] + 2 * pad - reach) // step + 1
    return found


def _window_index(out: str, tap: str, step: int, pad: int, gap: int) -> str:
    moving = out if step == 1 else f"{step}*{out}"
    offset = tap if gap == 1 else f"{gap}*{tap}"
    return f"{moving}+{offset}" + (f"-{pad}" if pad else "")


def _short(values: Sequence[int]) -> object:
    return values[0] if len(set(values)) == 1 else ",".join(map(str, values))


def _shown(name: str, shown: dict[str, object], sizes: dict[str, int], groups: int) -> tuple[tuple[str, object], ...]:
    if name == "depthwise_conv2d":
        del shown["k"]
        if sizes["k"] != groups:
            shown["multiplier"] = sizes["k"] // groups
    elif groups > 1:
        shown["groups"] = groups
    return tuple(shown.items())
