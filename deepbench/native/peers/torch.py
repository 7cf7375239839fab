"""PyTorch: eager as most people call it, oneDNN with weights packed once, and its quantised operators."""

from collections.abc import Callable
from typing import Any

import numpy as np

from deepbench.native.peers.offer import Contender, Offer, Work
from embed.cli.files import Array

_BF16_ROUNDING = 2.0**-8


def eager(torch: Any, work: Work, channels_last: bool = False) -> Contender:
    """`conv2d` or `linear` of plain tensors."""
    x, w = _inputs(torch, work, channels_last)
    if work.op == "conv":
        return _contender(work, lambda: torch.conv2d(x, w, None, work.stride, work.pad))
    return _contender(work, lambda: torch.nn.functional.linear(x, w))


def channels_last(torch: Any, work: Work) -> Contender:
    """`conv2d` of NHWC tensors."""
    return eager(torch, work, channels_last=True)


def packed(torch: Any, work: Work) -> Contender:
    """oneDNN's operators with weights reordered before, which is what inductor and `torch.compile` call."""
    x, w = _inputs(torch, work, True)
    one = [1, 1]
    ops = torch.ops.mkldnn
    if work.op == "conv":
        ready = ops._reorder_convolution_weight(w, work.pad, work.stride, one, 1, list(x.shape))
        return _contender(
            work,
            lambda: ops._convolution_pointwise(x, ready, None, work.pad, work.stride, one, 1, "none", [], ""),
        )
    ready = ops._reorder_linear_weight(w, x.shape[0])
    return _contender(work, lambda: ops._linear_pointwise(x, ready, None, "none", [], ""))


def quantised(engine: str) -> Callable[[Any, Work], Contender]:
    """u8 activations, i8 weights per channel, u8 out: zero points 0, scales that keep results in range."""

    def make(torch: Any, work: Work) -> Contender:
        torch.set_num_threads(work.threads)
        torch.backends.quantized.engine = engine
        x = _quantised(torch, torch.from_numpy(np.ascontiguousarray(work.activations)), work)
        weights = torch.from_numpy(np.ascontiguousarray(work.weights))
        count = weights.shape[0]
        unit, zeros = torch.ones(count, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)
        w = torch._make_per_channel_quantized_tensor(weights, unit, zeros, 0)
        scale = 255.0 * 128.0 * (w.numel() // count) ** 0.5 / 64
        return _quantised_contender(torch, work, x, w, scale)

    return make


def _quantised(torch: Any, values: Any, work: Work) -> Any:
    found = torch._make_per_tensor_quantized_tensor(values, 1.0, 0)
    return found.contiguous(memory_format=torch.channels_last) if work.op == "conv" else found


def _quantised_contender(torch: Any, work: Work, x: Any, w: Any, scale: float) -> Contender:
    ops = torch.ops.quantized
    if work.op == "conv":
        ready = ops.conv2d_prepack(w, None, work.stride, work.pad, [1, 1], 1)
        run: Callable[[], Any] = lambda: ops.conv2d(x, ready, scale, 128)  # noqa: E731
    else:
        ready = ops.linear_prepack(w, None)
        run = lambda: ops.linear(x, ready, scale, 128)  # noqa: E731
    return Contender(run, lambda: work.shaped(run().int_repr().numpy()), quantised=(scale, 128))


def _inputs(torch: Any, work: Work, channels_last: bool) -> tuple[Any, Any]:
    torch.set_num_threads(work.threads)
    torch.set_grad_enabled(False)
    x, w = (_tensor(torch, array) for array in (work.activations, work.weights))
    if channels_last and work.op == "conv":
        return x.contiguous(memory_format=torch.channels_last), w.contiguous(memory_format=torch.channels_last)
    return x, w


def _tensor(torch: Any, array: Array) -> Any:
    """A row-major tensor; bf16 by way of its bits, which numpy's own types lack."""
    dense = np.ascontiguousarray(array)
    if dense.dtype.kind == "f" and dense.dtype.itemsize == 4:
        return torch.from_numpy(dense)
    return torch.from_numpy(dense.view(np.int16)).view(torch.bfloat16)


def _contender(work: Work, run: Callable[[], Any]) -> Contender:
    rounding = _BF16_ROUNDING if work.dtype == "bf16" else 0.0
    return Contender(run, lambda: work.shaped(run().float().numpy()), rounding)


_FLOATS = ("f32", "bf16")
_BOTH = ("conv", "gemm")

OFFERS = (
    Offer("torch oneDNN packed", "torch", _BOTH, _FLOATS, packed),
    Offer("torch eager", "torch", _BOTH, _FLOATS, eager),
    Offer("torch channels_last", "torch", ("conv",), _FLOATS, channels_last),
    Offer("torch oneDNN int8", "torch", _BOTH, ("i8",), quantised("onednn")),
    Offer("torch fbgemm", "torch", _BOTH, ("i8",), quantised("fbgemm")),
)
