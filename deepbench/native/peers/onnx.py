"""onnxruntime: a model of one operator whose weights are constants, so that it packs them when it loads them."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from deepbench.native.peers.offer import Contender, Offer, Work
from embed.cli.files import Array

_OPSET = 17


def product(ort: Any, work: Work) -> Contender:
    """MatMul of [n,k] by the constant [k,m]."""
    return _contender(ort, work, "MatMul", {"w": np.ascontiguousarray(work.weights.T)}, ["x", "w"])


def convolution(ort: Any, work: Work) -> Contender:
    """Conv, NCHW."""
    return _contender(ort, work, "Conv", {"w": np.ascontiguousarray(work.weights)}, ["x", "w"], _attributes(work))


def integer_product(ort: Any, work: Work) -> Contender:
    """MatMulInteger: u8 by constant i8 to i32."""
    return _contender(ort, work, "MatMulInteger", {"w": np.ascontiguousarray(work.weights.T)}, ["x", "w"])


def integer_convolution(ort: Any, work: Work) -> Contender:
    """QLinearConv: u8 by constant i8 to u8."""
    terms = int(np.prod(work.weights.shape[1:]))
    scale = 255.0 * 128.0 * terms**0.5 / 64
    one, zero = np.float32(1), np.uint8(0)
    constants: dict[str, Array] = {
        "xs": np.asarray(one), "xz": np.asarray(zero), "w": np.ascontiguousarray(work.weights),
        "ws": np.asarray(one), "wz": np.asarray(np.int8(0)),
        "ys": np.asarray(np.float32(scale)), "yz": np.asarray(np.uint8(128)),
    }  # fmt: skip
    names = ["x", *constants]
    return _contender(ort, work, "QLinearConv", constants, names, _attributes(work), (scale, 128))


def _attributes(work: Work) -> dict[str, list[int]]:
    return {"strides": work.stride, "pads": [*work.pad, *work.pad]}


def _contender(
    ort: Any,
    work: Work,
    operator: str,
    constants: Mapping[str, Array],
    inputs: Sequence[str],
    attributes: Mapping[str, list[int]] | None = None,
    quantised: tuple[float, int] | None = None,
) -> Contender:
    x = np.ascontiguousarray(work.activations)
    session = _session(ort, work.threads, _model(operator, x, constants, inputs, attributes or {}, work))
    feed = {"x": x}

    def run() -> list[Array]:
        return session.run(None, feed)  # type: ignore[no-any-return]

    return Contender(run, lambda: work.shaped(run()[0]), quantised=quantised)


def _session(ort: Any, threads: int, model: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # idle threads would slow what runs next
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _model(
    operator: str,
    x: Array,
    constants: Mapping[str, Array],
    inputs: Sequence[str],
    attributes: Mapping[str, list[int]],
    work: Work,
) -> bytes:
    onnx = import_module("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    kinds = {"MatMulInteger": types.INT32, "QLinearConv": types.UINT8}
    given = types.UINT8 if x.dtype == np.uint8 else types.FLOAT
    node = helper.make_node(operator, list(inputs), ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        work.op,
        [helper.make_tensor_value_info("x", given, list(x.shape))],
        [helper.make_tensor_value_info("y", kinds.get(operator, types.FLOAT), None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    return bytes(model.SerializeToString())


OFFERS = (
    Offer("onnxruntime MatMul", "onnxruntime", ("gemm",), ("f32",), product),
    Offer("onnxruntime Conv", "onnxruntime", ("conv",), ("f32",), convolution),
    Offer("onnxruntime MatMulInteger", "onnxruntime", ("gemm",), ("i8",), integer_product),
    Offer("onnxruntime QLinearConv", "onnxruntime", ("conv",), ("i8",), integer_convolution),
)
